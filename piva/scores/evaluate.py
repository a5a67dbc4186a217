"""From sums of terms to tensors, in as few network calls as possible.

A prediction serves the direction and the learned models' training at once: eps_phi(x_t, target) is Eq. 9's
term and Eq. 8's forward pass. So a step makes at most two calls, for however many edits: one with gradients
to the adapters (the training pairs), one without (everything else).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from piva.scores.terms import Latents, Network, Prediction, Sum, TensorTerm, Term

# the predictions of each edit, answered together
Predict = Callable[[Sequence[Sequence[Prediction]]], Sequence[dict[Prediction, Tensor]]]


@dataclass(frozen=True)
class Request:
    """What one edit needs at one step: a direction, and predictions to train on. Tensors get no gradient."""

    terms: Sum
    training_pairs: Sequence[Prediction]
    clean: Mapping[Latents, Float[Tensor, "b c y x"]]
    noise: Float[Tensor, "b c y x"]
    known: Mapping[Prediction, Float[Tensor, "b c y x"]] = field(default_factory=dict)  # made already


@dataclass(frozen=True)
class Evaluated:
    """A direction, and the learned models' predictions for their training pairs, with graphs."""

    direction: Float[Tensor, "b c y x"]
    predicted: dict[Network, Float[Tensor, "b c y x"]]


def evaluate(requests: Sequence[Request], predict: Predict) -> list[Evaluated]:
    """Evaluate the requests of some edits, whose networks' answers `predict` gives together."""
    with torch.no_grad():
        others = predict([_others(request) for request in requests])
    trained = predict([request.training_pairs for request in requests])
    results = []
    for request, rest, pairs in zip(requests, others, trained, strict=True):
        direction = _direction(request, {**request.known, **rest, **pairs})
        results.append(Evaluated(direction, {pair.network: eps for pair, eps in pairs.items()}))
    return results


def _others(request: Request) -> list[Prediction]:
    made = {*request.training_pairs, *request.known}
    return [each for each in request.terms.predictions if each not in made]


@torch.no_grad()
def _direction(request: Request, predictions: Mapping[Prediction, Tensor]) -> Tensor:
    values: dict[Term, Tensor] = {TensorTerm(kind.value): x for kind, x in request.clean.items()}
    values[TensorTerm("noise")] = request.noise
    values |= {term: eps for term, eps in predictions.items()}  # noqa: C416 - a dict of terms
    by_size: dict[float, Tensor] = {}  # terms of opposite weights first: of equal ones no rounding is left
    for term, weight in request.terms.weights.items():
        signed = values[term] if weight > 0 else -values[term]
        by_size[abs(weight)] = by_size[abs(weight)] + signed if abs(weight) in by_size else signed
    direction = torch.zeros_like(request.noise)
    for size, total in by_size.items():
        direction.add_(total, alpha=size)
    return direction
