"""Timesteps whose range narrows (ProlificDreamer, Wang et al. 2023, Section 3.3 there; the paper, A.1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Annealed:
    """t ~ U[t_min T, t_max T), and U[t_min T, t_max_late T) from the part `late_from` of the steps on."""

    t_min: Annotated[float, Interval(ge=0, le=1)]
    t_max: Annotated[float, Interval(ge=0, le=1)]
    t_max_late: Annotated[float, Interval(ge=0, le=1)]
    late_from: Annotated[float, Interval(ge=0, le=1)]

    def draw(self, step: int, steps: int, num_timesteps: int, generator: "torch.Generator") -> int:
        """Draw the timestep of step `step` of `steps`."""
        import torch

        top = self.t_max if step < round(self.late_from * steps) else self.t_max_late
        low, high = round(self.t_min * num_timesteps), round(top * num_timesteps)
        return int(torch.randint(low, high, (1,), generator=generator))
