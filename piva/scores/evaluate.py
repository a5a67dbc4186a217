"""From a sum of terms to a tensor, in as few network calls as possible.

What the learned models predict in their own training step is shared with the direction: eps_phi(x_t, target) is both
Eq. 9's term and Eq. 8's forward pass. So a step makes at most two calls: one with gradients to the adapters (the training
pairs), one without (everything else).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from piva.models.base import LearnedModels
from piva.scores.needs import LESSONS
from piva.scores.terms import Known, Network, Prediction, Prompt, Sum, Term
from piva.tasks.base import View

if TYPE_CHECKING:
    from piva.priors.prior import Prior


@dataclass(frozen=True)
class Evaluated:
    """One step's outcome."""

    direction: Float[Tensor, "b c y x"]
    losses: dict[Network, Float[Tensor, ""]]  # of the learned models, each with a graph to its adapter


def evaluate(
    terms: Sum,
    t: int,
    noise: Float[Tensor, "b c y x"],
    view: View,
    contexts: Mapping[Prompt, Float[Tensor, "1 n d"]],
    prior: "Prior",
    models: LearnedModels | None,
    learned: Collection[Network],
) -> Evaluated:
    """Evaluate `terms` at timestep `t`, with one noise for the edit's and the original's latents.

    `view` holds the latents without noise; they get no gradient. `learned` are the models trained in this step; each loss is
    the mean squared error of a noise prediction.
    """
    clean = {which: x.detach() for which, x in view.latents.items()}
    noisy = {which: prior.schedule.noised(x, noise, t) for which, x in clean.items()}

    def predict(predictions: Sequence[Prediction]) -> dict[Prediction, Tensor]:
        if not predictions:
            return {}
        x = torch.cat([noisy[p.latents] for p in predictions])
        context = torch.cat([contexts[p.prompt].expand(len(noise), -1, -1) for p in predictions])
        eps = (
            models.predict(prior, predictions, x, t, context, view.depth)
            if models
            else prior.predict(x, t, context)
        )
        return dict(zip(predictions, eps.split(len(noise)), strict=True))

    lessons = predict([LESSONS[network] for network in learned])
    with torch.no_grad():
        rest = predict([p for p in terms.predictions if p not in lessons])
        value: dict[Term, Tensor] = {Known(which.value): x for which, x in clean.items()}
        value[Known("noise")] = noise
        for prediction, eps in [*rest.items(), *lessons.items()]:
            value[prediction] = eps.detach()
        direction = torch.zeros_like(noise)
        for term, weight in terms.weights.items():
            direction += weight * value[term]
    return Evaluated(direction, {p.network: (eps - noise).square().mean() for p, eps in lessons.items()})
