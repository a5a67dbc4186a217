"""Rays through pixels. Pixel (column u, row v) has its centre at (u + 0.5, v + 0.5); directions have unit length."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from piva.cameras.lens import camera_rays, gaze
from piva.cameras.poses import Intrinsics


def pixel_rays(
    c2w: Float[Tensor, "n 4 4"], u: Int[Tensor, "n"], v: Int[Tensor, "n"], intrinsics: Intrinsics
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Origins and directions of the rays through pixel (u, v) of each camera."""
    if intrinsics.straight:
        x = (u + 0.5 - intrinsics.cx) / intrinsics.fx
        y = (v + 0.5 - intrinsics.cy) / intrinsics.fy
        camera = torch.stack(
            [x, -y, -torch.ones_like(x)], dim=1
        )  # rows run down, y runs up; the camera looks along -z
    else:
        camera = _tensor(gaze(intrinsics, u.cpu().numpy() + 0.5, v.cpu().numpy() + 0.5), c2w)
    return c2w[:, :3, 3], _turned(c2w, camera)


def image_rays(
    c2w: Float[Tensor, "4 4"], intrinsics: Intrinsics
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """The rays of a whole view, row by row: n = h w. A bent lens is straightened once, however many views it takes."""
    count = intrinsics.height * intrinsics.width
    poses = c2w.expand(count, 4, 4)
    if not intrinsics.straight:
        return poses[:, :3, 3], _turned(poses, _tensor(camera_rays(intrinsics, 1).reshape(-1, 3), c2w))
    pixel = torch.arange(count, device=c2w.device)
    return pixel_rays(poses, pixel % intrinsics.width, pixel // intrinsics.width, intrinsics)


def mixed_rays(
    c2w: Float[Tensor, "n 4 4"],
    u: Int[Tensor, "n"],
    v: Int[Tensor, "n"],
    which: Int[Tensor, "n"],
    lenses: Sequence[Intrinsics],
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """As `pixel_rays` where ray i goes through `lenses[which[i]]`."""
    if len(lenses) == 1:
        return pixel_rays(c2w, u, v, lenses[0])
    directions = torch.empty_like(c2w[:, :3, 3])
    for index in which.unique().tolist():
        mine = torch.nonzero(which == index)[:, 0]
        directions[mine] = pixel_rays(c2w[mine], u[mine], v[mine], lenses[index])[1]
    return c2w[:, :3, 3], directions


def _turned(c2w: Float[Tensor, "n 4 4"], camera: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Directions in the cameras' axes as unit vectors in the world's."""
    return F.normalize((c2w[:, :3, :3] @ camera[:, :, None])[:, :, 0], dim=1)


def _tensor(rays: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(rays.astype(np.float32)).to(like)
