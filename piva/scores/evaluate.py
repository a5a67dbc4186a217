"""From a sum of terms to a tensor, in as few network calls as possible.

A prediction serves the direction and the learned models' training at once: eps_phi(x_t, target) is Eq. 9's
term and Eq. 8's forward pass. So a step makes at most two calls: one with gradients to the adapters (the
training pairs), one without (everything else).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from piva.scores.terms import Latents, Network, Prediction, Sum, TensorTerm, Term

Predict = Callable[
    [Sequence[Prediction], Tensor], Tensor
]  # rows of noisy latents, as many for each prediction


@dataclass(frozen=True)
class Evaluated:
    """A direction, and the learned models' predictions for their training pairs, with graphs."""

    direction: Float[Tensor, "b c y x"]
    predicted: dict[Network, Float[Tensor, "b c y x"]]


def evaluate(
    terms: Sum,
    training_pairs: Sequence[Prediction],
    clean: Mapping[Latents, Float[Tensor, "b c y x"]],
    noisy: Mapping[Latents, Float[Tensor, "b c y x"]],
    noise: Float[Tensor, "b c y x"],
    predict: Predict,
) -> Evaluated:
    """Evaluate `terms` and `training_pairs` on latents without and with `noise`, which get no gradient."""

    def rows(predictions: Sequence[Prediction]) -> dict[Term, Tensor]:
        if not predictions:
            return {}
        eps = predict(predictions, torch.cat([noisy[p.latents].detach() for p in predictions]))
        return dict(zip(predictions, eps.split(len(noise)), strict=True))

    trained = rows(training_pairs)
    with torch.no_grad():
        values: dict[Term, Tensor] = {TensorTerm(kind.value): x for kind, x in clean.items()}
        values[TensorTerm("noise")] = noise
        values |= rows([p for p in terms.predictions if p not in trained])
        values |= {pair: eps.detach() for pair, eps in trained.items()}
        direction = torch.zeros_like(noise)
        for term, weight in terms.weights.items():
            direction += weight * values[term]
    return Evaluated(direction, {pair.network: trained[pair] for pair in training_pairs})
