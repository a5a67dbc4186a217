"""Cameras in nerfstudio's transforms.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import Lens, pinhole

DEPTH_UNIT = 1e-3  # of 16-bit depth files, in scene units
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def intrinsics(lens: Lens) -> dict[str, Any]:
    """Return a lens under nerfstudio's keys, for the top level of the file or for a frame."""
    return {
        "camera_model": "OPENCV_FISHEYE" if lens.fisheye else "OPENCV",
        "w": lens.width,
        "h": lens.height,
        "fl_x": lens.fx,
        "fl_y": lens.fy,
        "cx": lens.cx,
        "cy": lens.cy,
        **{key: getattr(lens, key) for key in DISTORTION},
    }


def split(names: Sequence[str], train: int) -> dict[str, list[str]]:
    """Return the keys that make the first `train` pictures training frames and the others test frames."""
    return {"train_filenames": list(names[:train]), "test_filenames": list(names[train:])}


def square_scene(c2w: NDArray[np.float32], train: int, size: int, fov_deg: float) -> dict[str, Any]:
    """Return transforms.json of square images/0000.png, ... and depth/0000.png, ... with poses `c2w` (n, 4,
    4).

    The first `train` are for training; `size` pixels span `fov_deg`. NeRF-synthetic's `camera_angle_x` is
    there too.
    """
    names = [f"images/{i:04d}.png" for i in range(len(c2w))]
    return {
        **intrinsics(pinhole(fov_deg, size)),
        "camera_angle_x": float(np.radians(fov_deg)),
        "depth_unit_scale_factor": DEPTH_UNIT,
        **split(names, train),
        "frames": [
            {
                "file_path": name,
                "depth_file_path": name.replace("images", "depth"),
                "transform_matrix": pose.tolist(),
            }
            for name, pose in zip(names, c2w, strict=True)
        ],
    }
