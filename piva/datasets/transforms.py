"""Cameras of a captured or rendered scene, from NeRF-synthetic's or nerfstudio's JSON; no picture is decoded here.

`c2w` is camera-to-world with OpenGL axes, as both formats store it; lengths in pixels, pixel centres at half-integers.
"""

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.datasets.files import as_kind, as_number, get, inside, read_json
from piva.datasets.images import image_size
from piva.errors import InputError

EVERY = 10  # without a split in the files, every tenth frame in the order of the names is held out (nerfstudio holds out 10 %)
PINHOLES = ("OPENCV", "PERSPECTIVE", "PINHOLE")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """A scene's cameras: one pinhole for all frames."""

    names: list[str]  # image files relative to the scene's folder
    c2w: NDArray[np.float32]  # (n, 4, 4)
    train: list[int]  # indices into names
    test: list[int]
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


def read_transforms(folder: Path) -> Transforms:
    """Read `transforms.json`, or else `transforms_train.json` and `transforms_test.json`; raises `InputError`."""
    if (folder / "transforms.json").is_file():
        return _nerfstudio(folder)
    if (folder / "transforms_train.json").is_file():
        return _synthetic(folder)
    found = "neither" if folder.is_dir() else "no such folder"
    raise InputError(folder, found, "a scene folder with transforms.json or transforms_train.json", "check the path")


def _nerfstudio(folder: Path) -> Transforms:
    path = folder / "transforms.json"
    data = read_json(path)
    names, c2w = _frames(folder, path, data)
    _refuse_lenses(path, data)
    splits = [(key, _listed(data, key, names, path)) for key in ("train_filenames", "test_filenames", "val_filenames")]
    return _with_pinhole(folder, path, data, names, c2w, dict(splits))


def _synthetic(folder: Path) -> Transforms:
    path = folder / "transforms_train.json"
    data = read_json(path)
    names, c2w = _frames(folder, path, data)
    splits: dict[str, list[int]] = {}
    other = folder / "transforms_test.json"
    if other.is_file():
        more = read_json(other)
        if more.get("camera_angle_x") != data.get("camera_angle_x"):
            raise InputError(f"{other}: camera_angle_x", repr(more.get("camera_angle_x")), f"that of {path.name}")
        test_names, test_c2w = _frames(folder, other, more)
        splits = {"test_filenames": list(range(len(names), len(names) + len(test_names)))}
        names, c2w = names + test_names, np.concatenate([c2w, test_c2w])
    return _with_pinhole(folder, path, data, names, c2w, splits)


def _with_pinhole(
    folder: Path, path: Path, data: dict[str, Any], names: list[str], c2w: NDArray[np.float32], splits: dict[str, list[int]]
) -> Transforms:
    width, height = (int(_lens(data, key, path, size)) for key, size in zip("wh", image_size(folder / names[0]), strict=True))
    if "fl_x" not in data and "camera_angle_x" in data:
        angle = as_number(data["camera_angle_x"], f"{path}: camera_angle_x")
        if not 0 < angle < math.pi:
            raise InputError(f"{path}: camera_angle_x", str(angle), "a horizontal field of view in (0, pi) radians")
        data = {**data, "fl_x": 0.5 * width / math.tan(angle / 2)}
    fx = _lens(data, "fl_x", path, None)
    train, test = _split(path, names, splits)
    return Transforms(
        names=names,
        c2w=c2w,
        train=train,
        test=test,
        width=width,
        height=height,
        fx=fx,
        fy=_lens(data, "fl_y", path, fx),
        cx=_lens(data, "cx", path, width / 2),
        cy=_lens(data, "cy", path, height / 2),
    )


def _frames(folder: Path, path: Path, data: dict[str, Any]) -> tuple[list[str], NDArray[np.float32]]:
    """File names with their extension, and (n, 4, 4) poses."""
    frames = get(data, "frames", list, path)
    if not frames:
        raise InputError(f"{path}: frames", "an empty list", "one entry for each picture")
    names, poses = [], []
    for index, entry in enumerate(frames):
        where = f"{path}: frames[{index}]"
        frame = as_kind(entry, dict, where)
        names.append(_image_name(folder, get(frame, "file_path", str, where), f"{where}.file_path"))
        poses.append(_pose(get(frame, "transform_matrix", list, where), f"{where}.transform_matrix"))
    return names, np.stack(poses)


def _image_name(folder: Path, name: str, where: str) -> str:
    """NeRF-synthetic leaves the extension out, nerfstudio does not."""
    clean = PurePosixPath(name).as_posix()  # without a leading ./
    for candidate in (clean, f"{clean}.png"):
        if inside(folder, candidate, where).is_file():
            return candidate
    raise InputError(where, f"no image {folder / clean}", "every frame's image", "restore it or drop the frame")


def _pose(matrix: list[Any], where: str) -> NDArray[np.float32]:
    try:
        pose = np.array(matrix, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise InputError(where, "ragged or non-numeric rows", "a 4x4 matrix of numbers") from None
    if pose.shape != (4, 4):
        raise InputError(where, f"shape {'x'.join(map(str, pose.shape))}", "a 4x4 camera-to-world matrix")
    if not np.isfinite(pose).all():
        raise InputError(where, "a value that is not finite", "a 4x4 matrix of finite numbers")
    return pose


def _lens(data: dict[str, Any], key: str, path: Path, default: float | None) -> float:
    """A positive intrinsic: at the top level, or equal in all frames, as older captures have it."""
    if key in data:
        values = {as_number(data[key], f"{path}: {key}")}
    else:
        values = {as_number(frame[key], f"{path}: frames[{i}].{key}") for i, frame in enumerate(data["frames"]) if key in frame}
    if len(values) > 1:
        raise InputError(f"{path}: {key}", "different values a frame", "one camera for all frames", "undistort to one camera")
    if not values and default is None:
        raise InputError(f"{path}: {key}", "nothing", "a focal length in pixels (or camera_angle_x)", "add this key")
    value = values.pop() if values else float(default or 0)
    if value <= 0:
        raise InputError(f"{path}: {key}", str(value), "a positive number")
    return value


def _refuse_lenses(path: Path, data: dict[str, Any]) -> None:
    for holder in (data, *data["frames"]):
        model = holder.get("camera_model", "OPENCV")
        if model not in PINHOLES:
            raise InputError(f"{path}: camera_model", repr(model), f"one of {', '.join(PINHOLES)}", _UNDISTORT)
        for key in DISTORTION:
            if as_number(holder.get(key, 0), f"{path}: {key}") != 0:
                raise InputError(f"{path}: {key}", f"lens distortion {holder[key]}", "0", _UNDISTORT)


_UNDISTORT = "not supported yet: undistort the images first (for example colmap image_undistorter)"


def _listed(data: dict[str, Any], key: str, names: list[str], path: Path) -> list[int]:
    """Indices of the frames that a split names; the split may leave out the extension as `file_path` may."""
    index = {name: i for i, name in enumerate(names)}
    found = []
    for name in get(data, key, list, path) if key in data else []:
        clean = PurePosixPath(as_kind(name, str, f"{path}: {key}")).as_posix()
        if clean not in index and f"{clean}.png" not in index:
            raise InputError(f"{path}: {key}", repr(name), "the file_path of a frame")
        found.append(index.get(clean, index.get(f"{clean}.png", 0)))
    return found


def _split(path: Path, names: list[str], splits: dict[str, list[int]]) -> tuple[list[int], list[int]]:
    """Train and test indices. A side that the files leave open is the complement of the other."""
    every = range(len(names))
    train = splits.get("train_filenames", [])
    test = splits.get("test_filenames", []) or splits.get("val_filenames", [])
    if not train and not test:
        test = sorted(sorted(every, key=names.__getitem__)[::EVERY])
    train = train or sorted(set(every) - set(test))
    test = test or sorted(set(every) - set(train))
    if not train or not test:
        raise InputError(path, f"{len(train)} training and {len(test)} test frames", "at least one of each")
    return train, test
