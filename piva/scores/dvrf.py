"""Delta velocity rectified flow (Beaudouin et al. 2025), for priors that predict noise."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, LATENT_DIFFERENCE, ORIGINAL, SOURCE, TARGET, Noised, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class DVRF:
    """(1 + s) [eps(x_t + η sigma (x - xhat), target) - eps(xhat_t, source) - η (x - xhat)], with η from 0 to
    `eta` in the course of the run, from DDS to FlowEdit, and s = sigma / alpha.

    In the paper, Eq. 6 and 8, it is v(z_t + η t (z - zhat), target) - v(zhat_t, source) + (1 - η) (z - zhat)
    with z_t = (1 - t) z + t eps = x_t / (alpha + sigma) and v = eps - z. The constants are the reference
    code's: guidance 16.5 and 6 of the source, eta 1, 50 descending timesteps, SGD at 0.02 (the paper's
    varying rate is left out).
    """

    guidance_scale: Annotated[float, Ge(0)]
    guidance_source: Annotated[float, Ge(0)]
    eta: Annotated[float, Interval(ge=0, le=1)]
    weight: Literal["sigma_squared", "uniform", "own"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        eta = progress * self.eta
        moved = Noised(EDIT, shift=eta * schedule.sigma(t))
        edit = frozen(moved, TARGET, self.guidance_scale) - frozen(ORIGINAL, SOURCE, self.guidance_source)
        return (1 + schedule.noise_to_signal(t)) * (edit - eta * LATENT_DIFFERENCE)
