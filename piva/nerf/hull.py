"""The visual hull: the space that every view's silhouette allows."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from piva.cameras.poses import Intrinsics


def visual_hull(
    alpha: Float[Tensor, "n h w"],
    c2w: Float[Tensor, "n 4 4"],
    intrinsics: Intrinsics,
    resolution: int,
    radius: float,
) -> Bool[Tensor, "r r r"]:
    """Cells of [-radius, radius]^3, indexed [x, y, z], whose centre some view frames and no view sees in a pixel of alpha 0.

    A view says nothing about what lies outside its frame or behind it. Parts thinner than a cell or a pixel can slip
    between centres: widen the silhouettes (`widened`) where the hull must contain the object.
    """
    centre = (torch.arange(resolution, device=alpha.device) + 0.5) * (2 * radius / resolution) - radius
    points = torch.cartesian_prod(centre, centre, centre)
    left = torch.arange(len(points), device=alpha.device)
    seen = torch.zeros(len(points), dtype=torch.bool, device=alpha.device)
    for silhouette, pose in zip(alpha > 0, c2w, strict=True):
        # Each view looks only at what the others have left: 20 times less work than looking at every cell.
        framed, filled = _look(points.index_select(0, left), silhouette, pose, intrinsics)
        seen[left[framed]] = True
        left = left[~framed | filled]
    return torch.zeros_like(seen).index_fill(0, left, True).logical_and(seen).view((resolution,) * 3)


def widened(alpha: Float[Tensor, "n h w"], pixels: int) -> Float[Tensor, "n h w"]:
    """The highest alpha at most `pixels` rows and columns away."""
    rows = F.max_pool2d(alpha[:, None], (2 * pixels + 1, 1), stride=1, padding=(pixels, 0))
    return F.max_pool2d(rows, (1, 2 * pixels + 1), stride=1, padding=(0, pixels))[:, 0]


def _look(
    points: Float[Tensor, "m 3"],
    silhouette: Bool[Tensor, "h w"],
    c2w: Float[Tensor, "4 4"],
    intrinsics: Intrinsics,
) -> tuple[Bool[Tensor, "m"], Bool[Tensor, "m"]]:
    """Which points the view frames, and which of those fall on its silhouette."""
    x, y, z = ((points - c2w[:3, 3]) @ c2w[:3, :3]).unbind(dim=1)  # camera axes: in front means z < 0
    depth = torch.where(z < 0, -z, torch.inf)
    u = torch.floor(intrinsics.cx + intrinsics.fx * x / depth).long()
    v = torch.floor(intrinsics.cy - intrinsics.fy * y / depth).long()
    framed = (z < 0) & (u >= 0) & (u < intrinsics.width) & (v >= 0) & (v < intrinsics.height)
    index = v.clamp(0, intrinsics.height - 1) * intrinsics.width + u.clamp(0, intrinsics.width - 1)
    return framed, framed & silhouette.flatten().index_select(0, index)
