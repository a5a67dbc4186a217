"""Marching rays through an occupancy grid in plain torch: the twin of nerfacc's CUDA `sampling` for one level and constant steps.

Vocabulary: each ray carries a *lattice* of intervals [near + k step, near + (k + 1) step], k = 0, 1, ...; a *sample* is an
interval whose midpoint lies in an occupied cell; samples are *packed*: all rays in one list, in order of ray, then of distance.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK = 1 << 20  # lattice points looked up at once: bounds the memory and keeps the work inside the cache


def march(
    rays_o: Float[Tensor, "n 3"],
    rays_d: Float[Tensor, "n 3"],
    occupied: Bool[Tensor, "x y z"],
    box: Float[Tensor, "6"],
    near: Float[Tensor, "n"],
    step: float,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m"], Float[Tensor, "m"]]:
    """The samples of all rays as (ray_indices, t_starts, t_ends); nothing here is differentiable.

    Args:
        rays_o, rays_d: origins and directions; distances t are in units of |d|, so unit directions give scene units.
        occupied: the grid over `box`; cell (i, j, k) spans the i-th slab in x, the j-th in y and the k-th in z.
        box: lower corner, upper corner.
        near: where each ray's lattice starts; no sample starts before it.
        step: length of an interval.
    """
    first, count = _lattice_range(rays_o, rays_d, occupied, box, near, step)
    hits = torch.nonzero(count > 0)[:, 0]
    if len(hits) == 0:
        return hits, near[:0], near[:0]
    longest = int(count.max())
    cell = (box[3:] - box[:3]) / torch.tensor(occupied.shape, device=box.device)
    # One empty layer around the grid: a midpoint that rounding puts just outside then finds an empty cell.
    padded = torch.nn.functional.pad(occupied, (1, 1, 1, 1, 1, 1))
    origin, direction = (rays_o - box[:3]) / cell + 1, rays_d / cell  # in cells of the padded grid

    rays, ks = [], []
    for part in torch.split(hits, max(1, CHUNK // longest)):
        column = torch.arange(longest, device=part.device)
        k = first[part, None] + column  # (rays, longest)
        t = near[part, None] + (k + 0.5) * step
        x, y, z = (torch.addcmul(origin[part, i, None], direction[part, i, None], t).long() for i in range(3))
        # Beyond its own count a ray may be anywhere, so look only where it is inside.
        index = ((x * padded.shape[1] + y) * padded.shape[2] + z).mul_(column < count[part, None])
        row, col = torch.nonzero(padded.take(index), as_tuple=True)
        rays.append(part[row])
        ks.append(k[row, col])
    ray_indices, steps = torch.cat(rays), torch.cat(ks)
    t_starts = near[ray_indices] + steps * step
    return ray_indices, t_starts, t_starts + step


def _lattice_range(
    rays_o: Float[Tensor, "n 3"],
    rays_d: Float[Tensor, "n 3"],
    occupied: Bool[Tensor, "x y z"],
    box: Float[Tensor, "6"],
    near: Float[Tensor, "n"],
    step: float,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """First k, and number of k, of the lattice midpoints inside the bounding box of the occupied cells (slab method)."""
    cells = torch.nonzero(occupied)
    if len(cells) == 0:
        return torch.zeros_like(near), torch.zeros_like(near)
    size = (box[3:] - box[:3]) / torch.tensor(occupied.shape, device=box.device)
    low = box[:3] + cells.amin(dim=0) * size
    high = box[:3] + (cells.amax(dim=0) + 1) * size

    # 0 * inf at a face that a parallel ray lies in must not become NaN: keep the inverse finite.
    inverse = 1 / torch.where(rays_d.abs() < 1e-9, 1e-9, rays_d)
    a, b = (low - rays_o) * inverse, (high - rays_o) * inverse
    enter = torch.minimum(a, b).amax(dim=1)
    leave = torch.maximum(a, b).amin(dim=1)
    first = torch.ceil((enter - near) / step - 0.5).clamp(min=0)
    last = torch.floor((leave - near) / step - 0.5)
    return first, (last - first + 1).clamp(min=0)
