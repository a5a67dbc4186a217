"""Pictures by distorted lenses as pinholes would have taken them, for what is drawn through pinholes alone.

A pinhole has the lens's size, focal lengths and centre: what a barrel lens or a fisheye sees beyond is cut
off.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import Lens, distort, undistort
from piva.datasets.scene import Views

SAME = 1e-6  # focal lengths: distorting and undistorting comes back to where it began
Plan = tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]


def as_pinholes(views: Views) -> Views:
    """Return the same views through pinholes; what their lenses did not see is not kept."""
    if all(lens.is_pinhole for lens in views.lenses):
        return views
    kept = np.ones(views.images.shape[:3], bool) if views.keep is None else views.keep
    keep = np.empty_like(kept)
    for index, lens in enumerate(views.lenses):
        whole = undistorted(kept[index, ..., None].astype(np.float32), lens)[..., 0]
        keep[index] = (whole > 1 - SAME) & _plan(lens)[2]
    return replace(
        views,
        images=np.stack([_rgba(*each) for each in zip(views.images, views.lenses, strict=True)]),
        keep=None if keep.all() else keep,
        lenses=[lens.as_pinhole() for lens in views.lenses],
        distorted=views.lenses,
    )


def undistorted(picture: NDArray[np.float32], lens: Lens) -> NDArray[np.float32]:
    """Return a picture (h, w, c) as `lens.as_pinhole()` sees it, bilinear; beyond the border it goes on as
    there.
    """
    if lens.is_pinhole:
        return picture
    places, weights, _ = _plan(lens)
    flat = picture.reshape(-1, picture.shape[-1])
    mixed: Any = sum(
        flat[place] * weight[:, None] for place, weight in zip(places, weights, strict=True)
    )  # (h w, c)
    return np.asarray(mixed.reshape(picture.shape), np.float32)


def _rgba(picture: NDArray[np.uint8], lens: Lens) -> NDArray[np.uint8]:
    """Return `undistorted` for straight alpha: colours are mixed as far as they are seen."""
    values = picture.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    values = undistorted(values, lens)
    values[..., :3] *= 255 / np.maximum(values[..., 3:], 1e-3)
    rounded: NDArray[np.uint8] = np.rint(values.clip(0, 255)).astype(np.uint8)
    return rounded


@lru_cache(maxsize=2)
def _plan(lens: Lens) -> Plan:
    """Return, of each pixel of the pinhole, the four pixels (4, h w) it lies between, their weights, and
    whether the lens saw it (h, w).
    """
    column, row = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    x, y = (column - lens.cx) / lens.fx, (row - lens.cy) / lens.fy
    bent_x, bent_y = distort(lens, x, y)
    u, v = bent_x * lens.fx + lens.cx - 0.5, bent_y * lens.fy + lens.cy - 0.5  # of pixels' centres
    seen = (u >= -0.5) & (u <= lens.width - 0.5) & (v >= -0.5) & (v <= lens.height - 0.5)
    if not lens.fisheye:  # where a polynomial turns back, it shows what is elsewhere
        with np.errstate(all="ignore"):
            back_x, back_y = undistort(lens, bent_x, bent_y)
        seen &= np.hypot(back_x - x, back_y - y) < SAME
    u, v = (
        np.where(np.isfinite(at), at, 0).clip(0, side - 1) for at, side in ((u, lens.width), (v, lens.height))
    )
    left, top = (np.minimum(at.astype(np.intp), side - 2) for at, side in ((u, lens.width), (v, lens.height)))
    a, b = (u - left).ravel(), (v - top).ravel()
    first = (top * lens.width + left).ravel()
    places = np.stack([first, first + 1, first + lens.width, first + lens.width + 1])
    weights = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b]).astype(np.float32)
    return places, weights, seen
