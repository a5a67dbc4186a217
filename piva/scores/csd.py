"""Classifier score distillation with the source as negative prompt (Yu et al. 2023)."""

from dataclasses import dataclass

from piva.priors.schedule import Schedule
from piva.ranges import at_least, one_of
from piva.scores.terms import EDIT, SOURCE, TARGET, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class CSD:
    """scale (eps(x_t, target) - eps(x_t, source)): the unconditional predictions cancel."""

    guidance_scale: float = at_least(0)
    weight: str = one_of("sigma_squared", "uniform")

    def direction(self, schedule: Schedule, t: int) -> Sum:
        return frozen(EDIT, TARGET, self.guidance_scale) - frozen(EDIT, SOURCE, self.guidance_scale)
