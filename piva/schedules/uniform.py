"""Timesteps drawn uniformly (the paper, Algorithm 1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """t ~ U[t_min T, t_max T)."""

    t_min: Annotated[float, Interval(ge=0, le=1)]
    t_max: Annotated[float, Interval(ge=0, le=1)]

    def draw(self, step: int, steps: int, num_timesteps: int, generator: "torch.Generator") -> int:
        """Draw the timestep of step `step` of `steps`."""
        import torch

        low, high = round(self.t_min * num_timesteps), round(self.t_max * num_timesteps)
        return int(torch.randint(low, high, (1,), generator=generator))
