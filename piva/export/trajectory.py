"""The trajectory of a film: a ring, a captured scene's own test cameras, or a file in nerfstudio's
camera_path format. No torch.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from piva.cameras.lens import pinhole
from piva.cameras.trajectories import Camera, Trajectory, even, through, turntable
from piva.datasets.transforms import read_pose, read_transforms
from piva.errors import InputError
from piva.export.edits import EditedScene
from piva.export.settings import ExportSettings
from piva.files import as_kind, as_number, get, read_json, user_path
from piva.nerf.splats.settings import SplatFit
from piva.runs.stored import stored_settings

SIZE, FPS = 512, 24  # where neither the settings nor a file give another
LARGEST = 8192  # pixels on a side


class Film(NamedTuple):
    """A trajectory whose views have one size, and its frames per second."""

    trajectory: Trajectory
    fps: int


def film(finished: EditedScene, settings: ExportSettings) -> Film:
    """Return the film along the trajectory `settings.path` through this edit's scene. Raises `InputError`."""
    path, fps = settings.path or ("frames" if finished.captured else "ring"), settings.fps or FPS
    if path == "ring":
        ring, size = settings.ring, even(settings.size or SIZE)
        return Film(turntable(ring.views, size, ring.elevation_deg, ring.fov_deg, ring.distance), fps)
    if path == "frames":
        return Film(_frames(finished, settings), fps)
    return read_camera_path(user_path(path, "path"), settings.size, settings.fps)


def _frames(finished: EditedScene, settings: ExportSettings) -> Trajectory:
    """Return a trajectory through the test frames of the scene, with as many views as the ring has."""
    try:
        dataset = stored_settings(finished.dataset, "dataset", finished.folder)
        edit = next(edit for edit in dataset.read() if edit.id == finished.id)
    except (InputError, StopIteration) as error:
        wanted, remedy = f"that of {finished.id} where the run found it", "give path=FILE, or path=ring"
        raise InputError("path=frames", f"no dataset ({error})", wanted, remedy) from None
    if edit.scene is None:
        raise InputError("path=frames", "a dataset of pictures", "one with scenes", "give path=ring")
    cameras = read_transforms(edit.scene, edit.capture)
    lens = cameras.lenses[cameras.test[0]]
    lens = lens.as_pinhole() if isinstance(finished.field, SplatFit) else lens
    return through(cameras.c2w[cameras.test], lens, settings.ring.views, settings.size or SIZE)


def read_camera_path(path: Path, size: int | None = None, fps: int | None = None) -> Film:
    """Return a camera path as nerfstudio's viewer writes it, in the world of the field. Raises `InputError`.

    Each camera has `camera_to_world` (16 numbers, row by row, OpenGL axes) and `fov`, vertical, in degrees.
    The proportions are those of `render_width` and `render_height`, else of the first camera's `aspect`, else
    square.
    """
    data = read_json(path)
    entries = get(data, "camera_path", list, path)
    if not entries:
        raise InputError(f"{path}: camera_path", "an empty list", "at least one camera")
    frames = [as_kind(entry, dict, f"{path}: camera_path[{i}]") for i, entry in enumerate(entries)]
    if (kind := data.get("camera_type", "perspective")) != "perspective":
        remedy = "render other views with nerfstudio"
        raise InputError(f"{path}: camera_type", repr(kind), "perspective", remedy)
    width, height = _size(data, frames[0], path)
    if size:
        width, height = width * size / max(width, height), height * size / max(width, height)
    trajectory = [
        _camera(frame, f"{path}: camera_path[{i}]", even(width), even(height))
        for i, frame in enumerate(frames)
    ]
    written = _number(data, "fps", path, 1, 120) if fps is None and "fps" in data else FPS
    return Film(trajectory, fps or round(written))


def _size(data: dict[str, Any], first: dict[str, Any], path: Path) -> tuple[float, float]:
    if "render_width" in data or "render_height" in data:
        width, height = (_number(data, f"render_{side}", path, 16, LARGEST) for side in ("width", "height"))
        return width, height
    aspect = _number(first, "aspect", f"{path}: camera_path[0]", 0.02, 50) if "aspect" in first else 1.0
    return (SIZE, SIZE / aspect) if aspect > 1 else (SIZE * aspect, SIZE)


def _camera(frame: dict[str, Any], where: str, width: int, height: int) -> Camera:
    numbers = get(frame, "camera_to_world", list, where)
    rows = [numbers[i : i + 4] for i in range(0, 16, 4)] if len(numbers) == 16 else numbers
    c2w = read_pose(rows, f"{where}.camera_to_world").astype(np.float32)
    return c2w, pinhole(_number(frame, "fov", where, 0.1, 179), height, width)


def _number(data: dict[str, Any], key: str, where: object, low: float, high: float) -> float:
    value = as_number(data.get(key), f"{where}: {key}")
    if not low <= value <= high:
        raise InputError(f"{where}: {key}", f"{value:g}", f"a number from {low:g} to {high:g}")
    return value
