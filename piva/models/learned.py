"""The learned models of one edit: their adapters, diffusion losses and optimiser (Eq. 7 and 8)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import AdamW

from piva.models.adapters import LowRank, Weights
from piva.models.needs import TRAINING_PAIRS
from piva.scores.terms import Network, Prediction


class LearnedModels:
    """eps_psi and eps_phi of one edit. One optimiser serves both, since they share no weight."""

    def __init__(self, low_rank: LowRank, weights: Weights, lr: float, train_every: int = 1) -> None:
        """Take over new adapters (`LowRank.draw`), all of which learn at every `train_every`-th step."""
        self._low_rank, self.weights, self._train_every = low_rank, weights, train_every
        self.learning = list(weights)
        self._optimiser = AdamW(weights.values(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        # of float16's gradients a third would be zero: the loss is a mean over thousands of latents
        half = low_rank.dtype == torch.float16
        self._scaler = GradScaler(low_rank.device.type, enabled=half)

    def settle(self, network: Network, matrix: Tensor) -> None:
        """Give a model an adapter that was learned before; it learns no more."""
        self.weights[network].data.copy_(matrix)
        self.learning.remove(network)

    def pairs(self, step: int) -> list[Prediction]:
        """Return what they learn from at this step, counted from 0."""
        return [] if step % self._train_every else [TRAINING_PAIRS[network] for network in self.learning]

    def loss(
        self, predicted: Mapping[Network, Tensor], noise: Tensor
    ) -> tuple[Tensor, dict[Network, Tensor]]:
        """Return the sum of the losses, scaled, to back-propagate; and each one, without a graph."""
        losses = {network: (eps - noise).square().mean() for network, eps in predicted.items()}
        total: Tensor = self._scaler.scale(torch.stack(list(losses.values())).sum())
        return total, {network: loss.detach() for network, loss in losses.items()}

    def step(self) -> None:
        """Take a step by the gradients that are there, none by such as overflowed, and clear them."""
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad()

    def save(self, folder: Path) -> None:
        """Write the adapters in peft's format."""
        self._low_rank.save(self.weights, folder)

    def checkpoint(self) -> dict[str, Any]:
        """Return all that `step` changes, between two steps, as in `TaskState.checkpoint`."""
        weights = {network.value: matrix.detach() for network, matrix in self.weights.items()}
        return {
            "weights": weights,
            "learning": [network.value for network in self.learning],
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `checkpoint` returned, in models made with the same settings."""
        for network, matrix in self.weights.items():
            matrix.data.copy_(saved["weights"][network.value])
        self.learning = [Network(name) for name in saved["learning"]]
        self._optimiser.load_state_dict(saved["optimiser"])
        self._scaler.load_state_dict(saved["scaler"])


# an edit's models, the predictions of its training pairs, and the noise that these should be
Trained = tuple[LearnedModels | None, Mapping[Network, Tensor], Tensor]


def learn(edits: Sequence[Trained]) -> list[dict[Network, Tensor]]:
    """Take one step of each edit's models down their losses; return these, none where nothing is to learn.

    The predictions come from one call, whose graph they share: one backward pass serves all.
    """
    scaled: list[Tensor] = []
    losses: list[dict[Network, Tensor]] = []
    for models, predicted, noise in edits:
        losses.append({})
        if models and predicted:
            total, losses[-1] = models.loss(predicted, noise)
            scaled.append(total)
    if scaled:
        torch.stack(scaled).sum().backward()
    for models, predicted, _ in edits:
        if models and predicted:
            models.step()
    return losses
