"""Camera poses. Every `c2w` is a 4x4 camera-to-world matrix with OpenGL axes: x right, y up, looking along
-z; world z is up.

Azimuth turns about +z from +x; at azimuth -90 degrees the camera stands at -y and sees an object's front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from piva.errors import InputError

if TYPE_CHECKING:
    import torch


def orbit(azimuth_deg: float, elevation_deg: float, distance: float) -> NDArray[np.float32]:
    """Return c2w (4, 4) of a camera at (azimuth, elevation, distance) looking at the origin with a level
    horizon.
    """
    az, el = np.radians(azimuth_deg), np.radians(elevation_deg)
    position = distance * np.array([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
    backward = position / distance
    right = np.array([-np.sin(az), np.cos(az), 0.0])
    c2w = np.eye(4, dtype=np.float32)
    c2w[:3] = np.stack([right, np.cross(backward, right), backward, position], axis=1)
    return c2w


def hemisphere(count: int, distance: float) -> NDArray[np.float32]:
    """Return (count, 4, 4): cameras spread evenly over the upper hemisphere (Fibonacci lattice), facing the
    origin.
    """
    index = np.arange(count) + 0.5
    elevation = np.degrees(np.arcsin(index / count))
    azimuth = 360 * index * (np.sqrt(5) - 1) / 2
    return np.stack([orbit(a, e, distance) for a, e in zip(azimuth, elevation, strict=True)])


def ring(count: int, elevation_deg: float, distance: float) -> NDArray[np.float32]:
    """Return (count, 4, 4): cameras at equal steps of azimuth, the front (-90 degrees) first, facing the
    origin.
    """
    return np.stack([orbit(-90 + 360 * i / count, elevation_deg, distance) for i in range(count)])


def sample_camera(
    generator: torch.Generator,
    elevation_deg: tuple[float, float],
    fov_deg: tuple[float, float],
    distance: tuple[float, float],
) -> tuple[NDArray[np.float32], float]:
    """Draw c2w (4, 4) and fov_deg uniformly from ranges (low, high), at any azimuth (the paper, A.1)."""
    import torch  # the rest of this file must not need it

    draw = torch.rand(4, generator=generator, device=generator.device, dtype=torch.float64).tolist()
    ranges = [(0.0, 360.0), elevation_deg, fov_deg, distance]
    azimuth, elevation, fov, away = (
        low + (high - low) * part for part, (low, high) in zip(draw, ranges, strict=True)
    )
    return orbit(azimuth, elevation, away), fov


def orient_and_center(
    c2w: NDArray[np.float64], where: object, orientation: str, centre: str, scale: bool
) -> NDArray[np.float64]:
    """Return the similarity (4, 4) from the world of the poses `c2w` (n, 4, 4) to a normalised one.

    As nerfstudio's `auto_orient_and_center_poses` (Tancik et al. 2023): with `orientation` "up" the cameras'
    mean up direction becomes +z, with `centre` "poses" their mean position the origin, with `scale` the
    largest coordinate of a position 1; "none" leaves the world as it is. Raises `InputError`, naming the file
    `where`, if the up directions cancel or all positions agree.
    """
    world = np.eye(4)
    if orientation == "up":
        up = c2w[:, :3, 1].mean(axis=0)
        if np.linalg.norm(up) < 1e-3:
            found = "cameras whose up directions cancel out"
            raise InputError(where, found, "a common up", "use dataset.orientation=none")
        world[:3, :3] = _rotation_to_z(up / np.linalg.norm(up))
    if centre == "poses":
        world[:3, 3] = -world[:3, :3] @ c2w[:, :3, 3].mean(axis=0)
    if scale:
        farthest = np.abs(transform_poses(world, c2w)[:, :3, 3]).max()
        if farthest < 1e-9:
            wanted, remedy = "cameras that stand apart", "a scene needs views from several places"
            raise InputError(where, "all cameras in one place", wanted, remedy)
        world[:3] /= farthest
    return world


def transform_poses(world: NDArray[np.float64], c2w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return poses (..., 4, 4) in another world, their axes of unit length. `inv(world)` leads back."""
    poses = world @ c2w
    poses[..., :3, :3] /= np.cbrt(np.linalg.det(world[:3, :3]))
    return poses


def _rotation_to_z(up: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest rotation (3, 3) that takes the unit vector `up` to +z (Rodrigues' formula)."""
    if up[2] < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])  # upside down: any half turn about a level axis
    x, y, z = up
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])  # of up x (0, 0, 1)
    turn: NDArray[np.float64] = np.eye(3) + cross + cross @ cross / (1 + z)
    return turn
