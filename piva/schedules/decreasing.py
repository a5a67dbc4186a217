"""Timesteps that fall in the course of a run, as DreamCatalyst's and SSD's do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from piva.errors import InputError
from piva.priors.schedule import Schedule
from piva.ranges import check_timesteps

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Decreasing:
    """From a window of `width` that slides in a straight line from below `t_max` down to `t_min`.

    All are parts of the prior's timesteps; a `width` of 0 leaves nothing to chance.
    """

    t_min: Annotated[float, Interval(ge=0, le=1)]
    t_max: Annotated[float, Interval(ge=0, le=1)]
    width: Annotated[float, Interval(ge=0, le=1)]

    def __post_init__(self) -> None:
        check_timesteps(self.t_min, self.t_max)
        if self.width > self.t_max - self.t_min + 1e-9:  # 0.98 - 0.02 is not quite 0.96
            wanted = f"at most t_max - t_min ({self.t_max - self.t_min:g})"
            raise InputError("schedule.width", f"{self.width:g}", wanted)

    def draw(self, step: int, steps: int, num_timesteps: int, generator: "torch.Generator") -> int:
        """Return the timestep of step `step` of `steps`, counted from 0, of a prior with `num_timesteps`."""
        import torch

        first, last = self.t_max - self.width, self.t_min
        bottom = first - (first - last) * step / max(steps - 1, 1)
        low, high = round(bottom * num_timesteps), round((bottom + self.width) * num_timesteps)
        return min(int(torch.randint(low, max(high, low + 1), (1,), generator=generator)), num_timesteps - 1)

    def length(self, step: int, steps: int, noise: Schedule) -> None:
        """Leave the length of steps to the task's optimiser."""
