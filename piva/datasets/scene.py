"""A scene's pictures with their cameras."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from piva.cameras.lens import Lens
from piva.datasets.edit import Capture
from piva.datasets.transforms import Transforms, read_transforms
from piva.errors import InputError
from piva.files import inside
from piva.images import check_image, image_size, read_mask, read_rgba

SHRINK = (8, 4, 2)  # tried in this order where a run leaves the choice to us


@dataclass(frozen=True, kw_only=True)
class Views:
    """n pictures of one scene."""

    images: NDArray[np.uint8]  # (n, h, w, 4), straight alpha
    keep: NDArray[np.bool_] | None  # (n, h, w): the pixels to fit, None for all
    c2w: NDArray[np.float32]  # (n, 4, 4), OpenGL axes
    lenses: list[Lens]  # one a picture
    names: list[str]  # file names relative to the scene's folder
    train: list[int]  # indices into names
    test: list[int]
    world: NDArray[np.float64]  # (4, 4): from the file's world to that of c2w
    near: float  # nothing is nearer to a camera than this
    distorted: list[Lens] | None = None  # the lenses of the files, where `pinholes.as_pinholes` has others


def read_views(folder: Path, capture: Capture | None = None, size: int | None = None) -> Views:
    """Return all pictures and cameras of a NeRF-synthetic or nerfstudio scene. Raises `InputError`.

    Pictures of a `capture` come from a folder of smaller ones (`images_2`) if there is one, else they are
    shrunk; without a `downscale`, to the smallest of 1/8, 1/4 and 1/2 that still has `size`^2 pixels.
    """
    cameras = read_transforms(folder, capture)
    factor = _factor(cameras.lenses[0], capture, size)
    width, height = _size(folder, cameras, factor)

    def file(name: str) -> Path:
        small = _smaller(folder, name, factor)
        path, wanted = (folder / name, _full(cameras)) if small is None else (small, (width, height))
        _check_size(path, image_size(path), wanted)
        return path

    images = np.empty((len(cameras.names), height, width, 4), np.uint8)
    for index, name in enumerate(cameras.names):
        images[index] = read_rgba(file(name), (width, height))
    keep = None
    if cameras.masks:
        keep = np.stack([read_mask(file(name), (width, height)) for name in cameras.masks])
    return Views(
        images=images,
        keep=keep,
        c2w=cameras.c2w,
        lenses=[lens.resized(width, height) for lens in cameras.lenses],
        names=cameras.names,
        train=cameras.train,
        test=cameras.test,
        world=cameras.world,
        near=capture.near if capture else 0.0,
    )


def no_views(size: int) -> Views:
    """Return the views of a scene that comes without any."""
    images, c2w = np.empty((0, size, size, 4), np.uint8), np.empty((0, 4, 4), np.float32)
    nothing: dict[str, list[Any]] = {name: [] for name in ("lenses", "names", "train", "test")}
    return Views(images=images, keep=None, c2w=c2w, world=np.eye(4), near=0.0, **nothing)


def check_views(folder: Path, capture: Capture | None = None) -> None:
    """Raise the `InputError` that `read_views` would, without decoding and keeping the pictures."""
    cameras = read_transforms(folder, capture)
    masks = cameras.masks or []
    for name in tqdm(
        (*cameras.names, *masks), folder.name, unit="picture", delay=2, disable=None, leave=False
    ):
        _check_size(folder / name, check_image(folder / name), _full(cameras))
    for name in masks:
        read_mask(folder / name, _full(cameras))


def front_view(folder: Path, capture: Capture | None = None) -> Path:
    """Return the picture that stands for a scene: its first test frame. Raises `InputError`."""
    cameras = read_transforms(folder, capture)
    return folder / cameras.names[cameras.test[0]]


def _factor(lens: Lens, capture: Capture | None, size: int | None) -> int:
    if capture is None or (capture.downscale is None and size is None):
        return 1
    fits = (factor for factor in SHRINK if size and lens.width * lens.height >= (factor * size) ** 2)
    return capture.downscale or next(fits, 1)


def _size(folder: Path, cameras: Transforms, factor: int) -> tuple[int, int]:
    """Return the (width, height) to read pictures at, that of smaller ones if there are any: rounding
    differs.
    """
    full = _full(cameras)
    small = _smaller(folder, cameras.names[0], factor)
    if small is None:
        return full[0] // factor, full[1] // factor
    size = image_size(small)
    if any(abs(side - whole / factor) >= 1 for side, whole in zip(size, full, strict=True)):
        _check_size(small, size, (full[0] // factor, full[1] // factor))
    return size


def _smaller(folder: Path, name: str, factor: int) -> Path | None:
    """Return images_2/a.jpg for images/a.jpg if that folder exists. Raises `InputError` if it leaves the
    scene.
    """
    full = PurePosixPath(name)
    if factor == 1 or not full.parent.name:
        return None
    below = full.parent.with_name(f"{full.parent.name}_{factor}") / full.name
    path = inside(folder, below.as_posix(), folder)
    return path if path.parent.is_dir() else None


def _full(cameras: Transforms) -> tuple[int, int]:
    return cameras.lenses[0].width, cameras.lenses[0].height


def _check_size(path: Path, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    if size != wanted:
        remedy = (
            "all frames must have one size, the w and h in the JSON, and folders like images_2 a part of it"
        )
        camera = f"{wanted[0]}x{wanted[1]} like the scene's camera"
        raise InputError(path, f"{size[0]}x{size[1]} pixels", camera, remedy)
