"""One page of finished runs: `python -m piva.report OUTPUTS... [out=report.html] [plot=tradeoff.png]`.

OUTPUTS are run folders, shards too, or folders of them. conf/report.yaml explains the keys.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Interval

from piva.cli import folders_and_overrides, run_cli
from piva.config import build, compose
from piva.errors import InputError
from piva.files import user_path
from piva.runs.run import Run, find_runs


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The keys of conf/report.yaml, explained there."""

    out: str | None
    plot: str | None
    title: str
    baseline: str
    x: str
    y: str
    thumbnail: Annotated[int, Interval(ge=32, le=512)]
    films_mb: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        for key, suffix in (("out", ".html"), ("plot", ".png")):
            path = getattr(self, key)
            if path is not None and Path(path).suffix.lower() != suffix:
                raise InputError(key, repr(path), f"a file name that ends in {suffix}, or null")
            if path is not None and not user_path(path, key).absolute().parent.is_dir():
                found = f"no folder {str(Path(path).parent)!r}"
                raise InputError(key, found, "a file in a folder that exists", "make the folder")
        if self.out is None and self.plot is None:
            remedy = "give out=report.html or plot=tradeoff.png"
            raise InputError("out", "null, and plot too", "something to write", remedy)


def report(*argv: str) -> list[Path]:
    """Write the page, or the plot, or both, and return their paths. Raises `InputError`."""
    roots, overrides = folders_and_overrides(argv)
    settings: ReportSettings = build(ReportSettings, compose(*overrides, name="report"))
    if not roots:
        remedy = "name one: python -m piva.report outputs"
        raise InputError("OUTPUTS", "no folder", "run folders, or folders of them", remedy)
    found = [Run.read(folder) for folder in find_runs(roots)]
    left_out = {str(run.folder): reason for run in found if (reason := _why_not(run))}
    runs = [run for run in found if str(run.folder) not in left_out]
    if not runs:
        where, reason = next(iter(left_out.items()))
        raise InputError(where, reason, "a finished run", "let it finish, or name other folders")
    failed = {f"{run.folder}, edit {edit}": why for run in runs for edit, why in run.failures.items()}
    return _write(runs, settings, left_out | failed)


def _write(runs: list[Run], settings: ReportSettings, left_out: dict[str, str]) -> list[Path]:
    """Import what draws only now, so that bad input is answered at once."""
    from piva.report.gallery import cards
    from piva.report.page import Part, write_page
    from piva.report.plots import drift_svg, save_tradeoff, tradeoff_svg
    from piva.report.sections import sections
    from piva.report.tables import mean_tables, paired_tables, type_tables

    groups, written, axes = sections(runs), [], (settings.x, settings.y, settings.baseline)
    if settings.out is not None:
        path = user_path(settings.out, "out")
        parts = [
            Part(
                section=section,
                means=mean_tables(section),
                pairs=paired_tables(section, settings.baseline),
                types=type_tables(section),
                tradeoff=tradeoff_svg(section, *axes),
                drift=drift_svg(section),
                cards=cards(section, path, settings.thumbnail, settings.films_mb),
            )
            for section in groups
        ]
        write_page(parts, left_out, path, settings.title, axes)
        written.append(path)
    if settings.plot is not None:
        path = user_path(settings.plot, "plot")
        if not save_tradeoff(groups, path, *axes):
            where = f"no run with both {settings.x} and {settings.y}"
            raise InputError("plot", where, "two metrics of metrics.csv", "choose others by x= and y=")
        written.append(path)
    return written


def _why_not(run: Run) -> str | None:
    if "metric_networks" not in run.summary:
        return "unfinished: no summary.json"
    return None if "score" in run.config else "not a run of piva.run"


def main() -> None:
    run_cli(lambda: [sys.stdout.write(f"wrote {path}\n") for path in report(*sys.argv[1:])], "report")


if __name__ == "__main__":
    main()
