"""Piva: DDS with a variational term that keeps the original's identity (the paper's Eq. 9)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, SOURCE, TARGET, Latents, Sum, delta, source_model, target_model


@dataclass(frozen=True, kw_only=True)
class Piva:
    """[eps(x_t, target) - eps(xhat_t, source)] + λ [eps_psi(x_t, source) - eps_phi(x_t, target)].

    `reference` says what stands for xhat_t: the noised `edit`, as in the paper's experiments (end of Section
    3.2), or the noised `original`. With λ = 0 this is DDS, and no model is fine-tuned.
    """

    lam: Annotated[float, Ge(0)]
    lam_end: Annotated[float, Ge(0)] | None = (
        None  # λ at the last step, reached in a straight line; None: λ stays
    )
    guidance_scale: Annotated[float, Ge(0)]
    guidance_source: Annotated[float, Ge(0)] | None = None  # of the source; None: the same
    reference: Literal["edit", "original"]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        lam = self.lam if self.lam_end is None else (1 - progress) * self.lam + progress * self.lam_end
        reference = Latents(self.reference)
        edit = delta(self.guidance_scale, self.guidance_source, reference)
        keep = source_model(EDIT, SOURCE) - target_model(EDIT, TARGET)
        return edit + lam * keep
