"""Cameras' lenses, and the direction in which each pixel looks: a pinhole bent as OpenCV's models bend it.

Lengths in pixels; the centre of the first pixel is at (0.5, 0.5). A lens shows a point at (x, y), in focal lengths off the axis
and y down. Where a pinhole would show it is found by Newton's method, for the models have no inverse in closed form.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 20  # of Newton's method, which needs three or four for the lenses of real captures
CLOSE = 1e-13  # in focal lengths


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Nerfstudio's camera models: perspective (OPENCV, PINHOLE), or `fisheye` (OPENCV_FISHEYE).

    k1 to k4 multiply r^2 to r^8 in the radial factor 1 + k1 r^2 + ..., p1 and p2 shift sideways (perspective only). For a fisheye
    r is the angle off the axis and the factor is that angle's. All zero: a plain pinhole, or an equidistant fisheye.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    fisheye: bool = False

    @property
    def straight(self) -> bool:
        """Whether this is a plain pinhole."""
        return not (self.fisheye or any((self.k1, self.k2, self.k3, self.k4, self.p1, self.p2)))

    def resized(self, width: int, height: int) -> "Lens":
        """The lens of the same picture scaled to another size."""
        x, y = width / self.width, height / self.height
        return replace(
            self, width=width, height=height, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y
        )  # the distortion is in focal lengths and stays


def pinhole_lens(width: int, height: int, focal: float) -> Lens:
    return Lens(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2)


@lru_cache(maxsize=2)
def camera_rays(lens: Lens, supersample: int) -> NDArray[np.float64]:
    """`gaze` of a grid of `supersample`^2 points a pixel: (height * s, width * s, 3), read only."""
    columns = (np.arange(lens.width * supersample) + 0.5) / supersample
    rows = (np.arange(lens.height * supersample) + 0.5) / supersample
    rays = gaze(lens, *np.meshgrid(columns, rows))
    rays.flags.writeable = False
    return rays


def gaze(lens: Lens, column: NDArray[Any], row: NDArray[Any]) -> NDArray[np.float64]:
    """Where the rays through these places of the picture go, (..., 3), in the camera's axes (OpenGL).

    Of unit depth, z = -1; a fisheye's are of unit length, since it may see what lies beside the camera or behind.
    """
    x, y = (column - lens.cx) / lens.fx, (row - lens.cy) / lens.fy
    if lens.fisheye:
        angle, part = fisheye_angle(lens, x, y)
        return np.stack([x * part, -y * part, -np.cos(angle)], axis=-1)
    x, y = undistort(lens, x, y)
    return np.stack([x, -y, -np.ones_like(x)], axis=-1)


def undistort(lens: Lens, x_seen: NDArray[Any], y_seen: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The x / z and y / z (y down) of points that a perspective lens shows at `x_seen`, `y_seen`."""
    x, y = x_seen, y_seen
    if lens.straight:
        return x, y
    for _ in range(ITERATIONS):
        r2 = x * x + y * y
        radial, slope = _radial(lens, r2)
        off_x = x * radial + 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x * x) - x_seen
        off_y = y * radial + lens.p1 * (r2 + 2 * y * y) + 2 * lens.p2 * x * y - y_seen
        if max(np.abs(off_x).max(initial=0), np.abs(off_y).max(initial=0)) < CLOSE:
            break
        x_x = radial + 2 * x * x * slope + 2 * lens.p1 * y + 6 * lens.p2 * x
        y_y = radial + 2 * y * y * slope + 6 * lens.p1 * y + 2 * lens.p2 * x
        cross = 2 * x * y * slope + 2 * lens.p1 * x + 2 * lens.p2 * y  # of both: the Jacobian is symmetric
        determinant = x_x * y_y - cross * cross
        x, y = (
            x - (y_y * off_x - cross * off_y) / determinant,
            y - (x_x * off_y - cross * off_x) / determinant,
        )
    return x, y


def fisheye_angle(
    lens: Lens, x_seen: NDArray[Any], y_seen: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The angle off the axis, in radians, of what a fisheye shows at (x_seen, y_seen); and sin(angle) / |(x_seen, y_seen)|."""
    seen = np.hypot(x_seen, y_seen)
    angle = seen
    for _ in range(ITERATIONS):
        factor, slope = _radial(lens, angle * angle)
        off = angle * factor - seen
        if np.abs(off).max(initial=0) < CLOSE:
            break
        angle = angle - off / (factor + 2 * angle * angle * slope)
    return angle, np.where(seen > 0, np.sin(angle) / np.where(seen > 0, seen, 1), 1.0)


def _radial(lens: Lens, r2: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8, and its derivative by r^2."""
    factor = 1 + r2 * (lens.k1 + r2 * (lens.k2 + r2 * (lens.k3 + r2 * lens.k4)))
    return factor, lens.k1 + r2 * (2 * lens.k2 + r2 * (3 * lens.k3 + r2 * 4 * lens.k4))


def folds(lens: Lens) -> bool:
    """Whether the coefficients cannot belong to this picture: towards its corners they fold the world over, or show nothing."""
    columns, rows = np.linspace(0, lens.width, 65), np.linspace(0, lens.height, 65)
    x, y = np.meshgrid((columns - lens.cx) / lens.fx, (rows - lens.cy) / lens.fy)
    with np.errstate(all="ignore"):  # Newton's method goes astray where there is nothing to find
        reach = fisheye_angle(lens, x, y)[0] if lens.fisheye else np.hypot(*undistort(lens, x, y))
        r = np.linspace(0, reach.max(), 257)
        grows = np.diff(r * _radial(lens, r * r)[0]) > 0
    return not (np.isfinite(reach).all() and grows.all() and (not lens.fisheye or reach.max() <= np.pi))
