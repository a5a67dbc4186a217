"""Cameras. Every `c2w` is a 4x4 camera-to-world matrix with OpenGL axes: x right, y up, looking along -z; world z is up.

Azimuth turns about +z from +x; at azimuth -90 degrees the camera stands at -y and sees an object's front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import Lens

if TYPE_CHECKING:
    import torch


Intrinsics = Lens  # a camera as the fields see it; one type for what is read, drawn and rendered


def orbit(azimuth_deg: float, elevation_deg: float, distance: float) -> NDArray[np.float32]:
    """The camera at (azimuth, elevation, distance) looking at the origin with the horizon level. Returns c2w (4, 4)."""
    az, el = np.radians(azimuth_deg), np.radians(elevation_deg)
    position = distance * np.array([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
    backward = position / distance
    right = np.array([-np.sin(az), np.cos(az), 0.0])
    c2w = np.eye(4, dtype=np.float32)
    c2w[:3] = np.stack([right, np.cross(backward, right), backward, position], axis=1)
    return c2w


def hemisphere(count: int, distance: float) -> NDArray[np.float32]:
    """`count` cameras spread evenly over the upper hemisphere (Fibonacci lattice), looking at the origin: (count, 4, 4)."""
    index = np.arange(count) + 0.5
    elevation = np.degrees(np.arcsin(index / count))
    azimuth = 360 * index * (np.sqrt(5) - 1) / 2
    return np.stack([orbit(a, e, distance) for a, e in zip(azimuth, elevation, strict=True)])


def focal_from_fov(fov_deg: float, size: int) -> float:
    """Focal length in pixels for a field of view across `size` pixels: size / (2 tan(fov / 2))."""
    return 0.5 * size / float(np.tan(np.radians(fov_deg) / 2))


def pinhole(fov_deg: float, size: int) -> Intrinsics:
    """A square picture of `size` pixels a side that spans `fov_deg`, with the principal point at its centre."""
    focal = focal_from_fov(fov_deg, size)
    return Intrinsics(fx=focal, fy=focal, cx=size / 2, cy=size / 2, width=size, height=size)


def ring(count: int, elevation_deg: float, distance: float) -> NDArray[np.float32]:
    """`count` cameras at equal steps of azimuth, starting at the front (-90 degrees), looking at the origin: (count, 4, 4)."""
    return np.stack([orbit(-90 + 360 * i / count, elevation_deg, distance) for i in range(count)])


def walk(cameras: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """`count` cameras at equal steps along a path from the first of `cameras` (n, 4, 4) through all of them: (count, 4, 4).

    Between two of them positions go straight; axes are the nearest rotation to the mean of both.
    """
    at = np.linspace(0, len(cameras) - 1, count)
    before = np.floor(at).astype(int)
    after, part = np.minimum(before + 1, len(cameras) - 1), (at - before)[:, None, None]
    path = (1 - part) * cameras[before].astype(np.float64) + part * cameras[after]
    u, _, v = np.linalg.svd(path[:, :3, :3])
    path[:, :3, :3] = u @ v
    walked: NDArray[np.float32] = path.astype(np.float32)
    return walked


def sample_camera(
    generator: torch.Generator,
    elevation_deg: tuple[float, float],
    fov_deg: tuple[float, float],
    distance: tuple[float, float],
) -> tuple[NDArray[np.float32], float]:
    """Draw a camera uniformly from these ranges (low, high), at any azimuth (the paper, A.1). Returns (c2w (4, 4), fov_deg)."""
    import torch  # the rest of this file must not need it

    draw = torch.rand(4, generator=generator, device=generator.device, dtype=torch.float64).tolist()
    ranges = [(0.0, 360.0), elevation_deg, fov_deg, distance]
    azimuth, elevation, fov, away = (
        low + (high - low) * part for part, (low, high) in zip(draw, ranges, strict=True)
    )
    return orbit(azimuth, elevation, away), fov
