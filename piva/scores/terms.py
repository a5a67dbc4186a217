"""The algebra of scores: a score's direction is a weighted sum of noise predictions, and this file is that sum.

A prediction is eps_network(latents_t, prompt): which network, on which noised latents, with which prompt. Sums add, subtract
and scale; like terms collect by themselves, so what cancels on paper is never computed. No torch: weights are plain floats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from piva.priors.schedule import Schedule
from piva.scores.guidance import guide


class Network(Enum):
    """Which model predicts: the pretrained one, or one of its two fine-tuned copies."""

    FROZEN = "frozen"  # eps_kappa
    SOURCE = "source"  # eps_psi: follows the original's renders (Eq. 7)
    TARGET = "target"  # eps_phi: follows the edit's renders (Eq. 8)


class Latents(Enum):
    """Whose noised latents are looked at; both share the noise and the timestep."""

    EDIT = "edit"  # x_t
    ORIGINAL = "original"  # xhat_t


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
    latents: Latents
    prompt: Prompt


@dataclass(frozen=True)
class Known:
    """A quantity that costs no evaluation: the injected noise, or the clean latents of the edit or the original."""

    what: str


Term = Prediction | Known


@dataclass(frozen=True)
class Sum:
    """A weighted sum of terms. Immutable; equal weights of opposite sign leave no trace."""

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
        """The network evaluations this sum needs, in a fixed order."""
        return [term for term in self.weights if isinstance(term, Prediction)]


NOISE = Sum({Known("noise"): 1.0})
CHANGE = Sum({Known("edit"): 1.0, Known("original"): -1.0})  # x - xhat, the clean latents' difference


def frozen(latents: Latents, prompt: Prompt, guidance_scale: float) -> Sum:
    """The pretrained model's prediction with classifier-free guidance; expands to its two terms."""
    cond, uncond = (Sum({Prediction(Network.FROZEN, latents, p): 1.0}) for p in (prompt, NULL))
    guided: Sum = guide(uncond, cond, guidance_scale)
    return guided


def source_model(latents: Latents, prompt: Prompt) -> Sum:
    """eps_psi, without guidance (the paper uses scale 1)."""
    return Sum({Prediction(Network.SOURCE, latents, prompt): 1.0})


def target_model(latents: Latents, prompt: Prompt) -> Sum:
    """eps_phi, without guidance (the paper uses scale 1)."""
    return Sum({Prediction(Network.TARGET, latents, prompt): 1.0})


@runtime_checkable
class Score(Protocol):
    """Settings of a score; its whole mathematics is `direction`."""

    weight: str  # the w(t) of `Schedule.weight`

    def __hash__(self) -> int: ...

    def direction(self, schedule: Schedule, t: int) -> Sum:
        """The direction to descend at timestep t, before w(t), as a weighted sum of noise predictions."""


@runtime_checkable
class Changing(Protocol):
    """A score whose weights change in the course of a run."""

    def at(self, part: float) -> Score:
        """The score when `part` of the steps, in [0, 1], is done. What it needs anywhere it needs at 0 or at 1."""
