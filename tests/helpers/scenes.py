"""Small scenes written for the tests."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from piva.cameras.poses import hemisphere

SIZE = 16
ANGLE = 0.6911112070083618


def picture(seed: int, size: int = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 4), dtype=np.uint8))


def synthetic(folder: Path, train: int = 4, test: int = 2) -> Path:
    """A folder as NeRF-synthetic has it."""
    poses = hemisphere(train + test, 4.0)
    for split, first, count in (("train", 0, train), ("test", train, test)):
        (folder / split).mkdir(parents=True)
        frames = []
        for i in range(count):
            picture(first + i).save(folder / split / f"r_{i}.png")
            matrix = poses[first + i].tolist()
            frames.append({"file_path": f"./{split}/r_{i}", "rotation": 0.01, "transform_matrix": matrix})
        write(folder / f"transforms_{split}.json", {"camera_angle_x": ANGLE, "frames": frames})
    return folder


def nerfstudio(folder: Path, train: int = 4, test: int = 2, **changes: Any) -> Path:
    """The same scene as `synthetic` writes, as nerfstudio has it."""
    (folder / "images").mkdir(parents=True)
    names = [f"images/{i:04d}.png" for i in range(train + test)]
    for i, name in enumerate(names):
        picture(i).save(folder / name)
    focal = 0.5 * SIZE / math.tan(0.5 * ANGLE)
    poses = hemisphere(train + test, 4.0)
    data = {
        "w": SIZE,
        "h": SIZE,
        "fl_x": focal,
        "fl_y": focal,
        "cx": SIZE / 2,
        "cy": SIZE / 2,
        "camera_model": "OPENCV",
        "k1": 0.0,
    }
    data["frames"] = [
        {"file_path": n, "transform_matrix": p.tolist()} for n, p in zip(names, poses, strict=True)
    ]
    data |= {"train_filenames": names[:train], "test_filenames": names[train:]}
    data |= changes
    write(folder / "transforms.json", {key: value for key, value in data.items() if value is not None})
    return folder


def write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1))


def edit_json(path: Path, change: Any) -> None:
    data = json.loads(path.read_text())
    change(data)
    write(path, data)
