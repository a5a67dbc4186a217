"""Variational score distillation (Wang et al. 2023; the paper's Eq. 3)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, TARGET, Sum, frozen, target_model


@dataclass(frozen=True, kw_only=True)
class VSD:
    """eps(x_t, target) - eps_phi(x_t, target), where eps_phi follows the renders."""

    guidance_scale: Annotated[float, Ge(0)]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        return frozen(EDIT, TARGET, self.guidance_scale) - target_model(EDIT, TARGET)
