"""Camera lenses: a pinhole with OpenCV's distortion or fisheye model, and the direction in which each pixel
looks.

Lengths are in pixels; the centre of the first pixel is at (0.5, 0.5). Distortion maps a pinhole's (x, y), in
focal lengths off the axis and y down, to the place on the sensor. It has no closed inverse: Newton's method
finds it, because OpenCV is a large dependency whose own inverse stops after a few fixed-point iterations.
Its steps are plain arithmetic, of numpy's arrays here and of tensors in rays.py.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 20  # of Newton's method, which needs three or four for the lenses of real captures
TOLERANCE = 1e-13  # in focal lengths


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Nerfstudio's camera models: perspective (OPENCV, PINHOLE), or `fisheye` (OPENCV_FISHEYE).

    With r the distance from the axis in focal lengths (perspective) or the angle off it in radians (fisheye),
    the radial factor is 1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8; p1 and p2 are tangential (perspective only).
    All zero: a pinhole, or an equidistant fisheye.
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
    def is_pinhole(self) -> bool:
        """Whether the lens is perspective without distortion."""
        return not (self.fisheye or any((self.k1, self.k2, self.k3, self.k4, self.p1, self.p2)))

    def as_pinhole(self) -> "Lens":
        """Return a pinhole of the same size, focal lengths and centre."""
        return Lens(width=self.width, height=self.height, fx=self.fx, fy=self.fy, cx=self.cx, cy=self.cy)

    def resized(self, width: int, height: int) -> "Lens":
        """Return the lens of the same picture scaled to another size. Distortion is in focal lengths and
        stays.
        """
        x, y = width / self.width, height / self.height
        fx, fy, cx, cy = self.fx * x, self.fy * y, self.cx * x, self.cy * y
        return replace(self, width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)


class Optics(NamedTuple):
    """The numbers of a `Lens`, or of one lens a ray as tensors (n,)."""

    fx: Any
    fy: Any
    cx: Any
    cy: Any
    k1: Any
    k2: Any
    k3: Any
    k4: Any
    p1: Any
    p2: Any

    @staticmethod
    def of(lens: Lens) -> "Optics":
        return Optics(*(getattr(lens, name) for name in Optics._fields))


def focal_from_fov(fov_deg: float, size: int) -> float:
    """Return the focal length in pixels of a field of view across `size` pixels: size / (2 tan(fov / 2))."""
    return 0.5 * size / float(np.tan(np.radians(fov_deg) / 2))


def pinhole(fov_deg: float, height: int, width: int | None = None) -> Lens:
    """Return a centred pinhole of this vertical field of view; square without a width."""
    return pinhole_from_focal(focal_from_fov(fov_deg, height), height, width)


def pinhole_from_focal(focal: float, height: int, width: int | None = None) -> Lens:
    """Return a centred pinhole of this focal length in pixels; square without a width."""
    width = width or height
    return Lens(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2)


@lru_cache(maxsize=2)
def camera_rays(lens: Lens, supersample: int) -> NDArray[np.float64]:
    """Return `pixel_directions` of `supersample`^2 points a pixel, (height * s, width * s, 3), read only."""
    columns = (np.arange(lens.width * supersample) + 0.5) / supersample
    rows = (np.arange(lens.height * supersample) + 0.5) / supersample
    rays = pixel_directions(lens, *np.meshgrid(columns, rows))
    rays.flags.writeable = False
    return rays


def pixel_directions(lens: Lens, column: NDArray[Any], row: NDArray[Any]) -> NDArray[np.float64]:
    """Return the viewing directions (..., 3) of image coordinates, in the camera's OpenGL axes.

    They have depth z = -1; a fisheye's have unit length instead, since it may see beside or behind the
    camera.
    """
    x, y = (column - lens.cx) / lens.fx, (row - lens.cy) / lens.fy
    if lens.fisheye:
        angle, scale = fisheye_angle(lens, x, y)
        return np.stack([x * scale, -y * scale, -np.cos(angle)], axis=-1)
    x, y = undistort(lens, x, y)
    return np.stack([x, -y, -np.ones_like(x)], axis=-1)


def undistort(
    lens: Lens, distorted_x: NDArray[Any], distorted_y: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return x / z and y / z (y down) of what a perspective lens shows at the distorted coordinates."""
    x, y = distorted_x, distorted_y
    if lens.is_pinhole:
        return x, y
    for _ in range(ITERATIONS):
        next_x, next_y, off = undistort_step(Optics.of(lens), x, y, distorted_x, distorted_y)
        if off.max(initial=0) < TOLERANCE:
            break
        x, y = next_x, next_y
    return x, y


def distort(lens: Lens, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return where a lens shows what a pinhole shows at (x, y): x / z and y / z, y down."""
    if lens.fisheye:
        r = np.hypot(x, y)
        angle = np.arctan(r)
        scale = angle * _radial(Optics.of(lens), angle * angle)[0] / np.where(r > 0, r, 1)
        return x * np.where(r > 0, scale, 1), y * np.where(r > 0, scale, 1)
    r2, p1, p2 = x * x + y * y, lens.p1, lens.p2
    radial, _ = _radial(Optics.of(lens), r2)
    distorted_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    return distorted_x, y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def undistort_step(
    optics: Optics, x: Any, y: Any, distorted_x: Any, distorted_y: Any
) -> tuple[Any, Any, Any]:
    """Return (x, y) after a step of Newton's method, and how far it was off before, in focal lengths."""
    p1, p2 = optics.p1, optics.p2
    r2 = x * x + y * y
    radial, slope = _radial(optics, r2)
    off_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - distorted_x
    off_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - distorted_y
    x_x = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    y_y = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y  # of both: the Jacobian is symmetric
    determinant = x_x * y_y - cross * cross
    step_x, step_y = y_y * off_x - cross * off_y, x_x * off_y - cross * off_x
    return x - step_x / determinant, y - step_y / determinant, abs(off_x) + abs(off_y)


def fisheye_angle(lens: Lens, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the angle off the axis, in radians, of what a fisheye shows at (x, y), and sin(angle) / |(x,
    y)|.
    """
    distorted = np.hypot(x, y)
    angle = distorted
    for _ in range(ITERATIONS):
        next_angle, off = fisheye_step(Optics.of(lens), angle, distorted)
        if off.max(initial=0) < TOLERANCE:
            break
        angle = next_angle
    return angle, np.where(distorted > 0, np.sin(angle) / np.where(distorted > 0, distorted, 1), 1.0)


def fisheye_step(optics: Optics, angle: Any, distorted: Any) -> tuple[Any, Any]:
    """Return the angle after a step of Newton's method, and how far it was off before, in radians."""
    factor, slope = _radial(optics, angle * angle)
    off = angle * factor - distorted
    return angle - off / (factor + 2 * angle * angle * slope), abs(off)


def _radial(optics: Optics, r2: Any) -> tuple[Any, Any]:
    """Return the radial factor 1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8 and its derivative by r^2."""
    k1, k2, k3, k4 = optics.k1, optics.k2, optics.k3, optics.k4
    return 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4))), k1 + r2 * (2 * k2 + r2 * (3 * k3 + r2 * 4 * k4))


def is_not_invertible(lens: Lens) -> bool:
    """Return whether the distortion folds the picture over towards its corners, or shows nothing there."""
    columns, rows = np.linspace(0, lens.width, 65), np.linspace(0, lens.height, 65)
    x, y = np.meshgrid((columns - lens.cx) / lens.fx, (rows - lens.cy) / lens.fy)
    with np.errstate(all="ignore"):  # Newton's method diverges where there is no solution
        reach = fisheye_angle(lens, x, y)[0] if lens.fisheye else np.hypot(*undistort(lens, x, y))
        r = np.linspace(0, reach.max(), 257)
        grows = np.diff(r * _radial(Optics.of(lens), r * r)[0]) > 0
    return not (np.isfinite(reach).all() and grows.all() and (not lens.fisheye or reach.max() <= np.pi))
