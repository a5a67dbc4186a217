"""The lens of each frame, from the intrinsics of a transforms.json: at the top level, or else in each frame."""

import math
from pathlib import Path
from typing import Any

from piva.cameras.lens import Lens, folds
from piva.errors import InputError
from piva.files import as_number

PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")
FISHEYE = "OPENCV_FISHEYE"
BENT = ("k1", "k2", "k3", "k4", "p1", "p2")
UNDISTORT = "undistort the pictures to a pinhole first (for example with colmap image_undistorter)"


def read_lenses(path: Path, data: dict[str, Any], size: tuple[int, int]) -> list[Lens]:
    """One lens for each of `data`'s frames; `size` is the first picture's (width, height), if the file doesn't say.

    Raises:
        InputError: a value that is missing or of the wrong kind or range, an unknown camera model, frames of different sizes,
            distortion that folds the picture.
    """
    lenses: list[Lens] = []
    for index, frame in enumerate(data["frames"]):
        lens = _lens(path, data, frame, f"frames[{index}]", size)
        if lens not in lenses[-1:] and folds(lens):
            found = f"lens distortion {', '.join(f'{key} {getattr(lens, key):g}' for key in BENT)} that folds the picture"
            raise InputError(f"{path}: frames[{index}]", found, "coefficients of this lens", UNDISTORT)
        if lenses and (lens.width, lens.height) != (lenses[0].width, lenses[0].height):
            found, wanted = (
                f"{lens.width}x{lens.height} pixels",
                f"{lenses[0].width}x{lenses[0].height} like frames[0]",
            )
            raise InputError(f"{path}: frames[{index}]: w, h", found, wanted, "all frames must have one size")
        lenses.append(lens)
    return lenses


def _lens(path: Path, data: dict[str, Any], frame: dict[str, Any], name: str, size: tuple[int, int]) -> Lens:
    def number(key: str, default: float | None) -> float:
        holder, where = (data, f"{path}: {key}") if key in data else (frame, f"{path}: {name}.{key}")
        if key in holder:
            return as_number(holder[key], where)
        if default is None:
            raise InputError(
                f"{path}: {key}", "nothing", "a focal length in pixels (or camera_angle_x)", "add this key"
            )
        return default

    def positive(key: str, default: float | None) -> float:
        value = number(key, default)
        if value <= 0:
            raise InputError(
                f"{path}: {key if key in data else f'{name}.{key}'}", f"{value:g}", "a positive number"
            )
        return value

    model = data.get("camera_model", frame.get("camera_model", "PERSPECTIVE"))
    if model != FISHEYE and model not in PERSPECTIVE:
        raise InputError(
            f"{path}: camera_model", repr(model), f"one of {', '.join((*PERSPECTIVE, FISHEYE))}", UNDISTORT
        )
    width, height = (int(positive(key, side)) for key, side in zip("wh", size, strict=True))
    fx = positive("fl_x", _from_angle(path, data, width))
    bent = {key: number(key, 0.0) for key in BENT}
    if model == FISHEYE:
        bent |= {"p1": 0.0, "p2": 0.0}  # OpenCV's fisheye has none; nerfstudio ignores them too
    return Lens(
        width=width,
        height=height,
        fx=fx,
        fy=positive("fl_y", fx),
        cx=positive("cx", width / 2),
        cy=positive("cy", height / 2),
        fisheye=model == FISHEYE,
        **bent,
    )


def _from_angle(path: Path, data: dict[str, Any], width: int) -> float | None:
    """The focal length of NeRF-synthetic's horizontal field of view."""
    if "camera_angle_x" not in data:
        return None
    angle = as_number(data["camera_angle_x"], f"{path}: camera_angle_x")
    if not 0 < angle < math.pi:
        raise InputError(
            f"{path}: camera_angle_x", str(angle), "a horizontal field of view in (0, pi) radians"
        )
    return 0.5 * width / math.tan(angle / 2)
