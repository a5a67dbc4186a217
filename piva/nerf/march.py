"""Ray marching through an occupancy grid in plain torch, with the contract of nerfacc's `sampling`, which
needs CUDA.

Vocabulary: each ray carries a *lattice* of intervals, as long as `step` near its origin and as long as `cone`
times their distance where that is more; a *sample* is an interval whose midpoint lies in an occupied cell;
samples are *packed*: all rays in one list, in order of ray, then of distance. Level l of the grid spans the
base box scaled by 2^l about its centre; a point is looked up in the innermost level that holds it. As in
Instant-NGP (Mueller et al. 2022, Appendix E).
"""

from math import log1p

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Rays are marched some at a time, each as far as the longest of them; neighbours are of similar length.
CPU_RAYS = 1 << 11  # what they meet stays in the cache
# On a GPU small pieces are all launches, and memory is the limit: at most 64 bytes an interval (t, its point
# twice, what picks the level, an index, 4 bytes a number), so 0.5 GB. With the 512 intervals of
# field=hash_paper these are 2^14 rays.
INTERVALS = 1 << 23


def march(
    rays_o: Float[Tensor, "n 3"],
    rays_d: Float[Tensor, "n 3"],
    occupied: Bool[Tensor, "l x y z"],
    box: Float[Tensor, "6"],
    near: Float[Tensor, "n"],
    step: float,
    cone: float = 0.0,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m"], Float[Tensor, "m"]]:
    """Return the samples of all rays as (ray_indices, t_starts, t_ends); nothing here is differentiable.

    Args:
        rays_o, rays_d: origins and directions; distances t are in units of |d|, so unit directions give scene
            units.
        occupied: the grids of all levels, innermost first; cell (i, j, k) is the i-th slab in x, the j-th in
            y, the k-th in z.
        box: lower corner, upper corner of level 0.
        near: where each ray's lattice starts; no sample starts before it.
        step: length of an interval; those that start beyond step / cone are as long as cone times their
            start.
        cone: 0 for intervals of one length. nerfacc keeps an interval's length while it crosses an empty
            cell, so that there, for cone > 0, its lattice beyond step / cone is another one.
    """
    levels, *shape = occupied.shape
    half = (box[3:] - box[:3]) / 2
    origin, direction = (rays_o - box[:3]) / half - 1, rays_d / half  # the base box is [-1, 1]^3
    lattice = _Lattice(near, step, cone)
    first, count = _range(origin, direction, occupied, lattice)
    hits = torch.nonzero(count > 0)[:, 0]
    if len(hits) == 0:
        return hits, near[:0], near[:0]
    # One empty layer around each grid: a midpoint that rounding puts just outside then finds an empty cell.
    padded = torch.nn.functional.pad(occupied, (1, 1, 1, 1, 1, 1)).flatten()

    rays, ks = [], []
    parts = torch.split(hits, _rays_at_once(count))
    longest = torch.stack([count.index_select(0, part).max() for part in parts]).tolist()
    for part, length in zip(parts, longest, strict=True):
        column = torch.arange(int(length), device=part.device)
        t = lattice.midpoint(part, first[part, None] + column)  # (rays, length)
        point = [torch.addcmul(origin[part, i, None], direction[part, i, None], t) for i in range(3)]
        index = torch.zeros((), dtype=torch.int32, device=part.device)
        if levels > 1:
            furthest = torch.maximum(torch.maximum(point[0].abs(), point[1].abs()), point[2].abs())
            index = torch.frexp(furthest).exponent.clamp_(0, levels - 1)
            point = [torch.ldexp(x, -index) for x in point]
        for x, cells in zip(point, shape, strict=True):
            index = x.mul_(cells / 2).add_(cells / 2 + 1).int().add_(index, alpha=cells + 2)
        # Beyond its own count a ray may be anywhere, so look only where it is inside.
        index.mul_(column < count[part, None])
        found = torch.nonzero(padded.index_select(0, index.flatten()))[:, 0]
        row = found.div(len(column), rounding_mode="floor")
        rays.append(part.index_select(0, row))
        ks.append(first.index_select(0, rays[-1]) + (found - row * len(column)))
    ray_indices, k = torch.cat(rays), torch.cat(ks)
    return ray_indices, lattice.edge(ray_indices, k), lattice.edge(ray_indices, k + 1)


def _rays_at_once(count: Float[Tensor, "n"]) -> int:
    """Return how many rays of at most so many intervals are marched together on their device."""
    return CPU_RAYS if count.device.type == "cpu" else rays_within(INTERVALS, int(count.max()))


def rays_within(intervals: int, longest: int) -> int:
    """Return how many rays of `longest` intervals have at most `intervals` together; at least one."""
    return max(1, intervals // longest)


class _Lattice:
    """The edges e_0 = near, e_{k+1} = e_k + max(step, cone e_k) of each ray's intervals, in closed form."""

    def __init__(self, near: Float[Tensor, "n"], step: float, cone: float) -> None:
        self._near, self._step, self._cone = near, step, cone
        # Up to edge `bend` intervals are equal, from there on in geometric progression.
        never = torch.full_like(near, torch.inf)
        self._bend = never if cone == 0 else ((step / cone - near) / step).ceil().clamp(min=0)
        self._turn = near + self._bend * step

    def edge(self, ray: Int[Tensor, "m"], k: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
        return self._at(self._near.index_select(0, ray), k, self._bend.index_select(0, ray), 0.0)

    def midpoint(self, ray: Int[Tensor, "r"], k: Float[Tensor, "r c"]) -> Float[Tensor, "r c"]:
        return self._at(self._near[ray, None], k, self._bend[ray, None], 0.5)

    def _at(self, near: Tensor, k: Tensor, bend: Tensor, part: float) -> Tensor:
        straight = torch.add(near, k + part, alpha=self._step)
        if self._cone == 0:
            return straight
        start = (near + bend * self._step) * (1 + part * self._cone)
        grown = start * torch.exp((k - bend).clamp(min=0) * log1p(self._cone))
        return torch.where(k < bend, straight, grown)

    def index(self, t: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Return the fractional k whose midpoint is at t: its `ceil` and `floor` are the neighbouring
        intervals.
        """
        straight = (t - self._near) / self._step - 0.5
        if self._cone == 0:
            return straight
        beyond = torch.log(t.clamp(min=1e-30) / (self._turn * (1 + self._cone / 2))) / log1p(self._cone)
        return torch.where(t < self._turn, straight, self._bend + beyond)


def _range(
    origin: Float[Tensor, "n 3"],
    direction: Float[Tensor, "n 3"],
    occupied: Bool[Tensor, "l x y z"],
    lattice: _Lattice,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Return the first k and the count of lattice midpoints in the bounding box of the occupied cells (slab
    method).
    """
    low, high = _bounds(occupied)
    # 0 * inf at a face that a parallel ray lies in must not become NaN: keep the inverse finite.
    inverse = 1 / direction.masked_fill(direction.abs() < 1e-9, 1e-9)
    a, b = (low - origin) * inverse, (high - origin) * inverse
    enter = torch.minimum(a, b).amax(dim=1)
    leave = torch.maximum(a, b).amin(dim=1)
    first = torch.ceil(lattice.index(enter)).clamp(min=0)
    last = torch.floor(lattice.index(leave))
    return first, (last - first + 1).masked_fill((leave <= 0) | ~occupied.any(), 0).clamp(min=0)


def _bounds(occupied: Bool[Tensor, "l x y z"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Return the corners of the box around the occupied cells of all levels; the base box is [-1, 1]^3.

    Without a look at the numbers from the host; of an empty grid they mean nothing.
    """
    low, high = [], []
    columns = occupied.any(dim=3)
    axes = (columns.any(dim=2), columns.any(dim=1), occupied.flatten(1, 2).any(dim=1))
    scale = 2 ** torch.arange(len(occupied), device=occupied.device)[:, None]
    for slabs in axes:  # (l, cells) of x, y, z
        cells = slabs.shape[1]
        edge = (torch.arange(cells + 1, device=occupied.device) * (2.0 / cells) - 1) * scale
        low.append(edge[:, :-1].masked_fill(~slabs, torch.inf).amin())
        high.append(edge[:, 1:].masked_fill(~slabs, -torch.inf).amax())
    return torch.stack(low), torch.stack(high)
