"""The algebra of scores: a score's direction is a weighted sum of noise predictions, and this is that sum.

A prediction is eps_network(latents_t, prompt): which network, on which noised latents, with which prompt.
Sums add, subtract and scale; like terms collect, so what cancels on paper is never computed. No torch:
weights are plain floats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol, cast, runtime_checkable

from piva.priors.schedule import Schedule


class Network(Enum):
    """Which model predicts: the pretrained one, or one of its two fine-tuned copies."""

    FROZEN = "frozen"  # eps_kappa
    SOURCE = "source"  # eps_psi: follows the original's renders (Eq. 7)
    TARGET = "target"  # eps_phi: follows the edit's renders (Eq. 8)


class Latents(Enum):
    """Whose noised latents a network sees; both share the noise and the timestep."""

    EDIT = "edit"  # x_t
    ORIGINAL = "original"  # xhat_t


@dataclass(frozen=True)
class Noised:
    """Noised latents other than x_t and xhat_t, with the same noise: at another timestep, or moved."""

    of: Latents
    t: int | None = None  # None: the step's
    shift: float = 0.0  # so many times x - xhat are added

    @property
    def original(self) -> bool:
        """Return whether the original's latents are needed."""
        return self.of is Latents.ORIGINAL or self.shift != 0


class Prompt(Enum):
    """What the prediction is conditioned on."""

    TARGET = "target"
    SOURCE = "source"
    NULL = "null"


EDIT, ORIGINAL = Latents.EDIT, Latents.ORIGINAL
TARGET, SOURCE, NULL = Prompt.TARGET, Prompt.SOURCE, Prompt.NULL


@dataclass(frozen=True)
class Prediction:
    """eps_network(latents_t, prompt)."""

    network: Network
    latents: Latents | Noised
    prompt: Prompt


@dataclass(frozen=True)
class TensorTerm:
    """A tensor that costs no evaluation: the injected "noise", the clean latents "edit" or "original"."""

    name: str


Term = Prediction | TensorTerm


@dataclass(frozen=True)
class Sum:
    """A weighted sum of terms. Immutable; terms whose weight is zero are dropped."""

    weights: Mapping[Term, float] = field(default_factory=dict)

    def __add__(self, other: "Sum") -> "Sum":
        total = dict(self.weights)
        for term, weight in other.weights.items():
            total[term] = total.get(term, 0.0) + weight
        return Sum({term: weight for term, weight in total.items() if weight != 0})

    def __mul__(self, factor: float) -> "Sum":
        return Sum({term: factor * weight for term, weight in self.weights.items() if factor * weight != 0})

    __rmul__ = __mul__

    def __sub__(self, other: "Sum") -> "Sum":
        return self + -1.0 * other

    @property
    def predictions(self) -> list[Prediction]:
        """Return the network evaluations that this sum needs, in a fixed order."""
        return [term for term in self.weights if isinstance(term, Prediction)]


NOISE = Sum({TensorTerm("noise"): 1.0})
LATENT_DIFFERENCE = Sum({TensorTerm("edit"): 1.0, TensorTerm("original"): -1.0})  # x - xhat, without noise


def guide(uncond: Any, cond: Any, guidance_scale: float) -> Any:
    """Return uncond + scale (cond - uncond), classifier-free guidance as in diffusers: 1 is plainly
    conditional.

    Predictions are whatever adds and scales: tensors, numbers, sums of terms.
    """
    return (1.0 - guidance_scale) * uncond + guidance_scale * cond


def frozen(latents: Latents | Noised, prompt: Prompt, guidance_scale: float) -> Sum:
    """Return the pretrained model's prediction with classifier-free guidance, expanded to its two terms."""
    cond, uncond = (Sum({Prediction(Network.FROZEN, latents, p): 1.0}) for p in (prompt, NULL))
    guided: Sum = guide(uncond, cond, guidance_scale)
    return guided


def delta(scale: float, source_scale: float | None, reference: Latents) -> Sum:
    """Return eps(x_t, target) - eps(reference_t, source), guided; a `source_scale` of None is `scale`."""
    source_scale = scale if source_scale is None else source_scale
    return frozen(EDIT, TARGET, scale) - frozen(reference, SOURCE, source_scale)


def source_model(latents: Latents, prompt: Prompt) -> Sum:
    """Return eps_psi, without guidance (the paper, A.1: scale 1)."""
    return Sum({Prediction(Network.SOURCE, latents, prompt): 1.0})


def target_model(latents: Latents, prompt: Prompt) -> Sum:
    """Return eps_phi, without guidance (the paper, A.1: scale 1)."""
    return Sum({Prediction(Network.TARGET, latents, prompt): 1.0})


@runtime_checkable
class Score(Protocol):
    """Settings of a score; its whole mathematics is `direction`."""

    weight: str  # the w(t) of `Schedule.weight`

    def __hash__(self) -> int: ...

    def direction(self, schedule: Schedule, t: int, progress: float) -> Sum:
        """Return the direction to descend at timestep t, before w(t), as a weighted sum of noise predictions.

        `progress` runs from 0 at the first step to 1 at the last. Terms needed in between must appear at 0 or
        at 1.
        """


@runtime_checkable
class Guided(Score, Protocol):
    """What a score has beside `direction` if its target's prediction is guided."""

    guidance_scale: float


def guided_from(score: Score, start: float | None, progress: float) -> Score:
    """Return the score with the guidance of this part of a run, 0 at the first step and 1 at the last: on a
    straight line that falls from `start` to its own. The score itself for None, if its own is no less, or if
    it has none.
    """
    if start is None or not isinstance(score, Guided) or start <= score.guidance_scale:
        return score
    guidance_scale = (1 - progress) * start + progress * score.guidance_scale
    return cast(Score, replace(cast(Any, score), guidance_scale=guidance_scale))


@runtime_checkable
class Normalised(Protocol):
    """What a score has beside `direction` if that is scaled to a standard deviation of its own."""

    threshold: float  # of the standard deviation before; where it is less there is no direction

    def deviation(self, progress: float) -> float:
        """Return the standard deviation that the direction gets, over all latents of the edit's views."""
