"""Stable score distillation (Zhu et al. 2025), without its FreeU and masks."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, LATENT_DIFFERENCE, NULL, ORIGINAL, SOURCE, TARGET, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class SSD:
    """keep [eps(x_t, source) - eps(xhat_t)] + edit [eps(x_t, target) - eps(x_t, source)]
    + enhance [eps(x_t, target) - eps(x_t)] + χ e^τ (x_t - xhat_t), with τ = t / T and eps(x_t) unconditional.

    The constants are the reference code's: keep 1, edit 3.75 (halves of its image_scale 2 and guidance_scale
    7.5), enhance 5.5, χ 0.075. Its timesteps fall from 0.98 to 0.02: `schedule=decreasing`.
    """

    keep: Annotated[float, Ge(0)]
    edit: Annotated[float, Ge(0)]
    enhance: Annotated[float, Ge(0)]
    chi: Annotated[float, Ge(0)]
    weight: Literal["sigma_squared", "uniform", "own"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        target, source, null = (frozen(EDIT, prompt, 1.0) for prompt in (TARGET, SOURCE, NULL))
        keep, tau = source - frozen(ORIGINAL, NULL, 1.0), t / len(schedule)
        difference = schedule.alpha(t) * LATENT_DIFFERENCE  # x_t - xhat_t
        change = self.edit * (target - source) + self.enhance * (target - null)
        return self.keep * keep + change + self.chi * math.exp(tau) * difference
