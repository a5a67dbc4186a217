"""Trajectories: the cameras from which an edit is measured and filmed, in order."""

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import Lens, pinhole
from piva.cameras.poses import ring

Camera = tuple[NDArray[np.float32], Lens]  # c2w (4, 4), OpenGL axes
Trajectory = list[Camera]


def turntable(views: int, size: int, elevation_deg: float, fov_deg: float, distance: float) -> Trajectory:
    """Return square views of `size` pixels a side on a ring around the origin."""
    lens = pinhole(fov_deg, size)
    return [(c2w, lens) for c2w in ring(views, elevation_deg, distance)]


def through(c2w: NDArray[np.float32], lens: Lens, count: int, longest: int) -> Trajectory:
    """Return `count` views along the poses (n, 4, 4), one if n = 1, `longest` pixels on the longer side."""
    width, height = (
        even(side * longest / max(lens.width, lens.height)) for side in (lens.width, lens.height)
    )
    lens = lens.resized(width, height)
    return [(pose, lens) for pose in interpolate_poses(c2w, count if len(c2w) > 1 else 1)]


def interpolate_poses(c2w: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return (count, 4, 4): poses at equal steps along a path from the first of `c2w` (n, 4, 4) through all
    of them.

    Positions are linear between two of them; axes are the rotation nearest to the mean of both (by SVD).
    """
    at = np.linspace(0, len(c2w) - 1, count)
    before = np.floor(at).astype(int)
    after, part = np.minimum(before + 1, len(c2w) - 1), (at - before)[:, None, None]
    path = (1 - part) * c2w[before].astype(np.float64) + part * c2w[after]
    u, _, v = np.linalg.svd(path[:, :3, :3])
    path[:, :3, :3] = u @ v
    return np.asarray(path, np.float32)


def even(side: float) -> int:
    """Return the nearest even number of pixels: video codecs need even sides."""
    return max(2, round(side / 2) * 2)
