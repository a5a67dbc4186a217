"""The learned models eps_psi (source) and eps_phi (target): which a score needs, their training pairs, loss
and step.

Checking settings needs this file, so torch is imported where it is used.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, ORIGINAL, Latents, Network, Prediction, Prompt, Score, TensorTerm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.models.adapters import Adapters
    from piva.models.controlled import DepthControl
    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import StableDiffusion

TRAINING_PAIRS = {
    Network.SOURCE: Prediction(Network.SOURCE, ORIGINAL, Prompt.SOURCE),  # Eq. 7: psi follows the original
    Network.TARGET: Prediction(Network.TARGET, EDIT, Prompt.TARGET),  # Eq. 8: phi follows the edit
}


@dataclass(frozen=True)
class Needs:
    """What a score needs in the course of a run."""

    learned: tuple[Network, ...]  # the fine-tuned models, in a fixed order
    original: bool  # whether a term or a training pair uses the original's latents: they must be rendered

    @property
    def training_pairs(self) -> list[Prediction]:
        return [TRAINING_PAIRS[network] for network in self.learned]


@cache
def needs(score: Score) -> Needs:
    """Return what the terms of a score's sums need."""
    schedule = Schedule((0.99, 0.5, 0.01))  # any: which terms there are does not depend on the prior's
    sums = [score.direction(schedule, t, progress) for t in (1, 2) for progress in (0.0, 1.0)]
    terms = {term for weighted in sums for term in weighted.weights}
    networks = {term.network for term in terms if isinstance(term, Prediction)}
    learned = tuple(network for network in TRAINING_PAIRS if network in networks)
    seen = {p.latents for p in [*terms, *map(TRAINING_PAIRS.get, learned)] if isinstance(p, Prediction)}
    return Needs(learned, ORIGINAL in seen or TensorTerm("original") in terms)


class LearnedModels:
    """The fine-tuned models of one edit: LoRA adapters, with or without a ControlNet beside the U-Net."""

    def __init__(self, adapters: "Adapters", lr: float, control: "DepthControl | None" = None) -> None:
        from torch.optim import AdamW

        self._adapters, self._control = adapters, control
        self._optimiser = AdamW(adapters.weights, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    @property
    def needs_depth(self) -> bool:
        """Whether `predict` looks at depth."""
        return self._control is not None

    def predict(
        self,
        prior: "Prior",
        predictions: Sequence[Prediction],
        noisy: "Tensor",
        t: int,
        context: "Tensor",
        depth: "Mapping[Latents, Tensor]",
    ) -> "Tensor":
        """Return noise predictions, of as many rows of `noisy` and `context` for each of `predictions`, in
        order.

        `depth` (b, h, w) is that of the views behind each kind of latents. Rows of the frozen network are the
        prior's own; the others have gradients to the adapters, if those are enabled.
        """
        from piva.models.adapters import groups

        residuals = None
        if control := self._control:
            residuals = control.residuals(self._adapters, prior, predictions, noisy, t, context, depth)
        with self._adapters.rows(groups(predictions, len(noisy))):
            return prior.predict(noisy, t, context, residuals)

    def learn(self, predicted: "Mapping[Network, Tensor]", noise: "Tensor") -> "dict[Network, Tensor]":
        """Take one step down the diffusion losses (Eq. 7 and 8) of the training pairs' predictions; return
        the losses.

        One optimiser serves both, since the adapters share no weight.
        """
        import torch

        losses = {network: (eps - noise).square().mean() for network, eps in predicted.items()}
        self._optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self._optimiser.step()
        return {network: loss.detach() for network, loss in losses.items()}

    def save(self, folder: Path) -> None:
        """Write the adapters in peft's format."""
        self._adapters.save(folder)

    def checkpoint(self) -> "dict[str, Any]":
        """Return all that `learn` changes, between two steps, as in `TaskState.checkpoint`."""
        weights = [weight.detach() for weight in self._adapters.weights]
        return {"weights": weights, "optimiser": self._optimiser.state_dict()}

    def restore(self, saved: "Mapping[str, Any]") -> None:
        """Take over what `checkpoint` returned, in models made with the same settings."""
        for weight, stored in zip(self._adapters.weights, saved["weights"], strict=True):
            weight.data.copy_(stored)
        self._optimiser.load_state_dict(saved["optimiser"])

    def detach(self) -> None:
        """Remove the adapters from the prior's networks."""
        self._adapters.detach()


@runtime_checkable
class Model(Protocol):
    """Settings of how the learned models are made from the prior."""

    needs_depth: ClassVar[bool]  # whether the task must give the depth of its views

    def check(self, prior: "StableDiffusion") -> None:
        """Raise `InputError` if they cannot be made from this prior. Imports no torch."""

    def attach(
        self, prior: "Prior", networks: Collection[Network], generator: "torch.Generator"
    ) -> LearnedModels:
        """Make the models of `networks`; `generator` draws their initial weights."""


@dataclass(frozen=True)
class Denoiser:
    """The frozen model and the learned ones, conditioned on the prompts of one edit."""

    prior: "Prior"
    contexts: "Mapping[Prompt, Tensor]"  # (1, n, d) each
    models: LearnedModels | None = None  # None for a score that needs none

    def predict(
        self, predictions: Sequence[Prediction], noisy: "Tensor", t: int, depth: "Mapping[Latents, Tensor]"
    ) -> "Tensor":
        """Return noise predictions, of as many rows of `noisy` for each of `predictions`, in order."""
        import torch

        each = len(noisy) // len(predictions)
        context = torch.cat([self.contexts[p.prompt].expand(each, -1, -1) for p in predictions])
        if self.models is None:
            return self.prior.predict(noisy, t, context)
        return self.models.predict(self.prior, predictions, noisy, t, context, depth)
