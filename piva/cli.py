"""What every command line of piva does with errors: one line on stderr and an exit code, no traceback."""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from piva import config
from piva.errors import EditsFailed, InputError, one_line

EXTRA_GROUPS = ("hydra/launcher", "hydra/sweeper")
EXTRAS = "launchers and sweepers are extras: pip install 'piva[joblib,submitit,optuna]'"


def answer(job: Callable[[], Any], name: str = "config") -> None:
    """Run `job`, whose configuration is conf/`name`.yaml: bad input ends with exit code 2, edits that failed with 1, Ctrl-C
    with 130.
    """
    tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # Hydra then raises what went wrong instead of printing it over many lines
    )
    try:
        job()
    except KeyboardInterrupt:
        sys.stderr.write("\npiva: interrupted; what was finished is kept\n")
        sys.exit(130)
    except (InputError, HydraException, OmegaConfBaseException, SystemExit) as stop:
        error = stop.__cause__ if isinstance(stop, SystemExit) else stop
        if error is None:  # --help and the like, or a sweep some of whose jobs failed
            raise
        if tracebacks:
            traceback.print_exception(error)
        sys.stderr.write(f"piva: {_explain(error, name)}\n")
        sys.exit(2)
    except EditsFailed as error:
        sys.stderr.write(f"piva: {one_line(error)}\n")
        sys.exit(1)
    except FloatingPointError as error:
        sys.stderr.write(f"piva: {error}; finished edits are kept\n")
        sys.exit(1)


def _explain(error: BaseException, name: str) -> str:
    """Hydra's composition errors in our form: key, found, wanted, remedy."""
    text = str(error)
    if isinstance(error, InputError):
        return one_line(error)
    if match := re.search(r"Could not override '([^']+)'", text):
        keys = _known_keys(name)
        close = difflib.get_close_matches(match[1], keys, n=3)
        remedy = f"did you mean {' or '.join(close)}?" if close else "see --cfg job for all keys"
        return one_line(InputError(match[1], "no such key", "a key of the configuration", remedy))
    if match := re.search(
        r"Could not (?:find|load) '([^']+)/([^'/]+)'(?:\s+Available options in '[^']+':\s+(.*?)\s*Config search path)?",
        text,
        re.DOTALL,
    ):
        wanted = "one of " + ", ".join(match[3].split()) if match[3] else "one that is installed"
        return one_line(
            InputError(
                f"{match[1]}={match[2]}", "no such option", wanted, EXTRAS if match[1] in EXTRA_GROUPS else ""
            )
        )
    if match := re.search(r"(?:override '|Sweep parameters '|argument '|Exception: )([\w.@/]+)=", text):
        key = match[1]
        remedy = (
            f"""quote twice, '{key}="a cat, sitting"', or write the prompts to a file: dataset.prompts=FILE"""
        )
        return one_line(
            InputError(
                key,
                "a value that Hydra cannot read as one text",
                "quotes around commas and apostrophes",
                remedy,
            )
        )
    return one_line(error)


def _known_keys(name: str) -> list[str]:
    """Every key of the default configuration, dotted."""

    def walk(node: dict[str, Any], prefix: str) -> list[str]:
        below = [
            key
            for name, child in node.items()
            if isinstance(child, dict)
            for key in walk(child, f"{prefix}{name}.")
        ]
        return [prefix + name for name in node] + below

    cfg = OmegaConf.to_container(config.compose(name=name), resolve=False)
    assert isinstance(cfg, dict)
    return walk({str(name): child for name, child in cfg.items() if name != "hydra"}, "")


def folders_and_words(words: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Command-line words that name folders, and the others, `key=value`. A run's folder may be named `lambda=0.4,score=piva`."""
    folders, others = [], []
    for word in words:
        if Path(word).expanduser().exists() or not re.match(r"[\w.]+=", word):
            folders.append(Path(word).expanduser())
        else:
            others.append(word)
    return folders, others
