"""Timesteps drawn uniformly, later from a smaller range: ProlificDreamer's annealing (Wang et al. 2023)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from piva.priors.schedule import Schedule
from piva.ranges import check_timesteps

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Annealed:
    """From [t_min, t_max), and from [t_min, t_max_late) once a fraction `late_from` of the steps is done
    (A.1).
    """

    t_min: Annotated[float, Interval(ge=0, le=1)]
    t_max: Annotated[float, Interval(ge=0, le=1)]
    t_max_late: Annotated[float, Interval(ge=0, le=1)]
    late_from: Annotated[float, Interval(ge=0, le=1)]

    def __post_init__(self) -> None:
        for key in ("t_max", "t_max_late"):
            check_timesteps(self.t_min, getattr(self, key), key)

    def draw(self, step: int, steps: int, num_timesteps: int, generator: "torch.Generator") -> int:
        """Return the timestep of step `step` of `steps`, counted from 0, of a prior with `num_timesteps`."""
        import torch

        top = self.t_max if step < round(self.late_from * steps) else self.t_max_late
        low, high = round(self.t_min * num_timesteps), round(top * num_timesteps)
        return int(torch.randint(low, high, (1,), generator=generator))

    def length(self, step: int, steps: int, noise: Schedule) -> None:
        """Leave the length of steps to the task's optimiser."""
