"""One page of finished runs: `python -m piva.report OUTPUTS... [out=report.html] [plot=tradeoff.png]`.

OUTPUTS are run folders or folders of them. conf/report.yaml explains the keys. Everything comes from the runs' files.
"""

import sys
from pathlib import Path

from piva.cli import folders_and_overrides, run_cli
from piva.config import build, compose
from piva.errors import InputError
from piva.report.settings import ReportSettings
from piva.runs.run import Run, find_runs


def report(*words: str) -> list[Path]:
    """Write the page, or the plot, or both, that these words ask for; returns what was written. Raises `InputError`."""
    roots, overrides = folders_and_overrides(words)
    settings: ReportSettings = build(ReportSettings, compose(*overrides, name="report"))
    if not roots:
        raise InputError(
            "OUTPUTS",
            "no folder",
            "run folders, or folders of them",
            "name one: python -m piva.report outputs",
        )
    runs = [Run.read(folder) for folder in find_runs(roots)]
    left_out = {str(run.folder): reason for run in runs if (reason := _why_not(run))}
    kept = [run for run in runs if str(run.folder) not in left_out]
    if not kept:
        where, reason = next(iter(left_out.items()))
        raise InputError(where, reason, "a finished run", "let it finish, or name other folders")
    return _write(kept, settings, left_out | _failures(kept))


def _write(runs: list[Run], settings: ReportSettings, left_out: dict[str, str]) -> list[Path]:
    """Imports what draws only now: bad input is answered before."""
    from piva.report.page import write_page
    from piva.report.plots import save_tradeoff
    from piva.report.sections import sections

    parts, written = sections(runs), []
    if settings.out is not None:
        path = Path(settings.out).expanduser()
        write_page(parts, settings, left_out, path)
        written.append(path)
    if settings.plot is not None:
        path = Path(settings.plot).expanduser()
        if not save_tradeoff(parts, path, settings.x, settings.y, settings.baseline):
            found = f"no run with both {settings.x} and {settings.y}"
            raise InputError("plot", found, "two metrics of metrics.csv", "choose others by x= and y=")
        written.append(path)
    return written


def _why_not(run: Run) -> str | None:
    if "metric_networks" not in run.summary:
        return "unfinished: no summary.json"
    if "score" not in run.config:
        return "not a run of piva.run"
    return None


def _failures(runs: list[Run]) -> dict[str, str]:
    return {f"{run.folder}, edit {edit}": reason for run in runs for edit, reason in run.failures.items()}


def main() -> None:
    words = sys.argv[1:]
    if any(word.startswith("-") for word in words):
        sys.stdout.write(f"{(__doc__ or '').strip()}\n")
    else:
        run_cli(lambda: [sys.stdout.write(f"wrote {path}\n") for path in report(*words)], "report")


if __name__ == "__main__":
    main()
