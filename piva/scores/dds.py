"""Delta denoising score (Hertz et al. 2023; the paper's Eq. 4)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, SOURCE, TARGET, Latents, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class DDS:
    """eps(x_t, target) - eps(xhat_t, source), both guided.

    `reference` says what stands for xhat_t: the noised `original`, as published, or the noised `edit` itself,
    the paper's shortcut (end of Section 3.2), with which the unconditional predictions cancel.
    """

    guidance_scale: Annotated[float, Ge(0)]
    reference: Literal["edit", "original"]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        reference = Latents(self.reference)
        return frozen(EDIT, TARGET, self.guidance_scale) - frozen(reference, SOURCE, self.guidance_scale)
