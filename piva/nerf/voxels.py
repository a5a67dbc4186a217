"""A radiance field of two voxel grids, density and colour, without a network: the fastest field on a CPU.

Grids are indexed [x, y, z] like the occupancy grid; their outermost nodes lie on the faces of the cube that `into_cube` maps
space to, with one level those of the box [-radius, radius]^3, and values between nodes are trilinear.
The density parameter is *raw*: it becomes a density by a softplus that is exactly 0 at FLOOR.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from piva.nerf.space import into_cube

FLOOR = -4.0  # raw density of empty space: there softplus still passes on 2 % of a gradient, so empty space can fill again
SHARPNESS = 20.0  # optical depth of half the box at softplus 1: at raw 5 one cell of a 64^3 grid holds back 95 % of the light


class Voxels(nn.Module):
    """The voxel field (a `Field`) over [-radius, radius]^3, or over all of space if there are several levels.

    `raw_density` and `raw_colour` are separate parameters because they want separate learning rates.
    """

    def __init__(
        self, raw_density: Float[Tensor, "1 1 r r r"], raw_colour: Float[Tensor, "1 3 r r r"], radius: float, levels: int = 1
    ) -> None:
        super().__init__()
        self.radius, self.levels = radius, levels
        self.raw_density = nn.Parameter(raw_density)
        self.raw_colour = nn.Parameter(raw_colour)

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        """SHARPNESS / radius * (softplus(max(raw, FLOOR)) - softplus(FLOOR)), in 1 / scene unit."""
        return self._activate(self._interpolate(self.raw_density, x)[:, 0])

    @torch.no_grad()
    def node_density(self) -> Float[Tensor, "r r r"]:
        """The density at the nodes themselves. Not differentiable."""
        return self._activate(self.raw_density[0, 0])

    def forward(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        return self.density(x), torch.sigmoid(self._interpolate(self.raw_colour, x))

    def _activate(self, raw: Tensor) -> Tensor:
        floored: Tensor = _Floor.apply(raw)
        return SHARPNESS / self.radius * (F.softplus(floored) - F.softplus(floored.new_tensor(FLOOR)))

    def _interpolate(self, grid: Float[Tensor, "1 c r r r"], x: Float[Tensor, "m 3"]) -> Float[Tensor, "m c"]:
        place = into_cube(x, self.radius, self.levels).flip(-1)  # grid_sample names the last axis first
        return F.grid_sample(grid, place[None, None, None], align_corners=True, padding_mode="border")[0, :, 0, 0].T

    @torch.no_grad()
    def upsample(self, resolution: int) -> "Voxels":
        """The same field on a grid of `resolution`^3 nodes."""
        size = (resolution, resolution, resolution)
        grids = [F.interpolate(g, size, mode="trilinear", align_corners=True) for g in (self.raw_density, self.raw_colour)]
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

    @torch.no_grad()
    def empty(self, nodes: Bool[Tensor, "r r r"]) -> None:
        """Make the density of these nodes 0 (between them to rounding)."""
        self.raw_density[0, 0].masked_fill_(nodes, FLOOR)


def uniform(resolution: int, radius: float, raw_density: float, device: torch.device, levels: int = 1) -> Voxels:
    """A grey field of one raw density everywhere."""
    size = (resolution, resolution, resolution)
    density = torch.full((1, 1, *size), raw_density, device=device)
    return Voxels(density, torch.zeros((1, 3, *size), device=device), radius, levels)


def _add_roughness(gradient: Float[Tensor, "1 c r r r"], grid: Float[Tensor, "1 c r r r"], weight: float) -> None:
    """Add to `gradient` that of weight/2 * the sum of squared differences between neighbouring nodes, in place."""
    for axis in (2, 3, 4):
        step = grid.diff(dim=axis)
        gradient.narrow(axis, 0, step.shape[axis]).sub_(step, alpha=weight)
        gradient.narrow(axis, 1, step.shape[axis]).add_(step, alpha=weight)


class _Floor(torch.autograd.Function):
    """max(x, FLOOR) whose gradient at and below FLOOR passes only if descent would raise x: empty space can fill, not sink."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=FLOOR)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > FLOOR) | (grad < 0), grad, 0)
