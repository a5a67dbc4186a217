"""From a field's raw numbers to densities: the same for every field, so that thresholds and learning rates mean the same."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

FLOOR = -4.0  # raw density of empty space: there softplus still passes on 2 % of a gradient, so empty space can fill again
START = -1.0  # raw density before anything is known: a fog dense enough for the occupancy grid to keep
OPEN_START = (
    -2.5
)  # likewise where there is more than the box: so thin that what is far away is seen from the first step on
SHARPNESS = 20.0  # optical depth of half the box at softplus 1: at raw 5 one cell of a 64^3 grid holds back 95 % of the light


def fog(levels: int) -> float:
    """The raw density of a field of so many levels (space.py) before anything is known."""
    return START if levels == 1 else OPEN_START


def to_density(raw: Float[Tensor, "*n"], radius: float) -> Float[Tensor, "*n"]:
    """SHARPNESS / radius * (softplus(max(raw, FLOOR)) - softplus(FLOOR)), in 1 / scene unit: exactly 0 at and below FLOOR."""
    floored: Tensor = _Floor.apply(raw)
    return SHARPNESS / radius * (F.softplus(floored) - F.softplus(floored.new_tensor(FLOOR)))


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
