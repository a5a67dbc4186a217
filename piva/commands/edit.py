"""`piva edit PATH SOURCE TARGET [KEY=VALUE ...]`: a run of one photo or one scene."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from piva.cli import run_cli, run_hydra, run_job
from piva.errors import InputError
from piva.runs.fingerprint import check_run


def as_overrides(argv: Sequence[str]) -> list[str]:
    """Return a command line of piva.run for PATH, SOURCE, TARGET and what follows. Raises `InputError`."""
    if len(argv) < 3 or any(word.startswith("-") for word in argv[:3]):
        found = " ".join(map(repr, argv)) or "nothing"
        remedy = """such as: piva edit photo.png "a red mug" "a blue mug" """.strip()
        raise InputError("piva edit", found, "PATH SOURCE TARGET, then keys", remedy)
    path, source, target, *others = argv
    task = "nerf" if Path(path).expanduser().is_dir() else "image"
    given = {"path": path, "source": source, "target": target}
    return [
        f"task={task}",
        "dataset=single",
        *(f"dataset.{k}={quoted(v)}" for k, v in given.items()),
        *others,
    ]


def quoted(text: str) -> str:
    """Return a text as Hydra reads it back, whatever characters are in it."""
    no_interpolation = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return str(QuotedString(text=no_interpolation, quote=Quote.double).with_quotes())


def main() -> None:
    def start() -> None:
        sys.argv[1:] = as_overrides(sys.argv[1:])
        run_hydra("config", check_run, run_job)

    run_cli(start, "config")
