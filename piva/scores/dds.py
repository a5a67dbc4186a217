"""Delta denoising score (Hertz et al. 2023; the paper's Eq. 4)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import Latents, Sum, delta


@dataclass(frozen=True, kw_only=True)
class DDS:
    """eps(x_t, target) - eps(xhat_t, source), both guided.

    `reference` says what stands for xhat_t: the noised `original`, as published, or the noised `edit` itself,
    the paper's shortcut (end of Section 3.2), with which the unconditional predictions cancel.
    """

    guidance_scale: Annotated[float, Ge(0)]
    guidance_source: Annotated[float, Ge(0)] | None = None  # of the source; None: the same
    reference: Literal["edit", "original"]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        reference = Latents(self.reference)
        return delta(self.guidance_scale, self.guidance_source, reference)
