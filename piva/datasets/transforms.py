"""Cameras of a captured or rendered scene, from NeRF-synthetic's or nerfstudio's JSON; no picture is decoded here.

`c2w` is camera-to-world with OpenGL axes, as both formats store it; lengths in pixels, pixel centres at half-integers.
"""

from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import Lens
from piva.cameras.orientation import moved, upright
from piva.datasets.edit import Capture
from piva.datasets.lenses import read_lenses
from piva.errors import InputError
from piva.files import as_kind, get, inside, read_json
from piva.images import image_size

EVERY = 10  # without a split in its files, every tenth frame of a NeRF-synthetic scene is held out, in the order of the names
FRACTION = 0.9  # of a nerfstudio scene's frames are for training, as its parser has it
EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
RIGID = 1e-2  # how far R R^T may be from 1: phones write poses with few digits


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """A scene's cameras."""

    names: list[str]  # image files relative to the scene's folder
    masks: list[str] | None  # likewise, of pictures that are black where a frame is not to be looked at
    c2w: NDArray[np.float32]  # (n, 4, 4)
    lenses: list[Lens]  # one a frame, all of one size
    train: list[int]  # indices into names
    test: list[int]
    world: NDArray[np.float64]  # (4, 4): from the file's world to that of c2w


def read_transforms(folder: Path, capture: Capture | None = None) -> Transforms:
    """Read `transforms.json`, or else `transforms_train.json` and `transforms_test.json`; raises `InputError`.

    With `capture` the world is turned, moved and scaled as it says; without, it is left as it is.
    """
    for path, read in (
        (folder / "transforms.json", _nerfstudio),
        (folder / "transforms_train.json", _synthetic),
    ):
        if path.is_file():
            return read(folder, path, capture)
    found = "neither" if folder.is_dir() else "no such folder"
    raise InputError(
        folder, found, "a scene folder with transforms.json or transforms_train.json", "check the path"
    )


def _nerfstudio(folder: Path, path: Path, capture: Capture | None) -> Transforms:
    data = read_json(path)
    names, c2w = _frames(folder, path, data)
    keys = ("train_filenames", "test_filenames", "val_filenames")
    train, test, val = (_listed(data, key, names, path) for key in keys)
    if not (train or test or val):
        order = sorted(range(len(names)), key=names.__getitem__)
        count = min(ceil(len(names) * FRACTION), len(names) - 1)
        train = [order[i] for i in np.linspace(0, len(names) - 1, count, dtype=int)]
        test = [i for i in order if i not in train]
    return _scene(folder, path, data, names, c2w, (train, test or val), capture)


def _synthetic(folder: Path, path: Path, capture: Capture | None) -> Transforms:
    data = read_json(path)
    names, c2w = _frames(folder, path, data)
    test = sorted(sorted(range(len(names)), key=names.__getitem__)[::EVERY])
    other = folder / "transforms_test.json"
    if other.is_file():
        more = read_json(other)
        if more.get("camera_angle_x") != data.get("camera_angle_x"):
            raise InputError(
                f"{other}: camera_angle_x", repr(more.get("camera_angle_x")), f"that of {path.name}"
            )
        test_names, test_c2w = _frames(folder, other, more)
        test = list(range(len(names), len(names) + len(test_names)))
        names, c2w = names + test_names, np.concatenate([c2w, test_c2w])
        data = {**data, "frames": data["frames"] + more["frames"]}
    return _scene(folder, path, data, names, c2w, ([], test), capture)


def _scene(
    folder: Path,
    path: Path,
    data: dict[str, Any],
    names: list[str],
    c2w: NDArray[np.float64],
    split: tuple[list[int], list[int]],
    capture: Capture | None,
) -> Transforms:
    """The two formats from here on alike. A side of the split that is empty is the complement of the other."""
    lenses = read_lenses(path, data, image_size(folder / names[0]))
    train = split[0] or sorted(set(range(len(names))) - set(split[1]))
    test = split[1] or sorted(set(range(len(names))) - set(train))
    if not train or not test:
        raise InputError(path, f"{len(train)} training and {len(test)} test frames", "at least one of each")
    world = np.eye(4)
    if capture:
        orientation = capture.orientation or data.get("orientation_override", "up")
        if orientation not in ("up", "none"):
            wanted = "up or none"
            raise InputError(
                f"{path}: orientation_override",
                repr(orientation),
                wanted,
                "set dataset.orientation to one of them",
            )
        world = upright(c2w, path, orientation, capture.centre, capture.scale)
        c2w = moved(world, c2w)
    masks = _masks(folder, path, data)
    return Transforms(
        names=names,
        masks=masks,
        c2w=c2w.astype(np.float32),
        lenses=lenses,
        train=train,
        test=test,
        world=world,
    )


def _frames(folder: Path, path: Path, data: dict[str, Any]) -> tuple[list[str], NDArray[np.float64]]:
    """File names with their extension, and (n, 4, 4) poses."""
    frames = get(data, "frames", list, path)
    if not frames:
        raise InputError(f"{path}: frames", "an empty list", "one entry for each picture")
    names, poses = [], []
    for index, entry in enumerate(frames):
        where = f"{path}: frames[{index}]"
        frame = as_kind(entry, dict, where)
        names.append(_image_name(folder, get(frame, "file_path", str, where), f"{where}.file_path"))
        poses.append(read_pose(get(frame, "transform_matrix", list, where), f"{where}.transform_matrix"))
    return names, np.stack(poses)


def _masks(folder: Path, path: Path, data: dict[str, Any]) -> list[str] | None:
    """Either every frame has a mask_path or none has."""
    with_mask = ["mask_path" in frame for frame in data["frames"]]
    if not any(with_mask):
        return None
    if not all(with_mask):
        where = f"{path}: frames[{with_mask.index(False)}]: mask_path"
        raise InputError(
            where, "nothing", "a mask for every frame, as for others", "add it, or drop all masks"
        )
    masks = []
    for index, frame in enumerate(data["frames"]):
        where = f"{path}: frames[{index}].mask_path"
        masks.append(_image_name(folder, as_kind(frame["mask_path"], str, where), where))
    return masks


def _image_name(folder: Path, name: str, where: str) -> str:
    """NeRF-synthetic leaves the extension out; captures converted to another format may keep the old one."""
    clean = PurePosixPath(name)  # without a leading ./
    for candidate in (
        *(f"{clean}{end}" for end in EXTENSIONS[:2]),
        *(f"{clean.with_suffix(end)}" for end in EXTENSIONS[1:]),
    ):
        if inside(folder, candidate, where).is_file():
            return candidate
    raise InputError(
        where, f"no image {folder / clean}", "every frame's image", "restore it or drop the frame"
    )


def read_pose(matrix: list[Any], where: str) -> NDArray[np.float64]:
    """A camera-to-world matrix (4, 4) of rows that JSON holds, a rotation and a position. Raises `InputError`."""
    try:
        pose = np.array(matrix, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(where, "ragged or non-numeric rows", "a 4x4 matrix of numbers") from None
    if pose.shape != (4, 4):
        raise InputError(where, f"shape {'x'.join(map(str, pose.shape))}", "a 4x4 camera-to-world matrix")
    if not np.isfinite(pose).all():
        raise InputError(where, "a value that is not finite", "a 4x4 matrix of finite numbers")
    axes = pose[:3, :3]
    if (
        np.abs(axes @ axes.T - np.eye(3)).max() > RIGID
        or np.linalg.det(axes) < 0
        or np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6
    ):
        found = "a matrix that scales, shears or mirrors"
        raise InputError(where, found, "a rotation and a position (OpenGL axes) over a row 0 0 0 1")
    return pose


def _listed(data: dict[str, Any], key: str, names: list[str], path: Path) -> list[int]:
    """Indices of the frames that a split names, by their `file_path` or by the picture that was found for it."""
    declared = (PurePosixPath(frame["file_path"]).as_posix() for frame in data["frames"])
    index = {name: i for i, name in enumerate(declared)} | {name: i for i, name in enumerate(names)}
    found = []
    for name in get(data, key, list, path) if key in data else []:
        clean = PurePosixPath(as_kind(name, str, f"{path}: {key}")).as_posix()
        if clean not in index:
            raise InputError(f"{path}: {key}", repr(name), "the file_path of a frame")
        found.append(index[clean])
    return found
