"""Seconds and megabytes of a report of many edits: `python -m benchmarks.report RUN [edits=700] [runs=1]`.

RUN is a finished run of piva.run. Its pictures, scaled to 512x512, and its numbers are repeated under new ids
until there are that many edits.
"""

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from piva.report.__main__ import report
from piva.runs.folder import RunFolder
from piva.runs.run import Run

SIZE = 512  # pixels a side, as profile=gpu leaves them


def main(run: Path, *argv: str) -> None:
    given = dict(arg.split("=") for arg in argv)
    edits, runs = int(given.get("edits", 700)), int(given.get("runs", 1))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(runs):
            repeat(Run.read(run), root / f"runs/{number}", edits, lam=0.1 * (number + 1))
        start, cpu = time.perf_counter(), time.process_time()
        (page,) = report(str(root / "runs"), f"out={root / 'report.html'}")
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        megabytes = page.stat().st_size / 1e6
        size = f"{megabytes:.1f} MB, {peak:.2f} GB of memory"
        print(f"{runs} x {edits} edits: {seconds:.1f} s ({cpu:.1f} s of CPU), {size}")
        if keep := given.get("keep"):
            shutil.copy(page, keep)


def repeat(run: Run, to: Path, edits: int, lam: float) -> None:
    """Write a run of that many edits, whose pictures are hard links to one copy on disk."""
    score = {**run.config["score"], "lam": lam}
    rows = [{**run.rows[i % len(run.rows)], "id": f"{i:012d}"} for i in range(edits)]
    folder = RunFolder(to)
    folder.write_config({**run.config, "score": score})
    folder.write_json("summary.json", run.summary)
    folder.write_rows("metrics.csv", rows)
    for i, row in enumerate(rows):
        source, place = run.edit(run.rows[i % len(run.rows)]["id"]), to / "edits" / row["id"]
        first = to / "edits" / rows[i % len(run.rows)]["id"]
        place.mkdir(parents=True)
        for picture in source.glob("*.png"):
            if place == first:
                Image.open(picture).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(place / picture.name)
            else:
                (place / picture.name).hardlink_to(first / picture.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
