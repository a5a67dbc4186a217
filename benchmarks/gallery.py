"""One picture of many edits: `python -m benchmarks.gallery OUT.png RUN... [edits=chair/golden,car/hat]
[labels=DDS,Piva]`.

A row is an edit: the original, each run's result (two views of a turntable), and the truth where it is known.
More than eight edits stand in two columns. RUN may hold several jobs of one setting, such as shards: each
edit is taken from the one that has it.
"""

import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from omegaconf import OmegaConf
from PIL import Image, ImageDraw, ImageFont

from piva.metrics.comparison import STRIP
from piva.runs.run import find_runs

SIZE = 128  # pixels a side of a picture


def finished(run: Path) -> dict[str, Path]:
    """Return the job of each finished edit, among those at or below `run`."""
    jobs: dict[str, Path] = {}
    for job in find_runs([run]):
        root = job / "edits"
        for edit in (after.parent.relative_to(root).as_posix() for after in root.rglob("after.png")):
            if jobs.setdefault(edit, job) != job:
                raise SystemExit(f"{edit} stands in {jobs[edit]} and in {job}: name one of them")
    return jobs


def views(run: Path, edit: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return original and edit from the front, and with a turntable also from a third of the way round."""
    folder = run / "edits" / edit
    film = folder / "turntable.mp4"
    if not film.is_file():
        return [read(folder / "before.png")], [read(folder / "after.png")]
    frames = iio.imread(film)[:, STRIP:]
    turn = OmegaConf.load(
        run / "config.yaml"
    ).task.turntable  # views; a film shows a short turn several times
    chosen = [frames[0], frames[turn // 3]]
    middle = frames.shape[2] // 2
    return [scaled(frame[:, :middle]) for frame in chosen], [scaled(frame[:, middle:]) for frame in chosen]


def read(path: Path) -> np.ndarray:
    return scaled(iio.imread(path)[..., :3])


def scaled(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def header(labels: list[str], width: int) -> np.ndarray:
    """Return a strip (20, width, 3) with the labels over the columns: the original, each run, the truth."""
    strip = Image.new("RGB", (width, 20), "white")
    views = max(1, (width // SIZE - 2) // max(1, len(labels)))
    for i, text in enumerate(["original", *labels, "truth"]):
        column = 0 if i == 0 else 1 + (i - 1) * views
        ImageDraw.Draw(strip).text(
            (column * SIZE + 6, 3), text, fill="black", font=ImageFont.load_default(13)
        )
    return np.asarray(strip)


def main(out: Path, *argv: str) -> None:
    options = dict(arg.split("=", 1) for arg in argv if arg.startswith(("edits=", "labels=")))
    jobs = [finished(Path(arg)) for arg in argv if not arg.startswith(("edits=", "labels="))]
    edits = options["edits"].split(",") if "edits" in options else sorted(jobs[0])
    rows = []
    for edit in edits:
        truth = jobs[0][edit] / "edits" / edit / "truth.png"
        of_edit = [views(job[edit], edit) for job in jobs]
        pictures = of_edit[0][0][:1] + [view for _, after in of_edit for view in after]
        rows.append(np.concatenate(pictures + ([read(truth)] if truth.is_file() else []), axis=1))
    two, gap = len(rows) > 8, np.full((SIZE, SIZE // 4, 3), 255, np.uint8)
    if two:
        rows += [np.full_like(rows[0], 255)] * (len(rows) % 2)
        half = len(rows) // 2
        rows = [
            np.concatenate([left, gap, right], axis=1)
            for left, right in zip(rows[:half], rows[half:], strict=True)
        ]
    if "labels" in options:
        strip = header(
            options["labels"].split(","), (rows[0].shape[1] - gap.shape[1]) // 2 if two else rows[0].shape[1]
        )
        rows.insert(0, np.concatenate([strip, gap[:20], strip], axis=1) if two else strip)
    Image.fromarray(np.concatenate(rows)).quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
