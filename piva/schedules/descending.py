"""Timesteps that descend evenly, once through, with steps whose length follows from them: FlowEdit's."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Interval

from piva.priors.schedule import Schedule
from piva.ranges import check_timesteps

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Descending:
    """t_1 > t_2 > ... in even steps from `t_max` to `t_min`, parts of the prior's timesteps.

    With s = sigma / alpha, and s = 0 after the last step, each step is x <- x - length * direction, without a
    learning rate or w(t):
        flow: s_i - s_(i+1). DDS with it is FlowEdit (Kulikov et al. 2025), whose x - xhat is 1 - t times ours
            at its own timestep t = sigma / (alpha + sigma).
        edit_friendly: (s_i^2 - s_(i+1)^2) / s_i, up to twice that: DDS with it is DDS-EF of TurboEdit
            (Deutsch et al. 2024), written there (1 - abar_i / abar_(i+1)) / (alpha_i sigma_i).
    """

    t_min: Annotated[float, Interval(ge=0, le=1)]
    t_max: Annotated[float, Interval(ge=0, le=0.99)]  # alpha may be 0 at the last timestep, and s infinite
    step: Literal["flow", "edit_friendly"]

    def __post_init__(self) -> None:
        check_timesteps(self.t_min, self.t_max)

    def draw(self, step: int, steps: int, num_timesteps: int, generator: "torch.Generator") -> int:
        """Return the timestep of step `step` of `steps`, counted from 0, of a prior with `num_timesteps`."""
        return self._timestep(step, steps, num_timesteps)

    def length(self, step: int, steps: int, noise: Schedule) -> float:
        """Return how far step `step` of `steps`, counted from 0, goes along the direction."""
        s, following = (
            noise.noise_to_signal(self._timestep(i, steps, len(noise))) if i < steps else 0.0
            for i in (step, step + 1)
        )
        return s - following if self.step == "flow" else (s**2 - following**2) / s

    def _timestep(self, step: int, steps: int, num_timesteps: int) -> int:
        t = self.t_max - (self.t_max - self.t_min) * step / max(steps - 1, 1)
        return min(round(t * num_timesteps), num_timesteps - 1)
