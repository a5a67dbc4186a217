"""Localized update score distillation (Chinchuthakun et al. 2025), without its attention mask."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Interval

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, LATENT_DIFFERENCE, Sum, delta


@dataclass(frozen=True, kw_only=True)
class LUSD:
    """(1 - keep) [eps(x_t, target) - eps(x_t, source)] + keep (x - xhat), brought to a standard deviation.

    The constants are the reference code's: keep 0.02, a `deviation` between 0.15 and 0.01, `threshold` 0.01;
    t is from 0.05 to 0.95, and 300 steps of SGD have a constant rate of 2000 / 64^2. That code draws t anew
    while the predictions differ by less than the threshold; here such a step changes nothing, as asking would
    wait for the device.
    """

    keep: Annotated[float, Interval(ge=0, le=1)]
    deviation_high: Annotated[float, Gt(0)]
    deviation_low: Annotated[float, Gt(0)]
    threshold: Annotated[float, Gt(0)]
    weight: Literal["sigma_squared", "uniform", "own"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        return (1 - self.keep) * delta(1.0, None, EDIT) + self.keep * LATENT_DIFFERENCE

    def deviation(self, progress: float) -> float:
        """Return the direction's standard deviation: sigmoids of -1 to 1 between high and low."""
        low, high = self.deviation_low, self.deviation_high
        return low + (high - low) / (1 + math.exp(2 * progress - 1))
