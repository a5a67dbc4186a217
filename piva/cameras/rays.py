"""Rays through pixels. Pixel (column u, row v) has its centre at (u + 0.5, v + 0.5); directions have unit
length.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from piva.cameras.lens import Lens, Optics, fisheye_step, undistort_step

OPAQUE = 0.5  # opacity below which a pixel has no depth
# Of Newton's method: two more than strongly bent lenses take to 1e-6. To ask whether it has arrived, the host
# would have to wait for the device.
STEPS = 6


class Lenses(NamedTuple):
    """The distinct lenses of some views, and the index of each view's lens."""

    distinct: list[Lens]
    which: Int[Tensor, "n"]
    optics: Float[Tensor, "numbers lenses"]  # `Optics` of each lens, float64 on the views' device
    fisheye: Bool[Tensor, "lenses"]

    @staticmethod
    def of(lenses: Lens | Sequence[Lens], count: int, device: torch.device) -> "Lenses":
        each = [lenses] * count if isinstance(lenses, Lens) else list(lenses)
        distinct = list(dict.fromkeys(each))
        index = {lens: i for i, lens in enumerate(distinct)}
        which = torch.tensor([index[lens] for lens in each], device=device, dtype=torch.long)
        numbers = torch.tensor([Optics.of(lens) for lens in distinct], device=device, dtype=torch.float64)
        optics = numbers.view(-1, len(Optics._fields)).T
        fisheye = torch.tensor([lens.fisheye for lens in distinct], device=device, dtype=torch.bool)
        return Lenses(distinct, which, optics, fisheye)


def pixel_rays(
    c2w: Float[Tensor, "n 4 4"], u: Int[Tensor, "n"], v: Int[Tensor, "n"], lens: Lens
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Return origins and directions of the rays through pixel (u, v) of each camera."""
    return c2w[:, :3, 3], _rotate(c2w, _directions(lens, u, v))


def image_rays(c2w: Float[Tensor, "4 4"], lens: Lens) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Return the rays of a whole view, row by row: n = h w. A lens is undistorted once for all its views."""
    poses = c2w.expand(lens.height * lens.width, 4, 4)
    return poses[:, :3, 3], _rotate(poses, _view_directions(lens, c2w.device))


def mixed_rays(
    c2w: Float[Tensor, "n 4 4"],
    u: Int[Tensor, "n"],
    v: Int[Tensor, "n"],
    which: Int[Tensor, "n"],
    lenses: Lenses,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Return what `pixel_rays` does, with ray i through `lenses.distinct[which[i]]`."""
    if len(lenses.distinct) == 1:
        return pixel_rays(c2w, u, v, lenses.distinct[0])
    optics = Optics(*lenses.optics.index_select(1, which))
    steps = 0 if all(lens.is_pinhole for lens in lenses.distinct) else STEPS
    kinds = sorted({lens.fisheye for lens in lenses.distinct})
    camera, *fisheyes = (_undistorted(optics, kind, u, v, steps) for kind in kinds)
    if fisheyes:
        camera = torch.where(lenses.fisheye.index_select(0, which)[:, None], fisheyes[0], camera)
    return c2w[:, :3, 3], _rotate(c2w, camera)


def z_depth(
    distance: Float[Tensor, "h w"], opacity: Float[Tensor, "h w"], c2w: Float[Tensor, "4 4"], lens: Lens
) -> Float[Tensor, "h w"]:
    """Return the depth along the viewing axis, in scene units, from distances along the rays. Without a
    graph.

    It is 0 where the opacity is below OPAQUE, and beside or behind the camera, where a fisheye may look.
    """
    cosine = -(image_rays(c2w, lens)[1] @ c2w[:3, 2]).view_as(distance)  # the camera looks along its -z
    return (distance * cosine).masked_fill(~(opacity >= OPAQUE), 0).clamp(min=0).detach()


@lru_cache(maxsize=2)
def _view_directions(lens: Lens, device: torch.device) -> Float[Tensor, "n 3"]:
    """Return `_directions` of all pixels, row by row."""
    pixel = torch.arange(lens.height * lens.width, device=device)
    return _directions(lens, pixel % lens.width, pixel // lens.width)


def _directions(lens: Lens, u: Int[Tensor, "n"], v: Int[Tensor, "n"]) -> Float[Tensor, "n 3"]:
    """Return directions in the cameras' axes, of any length; float64 where they are undistorted."""
    if not lens.is_pinhole:
        return _undistorted(Optics.of(lens), lens.fisheye, u, v, STEPS)
    x, y = (u + 0.5 - lens.cx) / lens.fx, (v + 0.5 - lens.cy) / lens.fy
    return torch.stack([x, -y, -torch.ones_like(x)], dim=1)  # rows run down, y up; it looks along -z


def _undistorted(
    optics: Optics, fisheye: bool, u: Int[Tensor, "n"], v: Int[Tensor, "n"], steps: int
) -> Float[Tensor, "n 3"]:
    """Return what lens.py's `pixel_directions` does, after `steps` steps of Newton's method on the device."""
    seen_x = (u.double() + 0.5 - optics.cx) / optics.fx
    seen_y = (v.double() + 0.5 - optics.cy) / optics.fy
    if fisheye:
        angle = distorted = torch.hypot(seen_x, seen_y)
        for _ in range(steps):
            angle, _off = fisheye_step(optics, angle, distorted)
        scale = torch.sin(angle) / distorted.clamp(min=torch.finfo(distorted.dtype).tiny)
        return torch.stack([seen_x * scale, -seen_y * scale, -torch.cos(angle)], dim=1)
    x, y = seen_x, seen_y
    for _ in range(steps):
        x, y, _off = undistort_step(optics, x, y, seen_x, seen_y)
    return torch.stack([x, -y, -torch.ones_like(x)], dim=1)


def _rotate(c2w: Float[Tensor, "n 4 4"], camera: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Return directions in the cameras' axes as unit vectors in the world's."""
    return F.normalize((c2w[:, :3, :3] @ camera.to(c2w.dtype)[:, :, None])[:, :, 0], dim=1)
