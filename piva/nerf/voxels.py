"""A radiance field of two voxel grids, density and colour, without a network: the fastest field on a CPU.

Grids are indexed [x, y, z] like the occupancy grid. Their outermost nodes lie on the faces of the cube that
`contract` maps space to (with one level the box [-radius, radius]^3). Raw values are trilinear between nodes;
`to_density` acts on the interpolated ones.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from piva.nerf.field import FLOOR, contract, to_density

WORTH_THREADS = 1 << 15  # points from which on threads gain more than their copies of the gradient cost


class Voxels(nn.Module):
    """The voxel field (a `Field`) over [-radius, radius]^3, or over all of space with several levels.

    `raw_density` and `raw_colour` are separate parameters because they want separate learning rates.
    """

    def __init__(
        self,
        raw_density: Float[Tensor, "1 1 r r r"],
        raw_colour: Float[Tensor, "1 3 r r r"],
        radius: float,
        levels: int = 1,
    ) -> None:
        super().__init__()
        self.radius, self.levels = radius, levels
        self.raw_density = nn.Parameter(raw_density)
        self.raw_colour = nn.Parameter(raw_colour)

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        return to_density(self._interpolate(self.raw_density, x)[:, 0], self.radius)

    @torch.no_grad()
    def node_density(self) -> Float[Tensor, "r r r"]:
        """Return the density at the nodes. Not differentiable."""
        return to_density(self.raw_density[0, 0], self.radius)

    def forward(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        return self.density(x), torch.sigmoid(self._interpolate(self.raw_colour, x))

    def _interpolate(self, grid: Float[Tensor, "1 c r r r"], x: Float[Tensor, "m 3"]) -> Float[Tensor, "m c"]:
        place = contract(x, self.radius, self.levels).flip(-1)  # grid_sample names the last axis first
        parts = torch.get_num_threads() if place.device.type == "cpu" and len(place) >= WORTH_THREADS else 1
        return _sampled(grid, place, parts)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"density": [self.raw_density], "colour": [self.raw_colour]}

    @torch.no_grad()
    def upsample(self, resolution: int) -> "Voxels":
        """Return the same field on a grid of `resolution`^3 nodes."""
        density, colour = (
            F.interpolate(grid, (resolution,) * 3, mode="trilinear", align_corners=True)
            for grid in (self.raw_density, self.raw_colour)
        )
        return Voxels(density, colour, self.radius, self.levels)

    @torch.no_grad()
    def smooth_change(self, start: "Voxels", density: float, colour: float) -> None:
        """Add to the gradients those of weight/2 * sum |grad(raw - raw of `start`)|^2 over the nodes of each
        grid.

        What an edit changes then varies smoothly over the object; the detail that was there before stays.
        """
        pairs = ((self.raw_density, start.raw_density, density), (self.raw_colour, start.raw_colour, colour))
        for now, before, weight in pairs:
            if weight:
                assert now.grad is not None
                _add_roughness(now.grad, now - before, weight)

    @torch.no_grad()
    def coarsen_gradient(self, resolution: int) -> None:
        """Replace the gradients by those of a change on `resolution`^3 cells, spread over the nodes again.

        An optimiser that normalises each node's step then moves neighbours alike, so that a new shape can
        begin, and noise far below a cell's mean gradient begins nothing.
        """
        for grid in (self.raw_density, self.raw_colour):
            if grid.grad is not None and resolution < grid.shape[-1]:
                cells = F.adaptive_avg_pool3d(grid.grad, resolution)
                grid.grad.copy_(F.interpolate(cells, grid.shape[2:], mode="trilinear"))

    @torch.no_grad()
    def shrink_change(self, start: "Voxels", density: float, colour: float) -> None:
        """Bring each raw value nearer to that of `start`, by at most so much: the proximal step of an L1."""
        pairs = ((self.raw_density, start.raw_density, density), (self.raw_colour, start.raw_colour, colour))
        for now, before, most in pairs:
            now.copy_(before + F.softshrink(now - before, most))

    def prune_unseen(
        self, optimiser: torch.optim.Optimizer, occupied: Bool[Tensor, "l r r r"], threshold: float
    ) -> None:
        """Empty the nodes that no ray has moved: else they would show wherever an edit opens the occupancy
        grid; and in a box those in cells that rays skip at the end: nobody has asked them to be what they
        are, and what they give to the cells beside is seen as specks.
        """
        unseen = optimiser.state[self.raw_density]["exp_avg_sq"][0, 0] == 0
        if self.levels == 1:
            unseen |= ~_at_nodes(occupied[0], unseen.shape[0])
        self.empty(unseen | (self.node_density() <= threshold))

    def pruned(self, threshold: float) -> "Voxels":
        """Return a copy whose nodes of at most this density are empty: an edit leaves a haze of them around
        what it changes.
        """
        kept = copy.deepcopy(self)
        kept.empty(self.node_density() <= threshold)
        return kept

    @torch.no_grad()
    def empty(self, nodes: Bool[Tensor, "r r r"]) -> None:
        """Set the density of these nodes to 0 (between them to rounding)."""
        self.raw_density[0, 0].masked_fill_(nodes, FLOOR)


def _at_nodes(cells: Bool[Tensor, "x x x"], nodes: int) -> Bool[Tensor, "r r r"]:
    """Return the cell that each of `nodes`^3 nodes lies in."""
    count = cells.shape[0]
    place = torch.arange(nodes, device=cells.device) * count // (nodes - 1)
    place.clamp_(max=count - 1)
    return cells[place][:, place][:, :, place]


def init_voxels(
    resolution: int, radius: float, raw_density: float, device: torch.device, levels: int = 1
) -> Voxels:
    """Return a grey field of one raw density everywhere."""
    size = (resolution,) * 3
    density = torch.full((1, 1, *size), raw_density, device=device)
    return Voxels(density, torch.zeros((1, 3, *size), device=device), radius, levels)


def _sampled(
    grid: Float[Tensor, "1 c r r r"], place: Float[Tensor, "m 3"], parts: int
) -> Float[Tensor, "m c"]:
    """Return trilinear values at `place` in [-1, 1]^3, order z, y, x. On a CPU grid_sample gives each part a
    thread.
    """
    points = F.pad(place, (0, 0, 0, -len(place) % parts)).view(parts, 1, 1, -1, 3)
    values = F.grid_sample(
        grid.expand(parts, -1, -1, -1, -1), points, align_corners=True, padding_mode="border"
    )
    return values.movedim(1, -1).reshape(-1, grid.shape[1])[: len(place)]


def _add_roughness(
    gradient: Float[Tensor, "1 c r r r"], grid: Float[Tensor, "1 c r r r"], weight: float
) -> None:
    """Add to `gradient` that of weight/2 * the sum of squared differences between neighbouring nodes, in
    place.
    """
    for axis in (2, 3, 4):
        step = grid.diff(dim=axis)
        gradient.narrow(axis, 0, step.shape[axis]).sub_(step, alpha=weight)
        gradient.narrow(axis, 1, step.shape[axis]).add_(step, alpha=weight)
