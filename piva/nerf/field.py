"""What all radiance fields share: their protocol, the activation of their density, the contraction of
unbounded space.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FLOOR = -4.0  # raw density of empty space: softplus still passes on 2 % of a gradient, so it can fill again
INITIAL = -1.0  # raw density before a fit: dense enough for the occupancy grid to keep
INITIAL_OPEN = -2.5  # likewise of unbounded space: so thin that what is far is seen from the first step on
SHARPNESS = (
    20.0  # optical depth of half the box at softplus 1: at raw 5 a cell of a 64^3 grid stops 95 % of light
)


@runtime_checkable
class Grouped(Protocol):
    """What is optimised, of any representation."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters, by what may have a learning rate of its own."""


@runtime_checkable
class Field(Protocol):
    """A density (1 / scene unit, never negative) and a colour in [0, 1] at every point of the box [-radius,
    radius]^3.

    Both are differentiable in the field's parameters. Fields are `torch.nn.Module`s.
    """

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        """Return the density alone: cheaper than both."""

    def __call__(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        """Return density and colour."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters, by what may have a learning rate of its own."""

    def prune_unseen(
        self, optimiser: torch.optim.Optimizer, occupied: Bool[Tensor, "l r r r"], threshold: float
    ) -> None:
        """Empty, after a fit with `optimiser` through `occupied` cells, what no view has seen or is at most
        `threshold` dense, as far as known.
        """

    def pruned(self, threshold: float) -> "Field":
        """Return the field without what is at most `threshold` dense, as far as known."""

    def requires_grad_(self, requires_grad: bool = True) -> "Field": ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...


def initial_density(levels: int) -> float:
    """Return the raw density before a fit of a field with `levels` levels (`contract`)."""
    return INITIAL if levels == 1 else INITIAL_OPEN


def to_density(raw: Float[Tensor, "*n"], radius: float) -> Float[Tensor, "*n"]:
    """Return SHARPNESS / radius * (softplus(max(raw, FLOOR)) - softplus(FLOOR)), in 1 / scene unit: 0 up to
    FLOOR.

    It is the same for every field, so that thresholds and learning rates mean the same.
    """
    floored: Tensor = _Floor.apply(raw)
    return SHARPNESS / radius * (F.softplus(floored) - F.softplus(floored.new_full((), FLOOR)))


def contract(x: Float[Tensor, "m 3"], radius: float, levels: int) -> Float[Tensor, "m 3"]:
    """Return where points of the world lie in a field's cube [-1, 1]^3.

    With one level the box [-radius, radius]^3 fills the cube. With more, all of space does: the box takes the
    middle half, [-1/2, 1/2]^3, and x beyond goes to (2 - 1/|x|) x/|x| / 2 with |x| the largest coordinate in
    units of the radius: mip-NeRF 360's contraction (Barron et al. 2022, Eq. 10) in nerfacto's norm, in which
    a box stays a box.
    """
    x = x / radius
    if levels == 1:
        return x
    norm = x.abs().amax(dim=-1, keepdim=True).clamp(min=1)
    return x * (2 - 1 / norm) / (2 * norm)


class _Floor(torch.autograd.Function):
    """max(x, FLOOR), whose gradient at and below FLOOR passes only if descent would raise x: empty space can
    fill.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=FLOOR)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad.masked_fill(~((x > FLOOR) | (grad < 0)), 0)
