"""The contract of the learned models eps_psi and eps_phi: their settings, and the models at work. No torch at run time."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import StableDiffusion
    from piva.scores.terms import Latents, Network, Prediction


@runtime_checkable
class LearnedModels(Protocol):
    """The fine-tuned models eps_psi and eps_phi of one edit, at work."""

    needs_depth: bool  # whether `predict` looks at depth

    def predict(
        self,
        prior: "Prior",
        predictions: "Sequence[Prediction]",
        noisy: "Tensor",
        t: int,
        context: "Tensor",
        depth: "Mapping[Latents, Tensor]",
    ) -> "Tensor":
        """Noise predictions of a batch: as many rows of `noisy` and `context` for each of `predictions`, in that order.

        Rows of the frozen network are the prior's own. `depth` (b, h, w) is that of the views behind each kind of latents,
        as in `View`; with gradients to the adapters if those are enabled.
        """

    def learn(self, loss: "Tensor") -> None:
        """One optimiser step down the diffusion loss."""

    def save(self, folder: Path) -> None:
        """Write the adapters in peft's format."""

    def checkpoint(self) -> "dict[str, Any]":
        """All that `learn` changes, between two steps, as in `TaskState.checkpoint`."""

    def restore(self, saved: "Mapping[str, Any]") -> None:
        """Take over what `checkpoint` gave, in models made with the same settings."""

    def detach(self) -> None:
        """Give the prior back as it was."""


@runtime_checkable
class Model(Protocol):
    """Settings of how the learned models are made from the prior."""

    needs_depth: ClassVar[bool]  # whether the task must give the depth of its views

    def check(self, prior: "StableDiffusion") -> None:
        """Raise `InputError` if they cannot be made from this prior. No torch."""

    def attach(
        self, prior: "Prior", networks: "Collection[Network]", generator: "torch.Generator"
    ) -> LearnedModels:
        """Make those of `networks`; `generator` draws their initial weights."""
