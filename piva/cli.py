"""The command lines: one line on stderr and an exit code for errors, no traceback; and `run`, piva.run's job.

From Python: `from piva import compose, run`, then `run(compose("task=image", "steps=100"))`. Torch is
imported late: help and bad input do without.
"""

import difflib
import logging
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from piva import config
from piva.commands.help import HELP, explain
from piva.errors import EditsFailed, InputError, one_line, out_of_memory
from piva.files import CONF, user_path
from piva.objective import Objective
from piva.runs import sweep
from piva.runs.devices import check_device
from piva.runs.fingerprint import (
    UNBEGUN,
    check_run,
    expand_resume,
    fingerprint,
    finished,
    locked,
    overrides_of,
)
from piva.runs.run import Run

if TYPE_CHECKING:
    from piva.experiment.edit import Callback
    from piva.priors.stable_diffusion import Loaded

log = logging.getLogger(__name__)

T = TypeVar("T")
NOBODY = "the configuration"  # where no key is to blame
OURS = (InputError, EditsFailed, FloatingPointError, HydraException, OmegaConfBaseException)  # one line each
EXTRA_GROUPS = ("hydra/launcher", "hydra/sweeper")
EXTRAS = "launchers and sweepers are extras: pip install 'piva[joblib,submitit,optuna]'"


def main() -> None:
    """Run `python -m piva.run`; the exit codes are `run_cli`'s."""

    def start() -> None:
        sys.argv[1:] = expand_resume(sys.argv[1:])
        run_hydra("config", check_run, run_job)

    run_cli(start)


def run(cfg: DictConfig, *, prior: "Loaded | None" = None, callback: "Callback | None" = None) -> Run:
    """Check `cfg`, run it, and return what it left behind; `cfg` is what `compose` made.

    `prior` takes the place of that of `cfg`, `callback` is told of each step. Edits that failed are named in
    the summary. Raises `InputError` for anything the user can mend.
    """
    if cfg.resume is not None:  # from Python; the command line has put the run's own overrides in its place
        given = config.as_typed(cfg.hydra.overrides.task)
        others = [word for word in given if not word.startswith("resume=")]
        cfg = config.compose(*overrides_of(user_path(cfg.resume, "resume")), *others)
    result = _run(config.check(cfg, prior), Path(cfg.hydra.run.dir), callback=callback)
    assert result
    return result


def run_job(cfg: DictConfig, settings: config.Settings | None) -> float | None:
    """Run what Hydra composed and return what a sweeper maximises; None if there is no objective."""
    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    if hydra_cfg.mode != RunMode.MULTIRUN:
        return _objective(cfg, _run(settings or config.check(cfg), folder))
    folder, whole = folder.resolve(), Path(hydra_cfg.sweep.dir).resolve()
    return sweep.guarded(lambda: _objective(cfg, _run(config.check(cfg), folder, whole)), folder)


def _run(
    settings: config.Settings,
    folder: Path,
    whole: Path | None = None,
    callback: "Callback | None" = None,
) -> Run | None:
    """Return the finished run in `folder`, after running what is not finished there.

    If another job of the sweep `whole` has the same settings, return that job's; None while it is at work.
    """
    if result := finished(settings, folder):
        log.info("finished already: results in %s", folder)
        return result
    check_device(settings.run.device)
    with locked(settings, folder):
        sweep.begin(folder)
        if whole and (other := sweep.duplicate_of(fingerprint(settings), folder, whole)):
            return finished(settings, other)
        if "torch" not in sys.modules:
            log.info("importing torch and diffusers")  # seconds, on a cold disk a minute
        from piva.experiment.run import run_experiment

        return run_experiment(settings, folder, callback)


def _objective(cfg: DictConfig, result: Run | None) -> float | None:
    if result is None:
        return None
    if result.failures or result.diverged:
        raise EditsFailed(f"{result.status}: {result.reason}")
    objective: Objective = config.build(Objective, cfg.objective, "objective")
    return objective.of(result.summary["mean"])


def run_hydra(
    name: str, check: Callable[[DictConfig], T], work: Callable[[DictConfig, T | None], Any]
) -> None:
    """Run `work(cfg, checked)` as Hydra's job, whose configuration is conf/`name`.yaml.

    A single run is composed and checked before Hydra makes its folder; `checked` is what `check` returned.
    With flags of Hydra's own (--multirun, --config-dir) it is None: then `work` checks.
    """
    argv = sys.argv[1:]
    checked: T | None = None
    if not any(word.startswith("-") for word in argv):
        with _as_input_errors():
            cfg = config.compose(*argv, name=name)
            if cfg.hydra.mode != RunMode.MULTIRUN:
                checked = check(cfg)
                _check_folder(Path(cfg.hydra.run.dir))

    @hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")
    def job(cfg: DictConfig) -> Any:
        own, found = HydraConfig.get(), checked
        try:
            if found is None and own.mode != RunMode.MULTIRUN:
                with _as_input_errors():
                    found = check(cfg)
            return work(cfg, found)
        except Exception as error:
            folder = Path(own.runtime.output_dir)
            if own.output_subdir and folder.is_dir() and {path.name for path in folder.iterdir()} <= UNBEGUN:
                shutil.rmtree(folder)
            raise SystemExit(1) from error  # before any other exception Hydra prints lines of its own

    job()


@contextmanager
def _as_input_errors() -> Iterator[None]:
    """Turn whatever the check of a configuration raises into an `InputError`: nothing is made yet."""
    try:
        yield
    except (*OURS, OSError, MemoryError):
        raise
    except Exception as error:
        found, remedy = one_line(error), "HYDRA_FULL_ERROR=1 shows where it was read"
        raise InputError(_culprit(sys.argv[1:]), found, "values that piva can read", remedy) from error


def _culprit(overrides: Iterable[str]) -> str:
    """Return the key of the first override that Hydra cannot parse, or that takes a group away."""
    for word in overrides:
        key, _, value = word.partition("=")
        if not key:
            return word
        if word.startswith("-"):
            continue
        try:
            OverridesParser.create().parse_override(word)
        except Exception:  # whatever it raised before
            return key or word
        if value == "null" and (CONF / key).is_dir():
            return key
    return NOBODY


def _check_folder(folder: Path) -> None:
    """Raise `InputError` if a run's folder cannot be made or written to."""
    folder = user_path(folder, "hydra.run.dir").absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        found = f"{str(folder)!r}, and {there} is {'read-only' if there.is_dir() else 'no folder'}"
        raise InputError("hydra.run.dir", found, "a folder that can be made and written to")


def run_cli(job: Callable[[], Any], name: str = "config") -> None:
    """Run `job`, whose configuration is conf/`name`.yaml, and turn errors into one line and an exit code.

    Bad input ends with 2, edits or jobs that failed with 1, Ctrl-C with 130. Asked for help, it prints that.
    """
    if HELP & {*sys.argv[1:]}:
        sys.stdout.write(explain(name, sys.argv[1:]))
        return
    before = os.environ.get("HYDRA_FULL_ERROR")
    tracebacks = before == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what went wrong instead of printing pages of it
    try:
        _working_folder()
        job()
    except KeyboardInterrupt:
        sys.stderr.write("\npiva: interrupted; what was finished is kept\n")
        sys.exit(130)
    except (Exception, SystemExit) as stop:
        error = stop.__cause__ if isinstance(stop, SystemExit) else stop
        if error is None:  # --help and the like, or a sweep some of whose jobs failed
            raise
        if not (isinstance(error, (*OURS, OSError)) or out_of_memory(error)):
            raise error from None
        if tracebacks:
            traceback.print_exception(error)
        kept = "; finished edits are kept" if isinstance(error, FloatingPointError) else ""
        sys.stderr.write(f"piva: {_explain(error, name)}{kept}\n")
        sys.exit(1 if isinstance(error, EditsFailed | FloatingPointError) else 2)
    finally:  # a program that calls this is not to find it changed
        del os.environ["HYDRA_FULL_ERROR"]
        os.environ.update({} if before is None else {"HYDRA_FULL_ERROR": before})


def _working_folder() -> None:
    try:
        Path.cwd()
    except OSError:
        remedy = "cd to one that is there"
        raise InputError("the working folder", "a deleted one", "a folder", remedy) from None


def _explain(error: BaseException, name: str) -> str:
    """Hydra's composition errors in our form: key, found, wanted, remedy."""
    text = str(error)
    if isinstance(error, InputError):
        return one_line(error)
    if out_of_memory(error):
        return one_line(InputError("memory", "too little", "more", "make what is asked for smaller"))
    if isinstance(error, OSError) and not isinstance(error, HydraException):  # unexpected, of a file it names
        found = error.strerror or text
        return one_line(InputError(error.filename or name, found, "a file or folder that can be used"))
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        found, remedy = text.partition("\n")[0], f"add {error.full_key}=..."
        return one_line(InputError(error.full_key, found, "a value", remedy))
    if match := re.search(r"Could not override '([^']+)'", text):
        keys = _known_keys(name)
        moved = [
            key for key in keys if key.replace(".", "_").endswith(match[1])
        ]  # t_max is schedule.t_max now
        close = moved or difflib.get_close_matches(match[1], keys, n=3)
        remedy = f"did you mean {' or '.join(close)}?" if close else "--help explains all keys"
        return one_line(InputError(match[1], "no such key", "a key of the configuration", remedy))
    if match := re.search(
        r"Could not (?:find|load) '([^']+)/([^'/]+)'"
        r"(?:\s+Available options in '[^']+':\s+(.*?)\s*Config search path)?",
        text,
        re.DOTALL,
    ):
        wanted = "one of " + ", ".join(match[3].split()) if match[3] else "one that is installed"
        return one_line(
            InputError(
                f"{match[1]}={match[2]}", "no such option", wanted, EXTRAS if match[1] in EXTRA_GROUPS else ""
            )
        )
    match = re.search(r"(?:override '|Sweep parameters '|argument '|Exception: )([\w.@/]+)=", text)
    if (key := match[1] if match else _culprit(sys.argv[1:])) != NOBODY:
        sweep = "-m for a sweep, or " if "--multirun" in text else ""
        wanted = f"{sweep}quotes around its commas, brackets, equals signs and apostrophes"
        remedy = f"""{"add -m, or " if sweep else ""}quote twice, '{key}="a cat, sitting (left)"'"""
        remedy += ", or write prompts to a file: dataset.prompts=FILE" if "dataset" in key else ""
        return one_line(InputError(key, "a value that Hydra cannot read as one text", wanted, remedy))
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


def folders_and_overrides(argv: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Split a command line into folders (one may be named `lambda=0.4,score=piva`) and overrides,
    `key=value`.
    """
    folders, others = [], []
    for word in argv:
        if not re.match(r"[\w.]+=", word) or os.path.exists(os.path.expanduser(word)):  # noqa: PTH110, PTH111 - never raise
            folders.append(user_path(word, "a folder"))
        else:
            others.append(word)
    return folders, others
