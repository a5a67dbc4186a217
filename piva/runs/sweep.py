"""Jobs of a sweep: one that fails does not stop the others, equal ones run once, and a table says at the end how each went.

All of it goes by way of their folders, as a job may run in this process, in another or on another machine:
`python -m piva.runs.sweep FOLDER...` prints the table of whatever is there, at any time.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from piva.errors import EditsFailed, InputError, one_line
from piva.runs.fingerprint import RECORD, Identity, digest
from piva.runs.folder import RunFolder, main_metrics, writing
from piva.runs.lock import held

log = logging.getLogger(__name__)

ERROR = "error.txt"  # why a job failed
SAME = "same_as.json"  # which job of the sweep has run these settings
CLAIMS = ".runs"  # in a sweep's folder: of each set of settings, a link to the job that runs them


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a job went, as its folder tells."""

    folder: Path
    status: str  # finished, failed, running, unfinished, or "2 of 12 edits failed"
    same: Path | None = None  # the job that ran these settings in its stead, whose the rest is
    ok: bool = False
    reason: str = ""
    mean: dict[str, Any] = field(default_factory=dict)  # of summary.json


def guarded(work: Callable[[], float | None], folder: Path) -> float | None:
    """What `work` returns; if it fails, nan, with the reason left in `folder` for the table."""
    try:
        return work()
    except EditsFailed as error:  # which its summary says
        log.error("%s", error)
    except Exception as error:
        reason = (
            one_line(error) if isinstance(error, InputError) else f"{type(error).__name__}: {one_line(error)}"
        )
        log.error("this job failed: %s", reason, exc_info=None if isinstance(error, InputError) else error)
        if not held(folder):  # by another, whose run it is
            RunFolder(folder).write_text(ERROR, reason + "\n")
    return math.nan


def begin(folder: Path) -> None:
    """Forget how an earlier attempt in `folder`, which must be held, went."""
    for name in (ERROR, SAME):
        (folder / name).unlink(missing_ok=True)


def elsewhere(settings: Identity, folder: Path, sweep: Path) -> Path | None:
    """The other job of `sweep` that runs these settings, if there is one; `folder`, which must be held, then refers to it."""
    first = _first_with(digest(settings), folder, sweep)
    if first == folder:
        return None
    log.info("the same settings as %s: not run again", first.name)
    RunFolder(folder).write_json(SAME, {"folder": os.path.relpath(first, folder)})
    return first


def _first_with(name: str, folder: Path, sweep: Path) -> Path:
    """The first job that asked under this name, as long as it is at work or has finished; else `folder`."""
    claim = sweep / CLAIMS / name
    mine = os.path.relpath(folder, claim.parent)
    with writing(claim):
        claim.parent.mkdir(exist_ok=True)
        try:
            claim.symlink_to(mine)  # made at once or not at all, by one job alone
        except FileExistsError:
            first = Path(os.path.normpath(claim.parent / claim.readlink()))
            if first != folder and (held(first) or describe(first).ok):
                return first
            temporary = claim.with_name(f".{name}.{os.getpid()}.tmp")
            temporary.symlink_to(mine)
            temporary.replace(claim)
    return folder


def jobs(folder: Path) -> Iterator[Job]:
    """Every run in `folder` and below."""
    if any((folder / name).is_file() for name in (RECORD, ERROR)):
        yield describe(folder)
    elif folder.is_dir():
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from jobs(child)


def describe(folder: Path) -> Job:
    """One job."""
    if (folder / SAME).is_file():
        first = Path(os.path.normpath(folder / json.loads((folder / SAME).read_text())["folder"]))
        there = describe(first)
        return replace(there, folder=folder, same=first)
    if (folder / ERROR).is_file():
        return Job(folder=folder, status="failed", reason=(folder / ERROR).read_text().strip())
    if held(folder):
        return Job(folder=folder, status="running")
    if not (folder / "summary.json").is_file():
        return Job(folder=folder, status="unfinished", reason=f"resume={folder} goes on with it")
    summary = json.loads((folder / "summary.json").read_text())
    failures, mean = summary["failures"], summary["mean"]
    if failures:
        reason = "; ".join(f"{failure['id']}: {failure['reason']}" for failure in failures)
        status = f"{len(failures)} of {len(failures) + len(summary['edits'])} edits failed"
        return Job(folder=folder, status=status, reason=reason, mean=mean)
    return Job(folder=folder, status="finished", ok=True, mean=mean)


def table(of: list[Job]) -> str:
    """One line a job, named by the words that not all have in common, and below why some did not finish."""
    words = [set(job.folder.name.split(",")) for job in of]
    common = set.intersection(*words) if len(words) > 1 else set()

    def short(folder: Path) -> str:
        return ",".join(word for word in folder.name.split(",") if word not in common)

    rows = [("job", "status", "means")]
    rows += [
        (short(job.folder), f"same as {short(job.same)}" if job.same else job.status, main_metrics(job.mean))
        for job in of
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = [f"{name:{widths[0]}}  {status:{widths[1]}}  {means}".rstrip() for name, status, means in rows]
    lines += [f"{short(job.folder)}: {job.reason}" for job in of if job.reason and not job.same]
    return "\n".join(lines) + "\n"


class Table(Callback):
    """Hydra's hook after a sweep: prints the table; the exit code is 1 if a job did not finish."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        ended = list(jobs(Path(config.hydra.sweep.dir)))
        sys.stdout.write("\n" + table(ended))
        if not all(job.ok for job in ended):
            raise SystemExit(1)


def main() -> None:
    """The table of the folders on the command line; exit code 1 if a job there did not finish, 2 if there is none."""
    found = [job for name in sys.argv[1:] for job in jobs(Path(name))]
    if not found:
        sys.stderr.write(
            f"piva: no runs in {' '.join(sys.argv[1:]) or 'nothing'}; usage: python -m piva.runs.sweep FOLDER...\n"
        )
        sys.exit(2)
    sys.stdout.write(table(found))
    sys.exit(not all(job.ok for job in found))


if __name__ == "__main__":
    main()
