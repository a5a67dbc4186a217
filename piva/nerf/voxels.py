"""A radiance field of two voxel grids, density and colour, without a network: the fastest field on a CPU.

Grids are indexed [x, y, z] like the occupancy grid; their outermost nodes lie on the faces of the cube that `into_cube` maps
space to, with one level those of the box [-radius, radius]^3, and values between nodes are trilinear. Densities are made of
the raw ones between the nodes (activation.py).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from piva.nerf.activation import FLOOR, to_density
from piva.nerf.space import into_cube

WORTH_THREADS = (
    1 << 15
)  # points from which on a copy of the gradient for each thread costs less than a thread gains


class Voxels(nn.Module):
    """The voxel field (a `Field`) over [-radius, radius]^3, or over all of space if there are several levels.

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
        """The density at the nodes themselves. Not differentiable."""
        return to_density(self.raw_density[0, 0], self.radius)

    def forward(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        return self.density(x), torch.sigmoid(self._interpolate(self.raw_colour, x))

    def _interpolate(self, grid: Float[Tensor, "1 c r r r"], x: Float[Tensor, "m 3"]) -> Float[Tensor, "m c"]:
        place = into_cube(x, self.radius, self.levels).flip(-1)  # grid_sample names the last axis first
        parts = torch.get_num_threads() if place.device.type == "cpu" and len(place) >= WORTH_THREADS else 1
        return _sampled(grid, place, parts)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"density": [self.raw_density], "colour": [self.raw_colour]}

    @torch.no_grad()
    def upsample(self, resolution: int) -> "Voxels":
        """The same field on a grid of `resolution`^3 nodes."""
        size = (resolution, resolution, resolution)
        grids = [
            F.interpolate(g, size, mode="trilinear", align_corners=True)
            for g in (self.raw_density, self.raw_colour)
        ]
        return Voxels(grids[0], grids[1], self.radius, self.levels)

    @torch.no_grad()
    def smooth_change(self, start: "Voxels", density: float, colour: float) -> None:
        """Add to the gradients those of weight/2 * sum |grad(raw - raw of `start`)|^2 over the nodes of each grid.

        What an edit changes then varies smoothly over the object, while the detail that was there before is left alone.
        """
        pairs = ((self.raw_density, start.raw_density, density), (self.raw_colour, start.raw_colour, colour))
        for now, before, weight in pairs:
            if weight:
                assert now.grad is not None
                _add_roughness(now.grad, now - before, weight)

    def settle(self, optimiser: torch.optim.Optimizer, threshold: float) -> None:
        """Empty the nodes that no ray has moved: without this their fog appears wherever an edit opens the occupancy grid."""
        unseen = optimiser.state[self.raw_density]["exp_avg_sq"][0, 0] == 0
        self.empty(unseen | (self.node_density() <= threshold))

    @torch.no_grad()
    def empty(self, nodes: Bool[Tensor, "r r r"]) -> None:
        """Make the density of these nodes 0 (between them to rounding)."""
        self.raw_density[0, 0].masked_fill_(nodes, FLOOR)


def uniform(
    resolution: int, radius: float, raw_density: float, device: torch.device, levels: int = 1
) -> Voxels:
    """A grey field of one raw density everywhere."""
    size = (resolution, resolution, resolution)
    density = torch.full((1, 1, *size), raw_density, device=device)
    return Voxels(density, torch.zeros((1, 3, *size), device=device), radius, levels)


def _sampled(
    grid: Float[Tensor, "1 c r r r"], place: Float[Tensor, "m 3"], parts: int
) -> Float[Tensor, "m c"]:
    """Trilinear values at `place`, in [-1, 1]^3 and in order z, y, x. On a CPU grid_sample gives each part a thread."""
    points = F.pad(place, (0, 0, 0, -len(place) % parts)).view(parts, 1, 1, -1, 3)
    values = F.grid_sample(
        grid.expand(parts, -1, -1, -1, -1), points, align_corners=True, padding_mode="border"
    )
    return values.movedim(1, -1).reshape(-1, grid.shape[1])[: len(place)]


def _add_roughness(
    gradient: Float[Tensor, "1 c r r r"], grid: Float[Tensor, "1 c r r r"], weight: float
) -> None:
    """Add to `gradient` that of weight/2 * the sum of squared differences between neighbouring nodes, in place."""
    for axis in (2, 3, 4):
        step = grid.diff(dim=axis)
        gradient.narrow(axis, 0, step.shape[axis]).sub_(step, alpha=weight)
        gradient.narrow(axis, 1, step.shape[axis]).add_(step, alpha=weight)
