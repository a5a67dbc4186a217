"""What the renderer, the occupancy grid, a fit and an edit ask of a radiance field, whatever it is made of."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Field(Protocol):
    """A density (1 / scene unit, never negative) and a colour in [0, 1] at every point of the box [-radius, radius]^3.

    Both are differentiable in the field's parameters. Fields are `torch.nn.Module`s.
    """

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        """The density alone: cheaper than both."""

    def __call__(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        """Density and colour."""

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by what may have a learning rate of its own."""

    def settle(self, optimiser: torch.optim.Optimizer, threshold: float) -> None:
        """After a fit with `optimiser`: empty, as far as the field can tell, what no view has seen or is no denser than this."""

    def requires_grad_(self, requires_grad: bool = True) -> "Field": ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...
