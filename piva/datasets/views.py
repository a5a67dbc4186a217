"""A scene's pictures with their cameras."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piva.datasets.images import check_image, read_rgba
from piva.datasets.transforms import Transforms, read_transforms
from piva.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Views:
    """n pictures of one scene by one pinhole camera (focal lengths and principal point in pixels)."""

    images: NDArray[np.uint8]  # (n, h, w, 4), straight alpha
    c2w: NDArray[np.float32]  # (n, 4, 4), OpenGL axes
    fx: float
    fy: float
    cx: float
    cy: float
    names: list[str]  # file names relative to the scene's folder
    train: list[int]  # indices into names
    test: list[int]


def read_views(folder: Path) -> Views:
    """All pictures and cameras of a NeRF-synthetic or nerfstudio scene; raises `InputError`."""
    cameras = read_transforms(folder)
    images = np.empty((len(cameras.names), cameras.height, cameras.width, 4), np.uint8)
    for index, name in enumerate(cameras.names):
        image = read_rgba(folder / name)
        _check_size(folder / name, (image.shape[1], image.shape[0]), cameras)
        images[index] = image
    return Views(
        images=images,
        c2w=cameras.c2w,
        fx=cameras.fx,
        fy=cameras.fy,
        cx=cameras.cx,
        cy=cameras.cy,
        names=cameras.names,
        train=cameras.train,
        test=cameras.test,
    )


def check_views(folder: Path) -> None:
    """Raise the `InputError` that `read_views` would, without decoding and keeping the pictures."""
    cameras = read_transforms(folder)
    for name in cameras.names:
        _check_size(folder / name, check_image(folder / name), cameras)


def front_view(folder: Path) -> Path:
    """The picture that stands for a scene: its first test frame. Raises `InputError`."""
    cameras = read_transforms(folder)
    return folder / cameras.names[cameras.test[0]]


def _check_size(path: Path, size: tuple[int, int], cameras: Transforms) -> None:
    if size != (cameras.width, cameras.height):
        wanted = f"{cameras.width}x{cameras.height} like the scene's camera"
        raise InputError(path, f"{size[0]}x{size[1]} pixels", wanted, "all frames must have one size, the w and h in the JSON")
