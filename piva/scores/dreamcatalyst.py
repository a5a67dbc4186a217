"""DreamCatalyst's direction (Kim et al. 2024), without its InstructPix2Pix backbone and FreeU."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, LATENT_DIFFERENCE, NULL, ORIGINAL, TARGET, Sum, delta, frozen


@dataclass(frozen=True, kw_only=True)
class DreamCatalyst:
    """(δ + γ τ^(1/e)) [eps(x_t, target) - eps(xhat_t, source)] + χ e^τ (x - xhat), with τ = t / T.

    The constants are the reference code's: δ 0.2, γ 0.8, χ 0.075. So is a source prediction without text,
    `source_text: none` (there guided by InstructPix2Pix's picture, which is left out), beside timesteps that
    fall from 0.9 to 0.2 (`schedule=decreasing`); the paper's equation has the guided source prompt.
    """

    guidance_scale: Annotated[float, Ge(0)]
    guidance_source: Annotated[float, Ge(0)] | None = None  # of the source; None: the same
    source_text: Literal["guided", "none"]
    delta: Annotated[float, Ge(0)]
    gamma: Annotated[float, Ge(0)]
    chi: Annotated[float, Ge(0)]
    weight: Literal["sigma_squared", "uniform", "own"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        tau = t / len(schedule)
        edit = delta(self.guidance_scale, self.guidance_source, ORIGINAL)
        if self.source_text == "none":
            edit = frozen(EDIT, TARGET, self.guidance_scale) - frozen(ORIGINAL, NULL, 1.0)
        weight: float = self.delta + self.gamma * tau ** (1 / math.e)
        return weight * edit + self.chi * math.exp(tau) * LATENT_DIFFERENCE
