"""Tables of many runs: `python -m benchmarks.claims RUN [RUN ...]`, each a folder of piva.run or a sweep.

A row is a setting at a number of steps: the mean over edits, each edit averaged over its seeds first, with
the half-width of the 95 % Student interval over edits. The first two rows are the anchors: the identity (the
unedited original) and the truth. The second table compares each score with DDS at the same reference,
guidance and steps, edit by edit: edits differ more than scores do.
"""

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from piva.report.intervals import interval, over_seeds
from piva.runs.run import Row, Run, find_runs, one_set_of_networks

COLUMNS = {  # heading: (key of a setting's row, of the identity, of the truth)
    "PSNR to the truth": ("truth/psnr", "nothing/psnr", None),
    "inside the mask": ("truth/psnr_inside", "nothing/psnr_inside", None),
    "outside": ("truth/psnr_outside", "nothing/psnr_outside", None),
    "toys-CLIP": ("eval/clip", "nothing/clip", "best/clip"),
    "toys-LPIPS to the truth": ("truth/lpips", "nothing/lpips", None),
    "saturation": ("eval/saturation", "nothing/saturation", "best/saturation"),
}


class Setting(NamedTuple):
    """Hold what a row of the table stands for."""

    score: str
    reference: str
    guidance_scale: float
    lam: float | None
    steps: int

    def __str__(self) -> str:
        lam = "" if self.lam is None else f", λ {self.lam:g}"
        return f"{self.score}, {self.reference}, guidance {self.guidance_scale:g}{lam} | {self.steps}"


Values = dict[str, list[float]]  # edit -> one value a seed
Table = dict[Setting | str, dict[str, Values]]  # setting or anchor -> heading -> values


def read(run: Run) -> list[tuple[Setting, Row]]:
    """Return every row of a run's final and intermediate measurements."""
    score = run.config["score"]
    name = score["_target_"].rsplit(".", 1)[-1]
    key = name, score["reference"], score["guidance_scale"], score.get("lam")
    rows = *run.snapshots, *run.rows
    return [(Setting(*key, int(row.get("step", run.config["steps"]))), row) for row in rows]


def collect(folders: tuple[str, ...]) -> Table:
    table: Table = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    runs = [Run.read(folder) for folder in find_runs(map(Path, folders))]
    one_set_of_networks(runs)
    for run in runs:
        for setting, row in read(run):
            for heading, (key, identity, truth) in COLUMNS.items():
                for name, source in ((setting, key), ("identity | ", identity), ("truth | ", truth)):
                    if source in row:
                        table[name][heading][row["id"]].append(row[source])
    return table


def shown(values: list[float]) -> str:
    """Return the mean over edits and half the width of its 95 % interval."""
    found = interval(values)
    half = "" if math.isnan(found.half) else f" ± {found.half:.2g}"
    return f"{found.mean:.3g}{half}" if found.n else ""


def show(first: str, rows: dict[str, list[list[float]]]) -> None:
    print(f"| {first} | steps | " + " | ".join(COLUMNS) + " | edits |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(map(shown, cells)) + f" | {max(map(len, cells))} |")
    print()


def main(*folders: str) -> None:
    table = collect(folders)
    settings = sorted(key for key in table if isinstance(key, Setting))
    order = [key for key in table if isinstance(key, str)] + settings
    show(
        "setting",
        {str(key): [list(over_seeds(table[key][heading]).values()) for heading in COLUMNS] for key in order},
    )
    differences = {}
    for setting in settings:
        baseline = Setting("DDS", setting.reference, setting.guidance_scale, None, setting.steps)
        if setting != baseline and baseline in table:
            pairs = [(over_seeds(table[setting][h]), over_seeds(table[baseline][h])) for h in COLUMNS]
            differences[str(setting)] = [
                [own[e] - other[e] for e in own if e in other] for own, other in pairs
            ]
    if differences:
        show("difference to DDS", differences)


if __name__ == "__main__":
    main(*sys.argv[1:])
