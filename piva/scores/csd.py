"""Classifier score distillation with the source as negative prompt (Yu et al. 2023)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, Sum, delta


@dataclass(frozen=True, kw_only=True)
class CSD:
    """scale (eps(x_t, target) - eps(x_t, source)): the unconditional predictions cancel."""

    guidance_scale: Annotated[float, Ge(0)]
    guidance_source: Annotated[float, Ge(0)] | None = None  # of the source; None: the same
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        return delta(self.guidance_scale, self.guidance_source, EDIT)
