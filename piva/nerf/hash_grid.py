"""A radiance field of a hash grid and a small network (Instant-NGP, without a dependence on the viewing
direction).

The grid's parameters lie in one vector in tiny-cuda-nn's layout; the network's matrices are (out, in),
without biases, as there.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from piva.errors import InputError
from piva.nerf.field import contract, initial_density, to_density
from piva.nerf.kernels.layout import Layout

Encode = Callable[[Tensor, Tensor, Layout], Tensor]

BEST_FIRST = {True: ("tinycudann", "triton", "torch"), False: ("numba", "torch")}  # on CUDA, elsewhere


class HashGrid(nn.Module):
    """The hash-grid field (a `Field`) over [-radius, radius]^3, or with several `levels` over all of space
    (`contract`).

    grid -> hidden ReLU units -> raw density (added to the initial one) and raw colour, through to_density and
    a sigmoid.
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
        self._initial = initial_density(levels)
        self.grid, self.hidden, self.out = nn.Parameter(grid), nn.Parameter(hidden), nn.Parameter(out)

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        return to_density(self._initial + F.linear(self._features(x), self.out[:1])[:, 0], self.radius)

    def forward(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        raw = F.linear(self._features(x), self.out)
        return to_density(self._initial + raw[:, 0], self.radius), torch.sigmoid(raw[:, 1:])

    def _features(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m h"]:
        encode = encoder(self.kernel, x.is_cuda)
        place = (contract(x, self.radius, self.levels) / 2 + 0.5).clamp(0, 1)  # in the unit cube
        return F.relu(F.linear(encode(self.grid, place, self.layout), self.hidden))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"grid": [self.grid], "network": [self.hidden, self.out]}

    def prune_unseen(
        self, optimiser: torch.optim.Optimizer, occupied: Bool[Tensor, "l r r r"], threshold: float
    ) -> None:
        """Do nothing: seen and unseen places share rows. A fit's `sparsity` has emptied them."""

    def pruned(self, threshold: float) -> "HashGrid":
        """Return the field itself: thin and dense places share rows."""
        return self


def init_hash_grid(
    layout: Layout, hidden: int, radius: float, kernel: str, generator: torch.Generator, levels: int = 1
) -> HashGrid:
    """Return an almost uniform grey field on the generator's device: tiny-cuda-nn's initial values, Xavier's
    network.
    """

    def uniform(*shape: int, bound: float) -> Tensor:
        return torch.empty(shape, device=generator.device).uniform_(-bound, bound, generator=generator)

    def matrix(rows: int, columns: int) -> Tensor:
        return uniform(rows, columns, bound=(6 / (rows + columns)) ** 0.5)

    grid = uniform(layout.size, bound=1e-4)
    return HashGrid(grid, matrix(hidden, layout.width), matrix(4, hidden), layout, radius, kernel, levels)


@cache
def encoder(name: str, cuda: bool) -> Encode:
    """Return `encode` of kernels/grid_<name>.py for CUDA or another device; "auto" is the first that this
    machine has.

    Kernels share one signature and one parameter vector, so that a field can change its kernel at any time.
    Raises `InputError` for a kernel of another kind of device, or one whose library does not load.
    """
    able = BEST_FIRST[cuda]
    if name not in ("auto", *able):
        device = "a GPU" if cuda else "the CPU"
        raise InputError("field.kernel", f"{name} for a field on {device}", f"one of auto, {', '.join(able)}")
    for each in able if name == "auto" else (name,):
        try:
            return cast(Encode, import_module(f"piva.nerf.kernels.grid_{each}").encode)
        except (ImportError, OSError) as error:  # OSError: tinycudann without a visible GPU
            reason = error
    found = f"{name}, which does not load here ({reason})"
    raise InputError("field.kernel", found, "one that does", "use field.kernel=auto")
