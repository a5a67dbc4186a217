"""Jobs of a sweep: one that fails does not stop the others, equal ones run once, a table says how each went.

All of it goes by way of their folders, as a job may run in this process, in another or on another machine:
`python -m piva.runs.sweep FOLDER...` prints the table of the runs there, at any time.
"""

import hashlib
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from piva.errors import EditsFailed, InputError, one_line
from piva.files import inside_of, user_path, write_errors
from piva.runs.fingerprint import Fingerprint
from piva.runs.folder import RunFolder, is_locked, main_metrics
from piva.runs.run import DUPLICATE, ERROR, FIRSTS, RECORD, Run

log = logging.getLogger(__name__)

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"  # overrides that name no folder


def guarded(work: Callable[[], float | None], folder: Path) -> float | None:
    """Return what `work` returns; if it fails, nan, with the reason left in `folder` for the table."""
    try:
        return work()
    except EditsFailed as error:  # which its summary says
        log.error("%s", error)
    except Exception as error:
        expected = isinstance(error, InputError)
        reason = one_line(error) if expected else f"{type(error).__name__}: {one_line(error)}"
        log.error("this job failed: %s", reason, exc_info=None if expected else error)
        if not is_locked(folder):  # by another process, whose run it is
            RunFolder(folder).write_text(ERROR, reason + "\n")
    return math.nan


def begin(folder: Path) -> None:
    """Forget how an earlier attempt in `folder`, which must be locked, went."""
    for name in (ERROR, DUPLICATE):
        (folder / name).unlink(missing_ok=True)


def duplicate_of(fingerprint: Fingerprint, folder: Path, sweep: Path) -> Path | None:
    """Return the other job of `sweep` that runs these settings, if any, named in `folder`'s same_as.json.

    `folder` must be locked.
    """
    name = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    first = _first(name, folder, sweep)
    if first == folder:
        return None
    log.info("the same settings as %s: not run again", first.name)
    RunFolder(folder).write_json(DUPLICATE, {"folder": os.path.relpath(first, folder)})
    return first


def _first(name: str, folder: Path, sweep: Path) -> Path:
    """Return the first job that asked under this name if it is at work or has finished, else `folder`."""
    link = sweep / FIRSTS / name
    mine = os.path.relpath(folder, link.parent)
    with write_errors(link):
        link.parent.mkdir(exist_ok=True)
        try:
            link.symlink_to(mine)  # made at once or not at all, by one job alone
        except FileExistsError:
            first = Path(os.path.normpath(link.parent / link.readlink()))
            own = inside_of(sweep, first)  # or the sweep is somebody else's
            if own and first != folder and (is_locked(first) or Run(first).status == "finished"):
                return first
            temporary = link.with_name(f".{name}.{os.getpid()}.tmp")
            temporary.symlink_to(mine)
            temporary.replace(link)
    return folder


def jobs(folder: Path) -> Iterator[Run]:
    """Yield every run in `folder` and below, begun or failed before it began."""
    if any((folder / name).is_file() for name in (RECORD, ERROR)):
        yield Run(folder)
    elif folder.is_dir():
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from jobs(child)


def table(runs: Sequence[Run]) -> str:
    """Return a line for each job, named by the overrides that differ, and below why some did not finish."""
    overrides = [set(run.folder.name.split(",")) for run in runs]
    common = set.intersection(*overrides) if len(overrides) > 1 else set()

    def short(run: Run) -> str:
        return ",".join(each for each in run.folder.name.split(",") if each not in common)

    rows, reasons = [("job", "status", "means")], []
    for run in runs:
        other, status = run.duplicate_of, run.status
        mean = (other or run).summary.get("mean", {}) if status not in ("failed", "running") else {}
        rows.append((short(run), f"same as {short(other)}" if other else status, main_metrics(mean)))
        if run.reason and not other:
            reasons.append(f"{short(run)}: {run.reason}")
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = [f"{name:{widths[0]}}  {status:{widths[1]}}  {means}".rstrip() for name, status, means in rows]
    return "\n".join([*lines, *reasons]) + "\n"


def _print_table(runs: Sequence[Run]) -> int:
    """Print the table; returns 1 if a job did not finish, else 0."""
    sys.stdout.write(table(runs))
    return int(any(run.status != "finished" for run in runs))


class Table(Callback):
    """Hydra's hooks of a sweep: jobs' folders are named by what differs; at its end the table is printed, and
    the exit code is 1 if a job did not finish.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        given = config.hydra.overrides
        if any(word.startswith(f"{EXCLUDED}=") for word in given.hydra):
            return  # of a sweep that is resumed
        typed = OverridesParser.create().parse_overrides(list(given.task))
        varied = {each.get_key_element() for each in typed if each.is_sweep_override()}
        constant = {each.get_key_element() for each in typed} - varied
        if varied or config.hydra.sweeper.params:
            names = [*config.hydra.job.config.override_dirname.exclude_keys, *sorted(constant)]
            with read_write(config), open_dict(config):
                given.hydra.append(f"{EXCLUDED}=[{','.join(names)}]")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        sys.stdout.write("\n")
        if code := _print_table(list(jobs(Path(config.hydra.sweep.dir)))):
            raise SystemExit(code)


def main() -> None:
    """Print the table of the folders given; exit code 1 if a job did not finish, 2 if there is none."""
    try:
        if runs := [run for name in sys.argv[1:] for run in jobs(user_path(name, "FOLDER"))]:
            sys.exit(_print_table(runs))
    except InputError as error:
        sys.stderr.write(f"piva: {one_line(error)}\n")
        sys.exit(2)
    where = " ".join(sys.argv[1:]) or "nothing"
    sys.stderr.write(f"piva: no runs in {where}; usage: python -m piva.runs.sweep FOLDER...\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
