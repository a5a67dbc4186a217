"""Rays through pixels. Pixel (column u, row v) has its centre at (u + 0.5, v + 0.5); directions have unit
length.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from piva.cameras.lens import Lens, camera_rays, pixel_directions

OPAQUE = 0.5  # opacity below which a pixel has no depth


def pixel_rays(
    c2w: Float[Tensor, "n 4 4"], u: Int[Tensor, "n"], v: Int[Tensor, "n"], lens: Lens
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Return origins and directions of the rays through pixel (u, v) of each camera."""
    if lens.is_pinhole:  # without a copy to the host
        x, y = (u + 0.5 - lens.cx) / lens.fx, (v + 0.5 - lens.cy) / lens.fy
        camera = torch.stack([x, -y, -torch.ones_like(x)], dim=1)  # rows run down, y up; it looks along -z
    else:
        camera = _tensor(pixel_directions(lens, u.cpu().numpy() + 0.5, v.cpu().numpy() + 0.5), c2w)
    return c2w[:, :3, 3], _rotate(c2w, camera)


def image_rays(c2w: Float[Tensor, "4 4"], lens: Lens) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Return the rays of a whole view, row by row: n = h w. A lens is undistorted once for all its views."""
    count = lens.height * lens.width
    poses = c2w.expand(count, 4, 4)
    if not lens.is_pinhole:
        return poses[:, :3, 3], _rotate(poses, _tensor(camera_rays(lens, 1).reshape(-1, 3), c2w))
    pixel = torch.arange(count, device=c2w.device)
    return pixel_rays(poses, pixel % lens.width, pixel // lens.width, lens)


def mixed_rays(
    c2w: Float[Tensor, "n 4 4"],
    u: Int[Tensor, "n"],
    v: Int[Tensor, "n"],
    which: Int[Tensor, "n"],
    lenses: Sequence[Lens],
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Return what `pixel_rays` does, with ray i through `lenses[which[i]]`."""
    if len(lenses) == 1:
        return pixel_rays(c2w, u, v, lenses[0])
    directions = torch.empty_like(c2w[:, :3, 3])
    for index in which.unique().tolist():
        mine = torch.nonzero(which == index)[:, 0]
        directions[mine] = pixel_rays(c2w[mine], u[mine], v[mine], lenses[index])[1]
    return c2w[:, :3, 3], directions


def z_depth(
    distance: Float[Tensor, "h w"], opacity: Float[Tensor, "h w"], c2w: Float[Tensor, "4 4"], lens: Lens
) -> Float[Tensor, "h w"]:
    """Return the depth along the viewing axis, in scene units, from distances along the rays. Without a
    graph.

    It is 0 where the opacity is below OPAQUE, and beside or behind the camera, where a fisheye may look.
    """
    cosine = -(image_rays(c2w, lens)[1] @ c2w[:3, 2]).view_as(distance)  # the camera looks along its -z
    return torch.where(opacity >= OPAQUE, distance * cosine, 0.0).clamp(min=0).detach()


def _rotate(c2w: Float[Tensor, "n 4 4"], camera: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Return directions in the cameras' axes as unit vectors in the world's."""
    return F.normalize((c2w[:, :3, :3] @ camera[:, :, None])[:, :, 0], dim=1)


def _tensor(rays: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(rays.astype(np.float32)).to(like)
