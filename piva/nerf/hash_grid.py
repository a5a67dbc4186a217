"""A radiance field of a hash grid and a small network (Instant-NGP, without a dependence on the direction of view).

The grid's parameters lie in one vector in tiny-cuda-nn's layout; the network's matrices are (out, in), without biases, as there.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from piva.nerf.activation import fog, to_density
from piva.nerf.kernels.choose import encoder
from piva.nerf.kernels.layout import Layout
from piva.nerf.space import into_cube


class HashGrid(nn.Module):
    """The hash-grid field (a `Field`) over [-radius, radius]^3, or with more than one of `levels` over all of space (space.py).

    grid -> hidden ReLU units -> raw density (on top of a fit's first fog) and raw colour, through to_density and a sigmoid.
    """

    def __init__(
        self,
        grid: Float[Tensor, "size"],
        hidden: Float[Tensor, "h width"],
        out: Float[Tensor, "4 h"],
        layout: Layout,
        radius: float,
        kernel: str,
        levels: int,
    ) -> None:
        super().__init__()
        self.layout, self.radius, self.kernel, self.levels = layout, radius, kernel, levels
        self._start = fog(levels)
        self.grid, self.hidden, self.out = nn.Parameter(grid), nn.Parameter(hidden), nn.Parameter(out)

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        return to_density(self._start + F.linear(self._units(x), self.out[:1])[:, 0], self.radius)

    def forward(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        raw = F.linear(self._units(x), self.out)
        return to_density(self._start + raw[:, 0], self.radius), torch.sigmoid(raw[:, 1:])

    def _units(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m h"]:
        encode = encoder(self.kernel, x.is_cuda)
        place = (into_cube(x, self.radius, self.levels) / 2 + 0.5).clamp(0, 1)  # in the unit cube
        return F.relu(F.linear(encode(self.grid, place, self.layout), self.hidden))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"grid": [self.grid], "network": [self.hidden, self.out]}

    def settle(self, optimiser: torch.optim.Optimizer, threshold: float) -> None:
        """Nothing: seen and unseen places share rows. A fit's `sparsity` has emptied them."""


def unknown(
    layout: Layout, hidden: int, radius: float, kernel: str, generator: torch.Generator, levels: int = 1
) -> HashGrid:
    """An almost uniform grey fog, on the generator's device: tiny-cuda-nn's initial values (the network's are Xavier's)."""

    def uniform(*shape: int, bound: float) -> Tensor:
        return torch.empty(shape, device=generator.device).uniform_(-bound, bound, generator=generator)

    def matrix(rows: int, columns: int) -> Tensor:
        return uniform(rows, columns, bound=(6 / (rows + columns)) ** 0.5)

    grid = uniform(layout.size, bound=1e-4)
    return HashGrid(grid, matrix(hidden, layout.width), matrix(4, hidden), layout, radius, kernel, levels)
