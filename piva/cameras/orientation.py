"""Where a captured scene lies: COLMAP and phones leave a world's origin, directions and scale to chance, so it gets new ones.

As nerfstudio's parser does by default (`auto_orient_and_center_poses`, orientation "up", centre "poses"; Tancik et al. 2023): the
mean of the cameras' up directions becomes +z, the mean of their positions the origin, the largest coordinate of a position 1.
A world's change is a 4x4 matrix: a similarity, so its inverse leads back.
"""

import numpy as np
from numpy.typing import NDArray

from piva.errors import InputError


def upright(
    c2w: NDArray[np.float64], where: object, orientation: str, centre: str, scale: bool
) -> NDArray[np.float64]:
    """(4, 4): from the world of the poses `c2w` (n, 4, 4) to the new one.

    Args:
        c2w: camera-to-world, OpenGL axes.
        where: the file they come from, for errors.
        orientation: "up" or "none".
        centre: "poses" or "none".
        scale: whether to scale.

    Raises:
        InputError: the cameras' up directions cancel, or all stand in one place, so that there is nothing to go by.
    """
    world = np.eye(4)
    if orientation == "up":
        up = c2w[:, :3, 1].mean(axis=0)
        if np.linalg.norm(up) < 1e-3:
            found = "cameras whose up directions cancel out"
            raise InputError(where, found, "a common up", "use dataset.orientation=none")
        world[:3, :3] = _turn_to_z(up / np.linalg.norm(up))
    if centre == "poses":
        world[:3, 3] = -world[:3, :3] @ c2w[:, :3, 3].mean(axis=0)
    if scale:
        farthest = np.abs(moved(world, c2w)[:, :3, 3]).max()
        if farthest < 1e-9:
            raise InputError(
                where,
                "all cameras in one place",
                "cameras that stand apart",
                "a scene needs views from several places",
            )
        world[:3] /= farthest
    return world


def moved(world: NDArray[np.float64], c2w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (..., 4, 4) in another world, their axes of unit length again. `moved(inv(world), ...)` leads back."""
    poses = world @ c2w
    poses[..., :3, :3] /= np.cbrt(np.linalg.det(world[:3, :3]))
    return poses


def _turn_to_z(up: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation (3, 3) that takes the unit vector `up` to +z (Rodrigues' formula)."""
    if up[2] < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])  # upside down: any half turn about a level axis
    x, y, z = up
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])  # of up x (0, 0, 1)
    turn: NDArray[np.float64] = np.eye(3) + cross + cross @ cross / (1 + z)
    return turn
