"""What the renderer and the occupancy grid ask of a radiance field, whatever it is made of."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Field(Protocol):
    """A density (1 / scene unit, never negative) and a colour in [0, 1] at every point of the box [-radius, radius]^3.

    Both are differentiable in the field's parameters. Fields are also `torch.nn.Module`s.
    """

    def density(self, x: Float[Tensor, "m 3"]) -> Float[Tensor, "m"]:
        """The density alone: cheaper than both."""

    def __call__(self, x: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
        """Density and colour."""
