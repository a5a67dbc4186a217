"""Timesteps drawn uniformly: SDS's and DDS's habit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from piva.priors.schedule import Schedule
from piva.ranges import check_timesteps

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """From [t_min, t_max), fractions of the prior's timesteps."""

    t_min: Annotated[float, Interval(ge=0, le=1)]
    t_max: Annotated[float, Interval(ge=0, le=1)]

    def __post_init__(self) -> None:
        check_timesteps(self.t_min, self.t_max)

    def draw(self, step: int, steps: int, num_timesteps: int, generator: "torch.Generator") -> int:
        """Return the timestep of step `step` of `steps`, counted from 0, of a prior with `num_timesteps`."""
        import torch

        low, high = round(self.t_min * num_timesteps), round(self.t_max * num_timesteps)
        return int(torch.randint(low, high, (1,), generator=generator))

    def length(self, step: int, steps: int, noise: Schedule) -> None:
        """Leave the length of steps to the task's optimiser."""
