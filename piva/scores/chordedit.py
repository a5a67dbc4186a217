"""ChordEdit (Lu et al. 2026): one long step from the original, then one denoising, by a few-step prior."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, NOISE, ORIGINAL, SOURCE, TARGET, Noised, Sum, frozen


@dataclass(frozen=True, kw_only=True)
class ChordEdit:
    """First [d R(t) + t R(t - d)] / (t + d), with R(t) = s_t [eps(xhat_t, target) - eps(xhat_t, source)] and
    s = sigma / alpha; at the last step s_t' [eps(x_t', target) - eps], which leaves the predicted latents.

    For two steps of SGD with rate 1, whatever their timesteps (parts of T): `steps=2 task.lr=1
    task.lr_schedule=constant prior=sd_turbo`; `steps=1` leaves the denoising out. The constants are the
    reference code's, at t 0.9, d 0.15 and t' 0.3, without guidance.
    """

    t: Annotated[float, Interval(gt=0, le=1)]
    d: Annotated[float, Interval(ge=0, le=1)]
    t_clean: Annotated[float, Interval(ge=0, le=1)]
    weight: Literal["uniform", "own"]

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        if progress == 1:
            at = _timestep(schedule, self.t_clean)
            return schedule.noise_to_signal(at) * (frozen(Noised(EDIT, t=at), TARGET, 1.0) - NOISE)
        late, early = (_residual(schedule, part) for part in (self.t, max(self.t - self.d, 0.0)))
        return (self.d / (self.t + self.d)) * late + (self.t / (self.t + self.d)) * early


def _residual(schedule: Schedule, part: float) -> Sum:
    at = _timestep(schedule, part)
    target, source = (frozen(Noised(ORIGINAL, t=at), prompt, 1.0) for prompt in (TARGET, SOURCE))
    return schedule.noise_to_signal(at) * (target - source)


def _timestep(schedule: Schedule, part: float) -> int:
    return min(round(part * len(schedule)), len(schedule) - 1)
