"""Seconds of an edit's step in 3D, one representation of the scene beside the other:

python -m benchmarks.scene_step [fields=voxels,splats] [steps=8] [rounds=2] [threads=1] [OVERRIDE ...]

The main command's edit by DDS. Representations take turns, so that what else the machine does meets all of
them; of each the least over rounds of the median of its steps, without the first, which compiles. The scene
is fitted before, or comes from the cache.
"""

import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch

from piva import compose, run

COMMON = ("task=nerf", "dataset=noe", "score=dds", "samples.at=[]", "task.turntable=2", "measure_at=[]")


class Seconds(NamedTuple):
    """Of one step, in all and of CPU time."""

    clock: float
    cpu: float


def measure(field: str, steps: int, folder: Path, overrides: list[str]) -> Seconds:
    """Return the medians over an edit's steps but the first."""
    marks: list[Seconds] = []

    def note(_progress: object) -> None:
        marks.append(Seconds(time.perf_counter(), time.process_time()))

    words = [f"field={field}", f"steps={steps}", f"hydra.run.dir='{folder}'", *overrides]
    run(compose(*COMMON, *words), callback=note)
    lasted = [Seconds(b.clock - a.clock, b.cpu - a.cpu) for a, b in pairwise(marks)]
    return Seconds(*(statistics.median(values) for values in zip(*lasted, strict=True)))


def main(*argv: str) -> None:
    own = {"fields": "voxels,splats", "steps": "8", "rounds": "2", "threads": "1"}
    own |= {k: v for k, _, v in (word.partition("=") for word in argv) if k in own}
    others = [word for word in argv if word.partition("=")[0] not in own]
    torch.set_num_threads(int(own["threads"]))
    seen: dict[str, list[Seconds]] = {field: [] for field in own["fields"].split(",")}
    with tempfile.TemporaryDirectory() as root:
        for number in range(int(own["rounds"])):
            for field, values in seen.items():
                folder = Path(root) / f"{number}-{field}"
                values.append(measure(field, int(own["steps"]), folder, others))
    print("| field | threads | s a step | s of CPU time | times the first |\n|---|---|---|---|---|")
    first = None
    for field, values in seen.items():
        clock, cpu = (min(part) for part in zip(*values, strict=True))
        first = first or cpu
        print(f"| {field} | {own['threads']} | {clock:.2f} | {cpu:.2f} | {cpu / first:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
