"""Asynchronous score distillation (Ma et al. 2024): a later timestep predicts the noise."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, TARGET, Latents, Noised, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class ASD:
    """eps(x_t, target), guided, - eps(x_t', target) at t' = t + plus (t - t_min), which has no guidance.

    Like SDS and VSD it does not use the original; the later timestep stands for VSD's learned model. The
    constants are the reference code's: guidance 7.5, `plus` 0.1, `t_min` 0.02 of T, weight sigma^2.
    """

    guidance_scale: Annotated[float, Ge(0)]
    plus: Annotated[float, Ge(0)]
    t_min: Annotated[float, Interval(ge=0, le=1)]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        last, first = len(schedule) - 1, round(self.t_min * len(schedule))
        later = min(t + int(self.plus * max(t - first, 0)), last)
        seen: Latents | Noised = Noised(EDIT, t=later) if later > t else EDIT
        return frozen(EDIT, TARGET, self.guidance_scale) - frozen(seen, TARGET, 1.0)
