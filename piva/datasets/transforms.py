"""Cameras of a captured or rendered scene, from NeRF-synthetic's or nerfstudio's JSON; no picture is decoded
here.

`c2w` is camera-to-world with OpenGL axes, as both formats store it; lengths are in pixels, pixel centres at
half-integers.
"""

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import Lens, is_not_invertible
from piva.cameras.nerfstudio import DISTORTION
from piva.cameras.poses import orient_and_center, transform_poses
from piva.datasets.edit import Capture
from piva.errors import InputError
from piva.files import as_kind, as_number, get, inside, read_json
from piva.images import image_size

EVERY = 10  # every tenth frame by name of a NeRF-synthetic scene without a split is held out
FRACTION = 0.9  # of a nerfstudio scene's frames are for training, as its parser has it
EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
RIGID = 1e-2  # how far R R^T may be from 1: phones write poses with few digits
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")
FISHEYE = "OPENCV_FISHEYE"
OTHER_LENSES = (  # keys of instant-ngp's and nerfstudio's that change what a picture shows
    *(f"ftheta_p{i}" for i in range(5)),
    *("latlong", "equirectangular", "rolling_shutter", "fisheye_crop_radius"),
)
UNDISTORT = "undistort the pictures to a pinhole first (for example with colmap image_undistorter)"


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """A scene's cameras."""

    names: list[str]  # image files relative to the scene's folder
    masks: list[str] | None  # likewise, of pictures that are black where a frame is to be ignored
    c2w: NDArray[np.float32]  # (n, 4, 4)
    lenses: list[Lens]  # one a frame, all of one size
    train: list[int]  # indices into names
    test: list[int]
    world: NDArray[np.float64]  # (4, 4): from the file's world to that of c2w


def read_transforms(folder: Path, capture: Capture | None = None) -> Transforms:
    """Read `transforms.json`, or else `transforms_train.json` and `transforms_test.json`. Raises
    `InputError`.

    With `capture` the world is oriented, centred and scaled as it says.
    """
    for name, read in (("transforms.json", _nerfstudio), ("transforms_train.json", _synthetic)):
        if (folder / name).is_file():
            return read(folder, folder / name, capture)
    found = "neither" if folder.is_dir() else "no such folder"
    wanted = "a scene folder with transforms.json or transforms_train.json"
    raise InputError(folder, found, wanted, "check the path")


def _nerfstudio(folder: Path, path: Path, capture: Capture | None) -> Transforms:
    data = read_json(path)
    names, c2w = _frames(folder, path, data)
    keys = ("train_filenames", "test_filenames", "val_filenames")
    train, test, val = (_listed(data, key, names, path) for key in keys)
    if not (train or test or val):
        order = sorted(range(len(names)), key=names.__getitem__)
        count = min(math.ceil(len(names) * FRACTION), len(names) - 1)
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
        for key in ("camera_angle_x", "camera_angle_y"):
            if (angle := more.get(key)) != data.get(key):
                raise InputError(f"{other}: {key}", repr(angle), f"that of {path.name}")
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
    """Return what both formats have in common. An empty side of the split is the complement of the other."""
    lenses = read_lenses(path, data, image_size(folder / names[0]))
    train = split[0] or sorted(set(range(len(names))) - set(split[1]))
    test = split[1] or sorted(set(range(len(names))) - set(train))
    if not train or not test:
        raise InputError(path, f"{len(train)} training and {len(test)} test frames", "at least one of each")
    world = np.eye(4)
    if capture:
        orientation = capture.orientation or data.get("orientation_override", "up")
        if orientation not in ("up", "none"):
            where, remedy = f"{path}: orientation_override", "set dataset.orientation to one of them"
            raise InputError(where, repr(orientation), "up or none", remedy)
        world = orient_and_center(c2w, path, orientation, capture.centre, capture.scale)
        c2w = transform_poses(world, c2w)
    return Transforms(
        names=names,
        masks=_masks(folder, path, data),
        c2w=c2w.astype(np.float32),
        lenses=lenses,
        train=train,
        test=test,
        world=world,
    )


def _frames(folder: Path, path: Path, data: dict[str, Any]) -> tuple[list[str], NDArray[np.float64]]:
    """Return file names with their extension, and (n, 4, 4) poses."""
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
    """Return the names of the frames' masks. Either every frame has a mask_path or none has."""
    with_mask = ["mask_path" in frame for frame in data["frames"]]
    if not any(with_mask):
        return None
    if not all(with_mask):
        where, wanted = (
            f"{path}: frames[{with_mask.index(False)}]: mask_path",
            "a mask for every frame, as for others",
        )
        raise InputError(where, "nothing", wanted, "add it, or drop all masks")
    wheres = [f"{path}: frames[{index}].mask_path" for index in range(len(with_mask))]
    return [
        _image_name(folder, as_kind(frame["mask_path"], str, where), where)
        for frame, where in zip(data["frames"], wheres, strict=True)
    ]


def _image_name(folder: Path, name: str, where: str) -> str:
    """Return the file's name: NeRF-synthetic omits the extension, and converted captures may keep the old
    one.
    """
    clean = PurePosixPath(name)  # without a leading ./
    added = (f"{clean}{end}" for end in EXTENSIONS[:2])
    for candidate in (*added, *(f"{clean.with_suffix(end)}" for end in EXTENSIONS[1:])):
        if inside(folder, candidate, where).is_file():
            return candidate
    found, remedy = f"no image {folder / clean}", "restore it or drop the frame"
    raise InputError(where, found, "every frame's image", remedy)


def read_pose(matrix: list[Any], where: str) -> NDArray[np.float64]:
    """Return a camera-to-world matrix (4, 4) from JSON's rows. Raises `InputError` if it is not rigid."""
    try:
        pose = np.array(matrix, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(where, "ragged or non-numeric rows", "a 4x4 matrix of numbers") from None
    if pose.shape != (4, 4):
        raise InputError(where, f"shape {'x'.join(map(str, pose.shape))}", "a 4x4 camera-to-world matrix")
    if not np.isfinite(pose).all():
        raise InputError(where, "a value that is not finite", "a 4x4 matrix of finite numbers")
    axes = pose[:3, :3]
    rigid = np.abs(axes @ axes.T - np.eye(3)).max() <= RIGID and np.linalg.det(axes) >= 0
    if not rigid or np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        wanted = "a rotation and a position (OpenGL axes) over a row 0 0 0 1"
        raise InputError(where, "a matrix that scales, shears or mirrors", wanted)
    return pose


def _listed(data: dict[str, Any], key: str, names: list[str], path: Path) -> list[int]:
    """Return the indices of the frames that a split names, by `file_path` or by the picture found for it."""
    declared = (PurePosixPath(frame["file_path"]).as_posix() for frame in data["frames"])
    index = {name: i for i, name in enumerate(declared)} | {name: i for i, name in enumerate(names)}
    found = []
    for name in get(data, key, list, path) if key in data else []:
        clean = PurePosixPath(as_kind(name, str, f"{path}: {key}")).as_posix()
        if clean not in index:
            raise InputError(f"{path}: {key}", repr(name), "the file_path of a frame")
        found.append(index[clean])
    return found


def read_lenses(path: Path, data: dict[str, Any], size: tuple[int, int]) -> list[Lens]:
    """Return a lens for each of `data`'s frames, from keys at the top level or else in the frame.

    `size` is the first picture's (width, height), if the file does not say. Raises `InputError` for a value
    that is missing or of the wrong kind or range, an unknown camera model, frames of different sizes, and
    distortion that folds the picture.
    """
    lenses: list[Lens] = []
    for index, frame in enumerate(data["frames"]):
        lens, where = _lens(path, data, frame, f"frames[{index}]", size), f"{path}: frames[{index}]"
        if lens not in lenses[-1:] and is_not_invertible(lens):
            values = ", ".join(f"{key} {getattr(lens, key):g}" for key in DISTORTION)
            found = f"lens distortion {values} that folds the picture"
            raise InputError(where, found, "coefficients of this lens", UNDISTORT)
        if lenses and (lens.width, lens.height) != (lenses[0].width, lenses[0].height):
            wanted = f"{lenses[0].width}x{lenses[0].height} like frames[0]"
            found, remedy = f"{lens.width}x{lens.height} pixels", "all frames must have one size"
            raise InputError(f"{where}: w, h", found, wanted, remedy)
        lenses.append(lens)
    return lenses


def _lens(path: Path, data: dict[str, Any], frame: dict[str, Any], name: str, size: tuple[int, int]) -> Lens:
    def number(key: str, default: float | None) -> float:
        holder, where = (data, f"{path}: {key}") if key in data else (frame, f"{path}: {name}.{key}")
        if key in holder:
            return as_number(holder[key], where)
        if default is None:
            wanted = "a focal length in pixels (or camera_angle_x)"
            raise InputError(f"{path}: {key}", "nothing", wanted, "add this key")
        return default

    def positive(key: str, default: float | None) -> float:
        value = number(key, default)
        if value <= 0:
            where = f"{path}: {key if key in data else f'{name}.{key}'}"
            raise InputError(where, f"{value:g}", "a positive number")
        return value

    fisheye = _is_fisheye(path, data, frame)
    width, height = (int(positive(key, side)) for key, side in zip("wh", size, strict=True))
    angle_x, angle_y = (_from_angle(path, {**frame, **data}, *side) for side in (("x", width), ("y", height)))
    fx = positive("fl_x", angle_x)
    fy, cx, cy = positive("fl_y", angle_y or fx), number("cx", width / 2), number("cy", height / 2)
    distortion = {key: number(key, 0.0) for key in DISTORTION} | _listed_distortion(path, data, frame)
    if fisheye:
        distortion |= {"p1": 0.0, "p2": 0.0}  # OpenCV's fisheye has none; nerfstudio ignores them too
    return Lens(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy, fisheye=fisheye, **distortion)


def _is_fisheye(path: Path, data: dict[str, Any], frame: dict[str, Any]) -> bool:
    """Return whether a lens is OpenCV's fisheye, by nerfstudio's key or instant-ngp's.

    Raises `InputError` for other lenses, and where the two keys differ.
    """
    both = {**frame, **data}
    for key in OTHER_LENSES:
        if np.any(both.get(key)):
            raise InputError(
                f"{path}: {key}", repr(both[key])[:60], "a perspective or fisheye lens", UNDISTORT
            )
    flag = both.get("is_fisheye", False)
    model = both.get("camera_model", FISHEYE if flag is True else "PERSPECTIVE")
    if model != FISHEYE and model not in PERSPECTIVE:
        wanted = f"one of {', '.join((*PERSPECTIVE, FISHEYE))}"
        raise InputError(f"{path}: camera_model", repr(model), wanted, UNDISTORT)
    if not isinstance(flag, bool) or (flag and model != FISHEYE):
        raise InputError(f"{path}: is_fisheye", repr(flag), f"what camera_model ({model}) says")
    return bool(model == FISHEYE)


def _listed_distortion(path: Path, data: dict[str, Any], frame: dict[str, Any]) -> dict[str, float]:
    """Return nerfstudio's `distortion_params`, which it has before single keys: k1, k2, k3, k4, p1, p2."""
    key = "distortion_params"
    given = data.get(key, frame.get(key))
    if given is None:
        return {}
    where = f"{path}: {key}"
    if len(as_kind(given, list, where)) != len(DISTORTION):
        raise InputError(where, f"{len(given)} numbers", "six: " + ", ".join(DISTORTION), UNDISTORT)
    return {name: as_number(value, where) for name, value in zip(DISTORTION, given, strict=True)}


def _from_angle(path: Path, data: dict[str, Any], axis: str, side: int) -> float | None:
    """Return the focal length of NeRF-synthetic's field of view across `side` pixels, if it is given."""
    key = f"camera_angle_{axis}"
    if key not in data:
        return None
    angle = as_number(data[key], f"{path}: {key}")
    if not 0 < angle < math.pi:
        raise InputError(f"{path}: {key}", str(angle), "a field of view in (0, pi) radians")
    return 0.5 * side / math.tan(angle / 2)
