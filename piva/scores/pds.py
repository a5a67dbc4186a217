"""Posterior distillation sampling (Koo et al. 2023), after the reference code's arithmetic."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from piva.priors.schedule import Schedule
from piva.scores.terms import LATENT_DIFFERENCE, ORIGINAL, Sum, delta


@dataclass(frozen=True, kw_only=True)
class PDS:
    """z_t(edit) - z_t(original), the difference of the two stochastic latents

        z_t = (x_t' - mu_t) / s_t,   mu_t = c0 x0(x_t, eps) + c1 x_t,   t' = t - gap.

    Both latents share the noise at t and at t', so the noise drops out and a weighted difference of
    predictions and of clean latents is left. The identity term on x - xhat is zero for gap 1: it exists only
    because the reference code takes beta_t of one step on a grid of every second timestep (gap 2).
    """

    guidance_scale: Annotated[float, Ge(0)]
    guidance_source: Annotated[float, Ge(0)] | None = None  # of the source; None: the same
    gap: Annotated[int, Interval(ge=1, le=999)]
    weight: Literal["sigma_squared", "uniform", "own"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        previous = max(t - self.gap, 0)
        abar, abar_previous = schedule.alphas_cumprod[t], schedule.alphas_cumprod[previous]
        alpha = abar / schedule.alphas_cumprod[t - 1] if t else abar  # 1 - beta_t, of the one step to t
        beta = 1 - alpha
        s = math.sqrt((1 - abar_previous) / (1 - abar) * beta)
        c0 = math.sqrt(abar_previous) * beta / (1 - abar)
        c1 = math.sqrt(alpha) * (1 - abar_previous) / (1 - abar)

        predicted = delta(self.guidance_scale, self.guidance_source, ORIGINAL)
        # x0(x_t, eps) = (x_t - sigma_t eps) / alpha_t, and x_t - xhat_t = alpha_t (x - xhat)
        on_predictions = c0 * schedule.sigma(t) / schedule.alpha(t) / s
        on_difference = (math.sqrt(abar_previous) - c0 - c1 * schedule.alpha(t)) / s
        if abs(on_difference) < 1e-9 / s:  # consecutive timesteps: zero but for rounding
            on_difference = 0.0
        return on_predictions * predicted + on_difference * LATENT_DIFFERENCE
