"""The cameras of a film: a ring, a captured scene's own, or a file in nerfstudio's camera_path format. No torch."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.utils import get_class
from numpy.typing import NDArray

from piva.cameras.lens import Lens, focal_from_fov, pinhole_from_focal
from piva.cameras.poses import ring
from piva.cameras.trajectories import interpolate_poses
from piva.config import build
from piva.datasets.transforms import read_pose, read_transforms
from piva.errors import InputError
from piva.export.edits import EditedScene
from piva.export.settings import ExportSettings
from piva.files import as_kind, as_number, get, read_json

SIZE, FPS = 512, 24  # where neither the settings nor a file say another
LARGEST = 8192  # pixels on a side

Camera = tuple[NDArray[np.float32], Lens]  # c2w (4, 4), OpenGL axes, and what it looks through


class Film(NamedTuple):
    """Cameras in the order of a film, all of one size, and frames a second."""

    cameras: list[Camera]
    fps: int


def film(finished: EditedScene, settings: ExportSettings) -> Film:
    """The path that `settings.path` names, through this edit's scene. Raises `InputError`."""
    path = settings.path or ("frames" if finished.captured else "ring")
    if path == "ring":
        return Film(_ring(settings), settings.fps or FPS)
    if path == "frames":
        return Film(_frames(finished, settings), settings.fps or FPS)
    return read_camera_path(Path(path).expanduser(), settings.size, settings.fps)


def _ring(settings: ExportSettings) -> list[Camera]:
    about, size = settings.ring, _even(settings.size or SIZE)
    lens = pinhole_from_focal(size, size, focal_from_fov(about.fov_deg, size))
    return [(c2w, lens) for c2w in ring(about.views, about.elevation_deg, about.distance)]


def _frames(finished: EditedScene, settings: ExportSettings) -> list[Camera]:
    """A walk through the test frames of the scene, in as many steps as the ring has."""
    try:
        edits = build(get_class(finished.dataset["_target_"]), finished.dataset, "dataset").read()
        edit = next(edit for edit in edits if edit.id == finished.id)
    except (InputError, StopIteration) as error:
        remedy = "give path=FILE, or path=ring"
        raise InputError(
            "path=frames", f"no dataset ({error})", f"that of {finished.id} where the run found it", remedy
        ) from None
    assert edit.scene is not None
    cameras = read_transforms(edit.scene, edit.capture)
    lens = _sized(cameras.lenses[cameras.test[0]], settings.size or SIZE)
    count = settings.ring.views if len(cameras.test) > 1 else 1
    return [(c2w, lens) for c2w in interpolate_poses(cameras.c2w[cameras.test], count)]


def read_camera_path(path: Path, size: int | None = None, fps: int | None = None) -> Film:
    """A camera path as nerfstudio's viewer writes it, in the world of the field; raises `InputError`.

    Each camera has `camera_to_world` (16 numbers, row by row, OpenGL axes) and `fov`, vertical, in degrees. The proportions are
    those of `render_width` and `render_height`, else of the first camera's `aspect`, else square.
    """
    data = read_json(path)
    entries = get(data, "camera_path", list, path)
    if not entries:
        raise InputError(f"{path}: camera_path", "an empty list", "at least one camera")
    frames = [as_kind(entry, dict, f"{path}: camera_path[{i}]") for i, entry in enumerate(entries)]
    if data.get("camera_type", "perspective") != "perspective":
        raise InputError(
            f"{path}: camera_type",
            repr(data["camera_type"]),
            "perspective",
            "render other views with nerfstudio",
        )
    width, height = _size(data, frames[0], path)
    if size:
        width, height = width * size / max(width, height), height * size / max(width, height)
    cameras = [
        _camera(frame, f"{path}: camera_path[{i}]", _even(width), _even(height))
        for i, frame in enumerate(frames)
    ]
    written = _number(data, "fps", path, 1, 120) if fps is None and "fps" in data else FPS
    return Film(cameras, fps or round(written))


def _size(data: dict[str, Any], first: dict[str, Any], path: Path) -> tuple[float, float]:
    if "render_width" in data or "render_height" in data:
        return _number(data, "render_width", path, 16, LARGEST), _number(
            data, "render_height", path, 16, LARGEST
        )
    aspect = _number(first, "aspect", f"{path}: camera_path[0]", 0.02, 50) if "aspect" in first else 1.0
    return (SIZE, SIZE / aspect) if aspect > 1 else (SIZE * aspect, SIZE)


def _camera(frame: dict[str, Any], where: str, width: int, height: int) -> Camera:
    numbers = get(frame, "camera_to_world", list, where)
    rows = [numbers[i : i + 4] for i in range(0, 16, 4)] if len(numbers) == 16 else numbers
    c2w = read_pose(rows, f"{where}.camera_to_world").astype(np.float32)
    fov = _number(frame, "fov", where, 0.1, 179)
    return c2w, pinhole_from_focal(width, height, focal_from_fov(fov, height))


def _number(data: dict[str, Any], key: str, where: object, low: float, high: float) -> float:
    value = as_number(data.get(key), f"{where}: {key}")
    if not low <= value <= high:
        raise InputError(f"{where}: {key}", f"{value:g}", f"a number from {low:g} to {high:g}")
    return value


def _sized(lens: Lens, longest: int) -> Lens:
    part = longest / max(lens.width, lens.height)
    return lens.resized(_even(lens.width * part), _even(lens.height * part))


def _even(side: float) -> int:
    """Films are made of pairs of lines."""
    return max(2, round(side / 2) * 2)
