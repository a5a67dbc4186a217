"""Score distillation sampling (Poole et al. 2022; the paper's Eq. 2)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, NOISE, TARGET, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class SDS:
    """eps(x_t, target) - eps, which does not use the original."""

    guidance_scale: Annotated[float, Ge(0)]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        return frozen(EDIT, TARGET, self.guidance_scale) - NOISE
