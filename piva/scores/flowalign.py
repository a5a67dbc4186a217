"""FlowAlign (Kim et al. 2026): FlowEdit with guidance from the source prompt and a pull to the original."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, LATENT_DIFFERENCE, ORIGINAL, SOURCE, TARGET, Sum, frozen, guide


@dataclass(frozen=True, kw_only=True)
class FlowAlign:
    """D + keep [(x - xhat) - s D] / (1 + s), with s = sigma / alpha and the difference of predictions
    D = eps(x_t, source) + g [eps(x_t, target) - eps(x_t, source)] - eps(xhat_t, source).

    The square bracket is the difference of the two predicted clean latents. For `schedule=descending`, whose
    x - xhat is 1 + s times that of the published code (`Descending`): there each step adds 0.01 of minus the
    bracket, and of 33 steps through its unit of time that makes keep = 0.33. Guidance g is 13.5.
    """

    guidance_scale: Annotated[float, Ge(0)]
    keep: Annotated[float, Ge(0)]
    weight: Literal["sigma_squared", "uniform"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        source, target = (frozen(EDIT, prompt, 1.0) for prompt in (SOURCE, TARGET))
        guided: Sum = guide(source, target, self.guidance_scale)
        difference, s = guided - frozen(ORIGINAL, SOURCE, 1.0), schedule.noise_to_signal(t)
        return difference + self.keep / (1 + s) * (LATENT_DIFFERENCE - s * difference)
