"""Score distillation sampling (Poole et al. 2022; the paper's Eq. 2)."""

from dataclasses import dataclass

from piva.priors.schedule import Schedule
from piva.ranges import at_least, one_of
from piva.scores.terms import EDIT, NOISE, TARGET, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class SDS:
    """eps(x_t, target) - eps: knows nothing of the original."""

    guidance_scale: float = at_least(0)
    weight: str = one_of("sigma_squared", "uniform")

    def direction(self, schedule: Schedule, t: int) -> Sum:
        return frozen(EDIT, TARGET, self.guidance_scale) - NOISE
