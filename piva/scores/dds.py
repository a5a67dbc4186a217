"""Delta denoising score (Hertz et al. 2023; the paper's Eq. 4)."""

from dataclasses import dataclass

from piva.priors.schedule import Schedule
from piva.ranges import at_least, one_of
from piva.scores.terms import EDIT, SOURCE, TARGET, Latents, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class DDS:
    """eps(x_t, target) - eps(xhat_t, source), both guided.

    `reference` says what stands for xhat_t: the noised `original`, as published, or the noised `edit` itself, the
    paper's shortcut (end of Section 3.2), with which the unconditional predictions cancel.
    """

    guidance_scale: float = at_least(0)
    reference: str = one_of("edit", "original")
    weight: str = one_of("sigma_squared", "uniform")

    def direction(self, schedule: Schedule, t: int) -> Sum:
        reference = Latents(self.reference)
        return frozen(EDIT, TARGET, self.guidance_scale) - frozen(reference, SOURCE, self.guidance_scale)
