"""Writing a scene of square pictures in nerfstudio's format, with NeRF-synthetic's angle beside it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.cameras.poses import focal_from_fov

DEPTH_UNIT = 1e-3  # of the depth files, in the scene's units


def square_scene(c2w: NDArray[np.float32], train: int, size: int, fov_deg: float) -> dict[str, Any]:
    """The content of transforms.json for images/0000.png, ... and depth/0000.png, ... seen by `c2w` (n, 4, 4).

    The first `train` are to train on, the others to test on; pictures of `size` pixels a side span `fov_deg`.
    """
    focal = focal_from_fov(fov_deg, size)
    names = [f"images/{i:04d}.png" for i in range(len(c2w))]
    frames = [
        {
            "file_path": name,
            "depth_file_path": name.replace("images", "depth"),
            "transform_matrix": pose.tolist(),
        }
        for name, pose in zip(names, c2w, strict=True)
    ]
    return {
        "w": size,
        "h": size,
        "fl_x": focal,
        "fl_y": focal,
        "cx": size / 2,
        "cy": size / 2,
        "camera_model": "OPENCV",
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0),
        "camera_angle_x": float(np.radians(fov_deg)),
        "depth_unit_scale_factor": DEPTH_UNIT,
        "train_filenames": names[:train],
        "test_filenames": names[train:],
        "frames": frames,
    }
