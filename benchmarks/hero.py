"""An animated picture of edited scenes: `python -m benchmarks.hero OUT.webp EDIT...`.

EDIT is the folder of a finished edit of a scene (outputs/.../edits/<id>). Each is a column, original above
edit, turning once, rendered from the fields themselves: a film's compression would show.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from piva.cameras.trajectories import turntable
from piva.export.edits import find
from piva.export.stored import read_edit
from piva.images import to_uint8
from piva.metrics.comparison import STRIP, label_strip

SIZE, VIEWS, SECONDS = 192, 40, 5.0  # pixels a side, views of the turn, and its length
ELEVATION_DEG, FOV_DEG, DISTANCE = 15.0, 40.0, 4.0  # the turntable of profile=cpu


def column(folder: Path) -> np.ndarray:
    """Return the frames (n, h, w, 3) of one edit: the original and the edit, each below its prompt."""
    (edit,) = find(folder)
    after, before = read_edit(edit, "cpu")
    if before is None:
        raise SystemExit(f"{folder}: its original is not in it")
    cameras = turntable(VIEWS, SIZE, ELEVATION_DEG, FOV_DEG, DISTANCE)
    ring = [(torch.from_numpy(c2w), lens) for c2w, lens in cameras]
    rows = []
    for stored, text in zip((before, after), edit.prompts, strict=True):
        rows.append(np.broadcast_to(label_strip(text, SIZE), (VIEWS, STRIP, SIZE, 3)))
        rows.append(to_uint8(torch.stack([stored.view(*camera).rgb.movedim(2, 0) for camera in ring])))
    return np.concatenate(rows, axis=1)


def main(out: Path, *folders: str) -> None:
    frames = np.concatenate([column(Path(folder)) for folder in folders], axis=2)
    first, *others = (Image.fromarray(frame) for frame in frames)
    duration = round(1000 * SECONDS / VIEWS)
    first.save(out, save_all=True, append_images=others, duration=duration, loop=0, quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
