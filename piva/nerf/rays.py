"""Rays through pixels. Pixel (column u, row v) has its centre at (u + 0.5, v + 0.5); directions have unit length."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from piva.nerf.cameras import Intrinsics


def pixel_rays(
    c2w: Float[Tensor, "n 4 4"], u: Int[Tensor, "n"], v: Int[Tensor, "n"], intrinsics: Intrinsics
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Origins and directions of the rays through pixel (u, v) of each camera."""
    x = (u + 0.5 - intrinsics.cx) / intrinsics.fx
    y = (v + 0.5 - intrinsics.cy) / intrinsics.fy
    camera = torch.stack([x, -y, -torch.ones_like(x)], dim=1)  # rows run down, y runs up; the camera looks along -z
    directions = (c2w[:, :3, :3] @ camera[:, :, None])[:, :, 0]
    return c2w[:, :3, 3], F.normalize(directions, dim=1)


def image_rays(c2w: Float[Tensor, "4 4"], intrinsics: Intrinsics) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """The rays of a whole view, row by row: n = h w."""
    pixel = torch.arange(intrinsics.height * intrinsics.width, device=c2w.device)
    return pixel_rays(c2w.expand(len(pixel), 4, 4), pixel % intrinsics.width, pixel // intrinsics.width, intrinsics)
