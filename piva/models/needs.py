"""The learned models eps_psi (source) and eps_phi (target): which a score needs, what they train on, what a
step costs, and the contract of the settings that make them. No torch: checking settings needs this file.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from piva.errors import InputError
from piva.priors.schedule import Schedule
from piva.scores.terms import (
    EDIT,
    ORIGINAL,
    Network,
    Noised,
    Prediction,
    Prompt,
    Score,
    TensorTerm,
    guided_from,
)

if TYPE_CHECKING:
    from piva.models.denoiser import Denoiser
    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import Speed, StableDiffusion

TRAINING_PAIRS = {
    Network.SOURCE: Prediction(Network.SOURCE, ORIGINAL, Prompt.SOURCE),  # Eq. 7: psi follows the original
    Network.TARGET: Prediction(Network.TARGET, EDIT, Prompt.TARGET),  # Eq. 8: phi follows the edit
}
# Which terms a sum has does not depend on the prior's schedule, if its timesteps can be told apart.
ANY = Schedule(tuple(1 - (t + 1) / 1001 for t in range(1000)))
BETWEEN = 0.382  # of a run: where its guidance is hardly just 1, at which a step costs less than the others


@dataclass(frozen=True)
class Needs:
    """What a score needs in the course of a run."""

    learned: tuple[Network, ...]  # the fine-tuned models, in a fixed order
    original: bool  # whether the direction uses the original's latents; the source model's training does too


@cache
def needs(score: Score) -> Needs:
    """Return what the terms of a score's sums need."""
    sums = [score.direction(ANY, t, progress) for t in (1, 500, 999) for progress in (0.0, 1.0)]
    terms = {term for weighted in sums for term in weighted.weights}
    networks = {term.network for term in terms if isinstance(term, Prediction)}
    learned = tuple(network for network in TRAINING_PAIRS if network in networks)
    seen = {term.latents for term in terms if isinstance(term, Prediction)}
    original = any(each.original if isinstance(each, Noised) else each is ORIGINAL for each in seen)
    return Needs(learned, original or TensorTerm("original") in terms)


def passes_of_step(score: Score, model: "Model", regulariser: "Regulariser", rows: int) -> float:
    """Return the rows through the U-Net, forward and backward, of a step: a mean over the run's steps.

    `rows` are a step's views times its noises.
    """
    asked = set(score.direction(ANY, 500, 0.5).predictions)
    learning = [n for n in needs(score).learned if not (model.source_warmup and n is Network.SOURCE)]
    pairs = {TRAINING_PAIRS[network] for network in learning}
    training = len(asked | pairs) - len(asked) + (2 * model.steps_per_iteration - 1) * len(pairs)
    return rows * (len(asked) + training / model.train_every + regulariser.passes(asked))


def passes_before(score: Score, model: "Model", views: int) -> int:
    """Return the rows through the U-Net, forward and backward, before the first step, at most: edits of one
    original share them.
    """
    return 2 * views * model.source_warmup if Network.SOURCE in needs(score).learned else 0


def steps_within(
    passes: int, parts: Mapping[str, Any], noises: int, guidance_start: float | None, relevance_noises: int
) -> int:
    """Return how many steps of an edit take no more rows through the U-Net, forward and backward, than
    `passes`; `parts` are the run's settings by group.

    Raises `InputError` if not one does, and for a direction that asks no network.
    """
    method, score, model, task = (parts[name] for name in ("method", "score", "model", "task"))
    guided = guided_from(score, guidance_start, BETWEEN)
    step = method.passes_of_step(guided, model, parts["regulariser"], task.views * noises)
    before = 0
    if "score" not in method.unread:
        before += passes_before(score, model, task.views)
        located = 2 * relevance_noises * task.views
        if task.renders:  # its views are new in each step
            step += located
        else:
            before += located
    if not step:
        wanted = "a direction that asks the network, or steps=N"
        raise InputError("passes", f"{passes}, of which a step takes none", wanted)
    if passes < before + step:
        each = f"{step:g} for a step" + (f" and {before} before the first" if before else "")
        raise InputError("passes", str(passes), f"at least {ceil(before + step)}: {each}")
    return int((passes - before) / step)


@runtime_checkable
class Regulariser(Protocol):
    """What settings of something beside the score cost; what they do is `optimise`'s."""

    def check(self, task: Any, speed: "Speed") -> None:
        """Raise `InputError` if it cannot do its work in this task, or with these switches."""

    @property
    def kept(self) -> list[Prediction]:
        """The predictions of one call whose graphs are kept for a backward pass."""

    def passes(self, asked: Set[Prediction]) -> float:
        """Return the rows through the U-Net, forward and backward, of a view, beside those that the score
        asks for.
        """


@runtime_checkable
class Model(Protocol):
    """Settings of how the learned models are made from the prior, and how they learn."""

    needs_depth: ClassVar[bool]  # whether the task must give the depth of its views

    @property
    def lr(self) -> float:
        """The adapters' learning rate."""

    @property
    def train_every(self) -> int:
        """They learn at every so many steps."""

    @property
    def steps_per_iteration(self) -> int:
        """They take so many training steps then."""

    @property
    def source_warmup(self) -> int:
        """So many steps eps_psi learns the original before an edit, and none beside it; 0: beside it."""

    def check(self, prior: "StableDiffusion") -> None:
        """Raise `InputError` if they cannot be made from this prior. Imports no torch."""

    def denoiser(self, prior: "Prior") -> "Denoiser":
        """Return the prior's networks with room for adapters, once for all edits."""
