"""Algorithm 1 of the paper: the loop that every score, task and model shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from piva.models.lora import Adapters
from piva.priors.prior import Prior
from piva.scores.evaluate import evaluate, learned_networks, uses_original
from piva.scores.terms import EDIT, Prompt
from piva.types import Randomness, Score, TaskState

Log = Callable[[int, Mapping[str, Tensor | float]], None]


@dataclass(frozen=True)
class Method:
    """What turns latents into a direction."""

    score: Score
    prior: Prior
    adapters: Adapters | None  # the learned models, if the score has any
    timesteps: tuple[int, int]  # drawn uniformly from [low, high)


def optimise(
    state: TaskState, method: Method, contexts: Mapping[Prompt, Tensor], steps: int, randomness: Randomness, log: Log
) -> None:
    """Descend `steps` times along w(t) times the score's direction, training the learned models beside it.

    The direction is applied as the gradient of the loss with respect to the latents: theta receives exactly
    w(t) * direction * d latents / d theta, averaged over the views of the step. `log` gets device tensors; reading them is
    what synchronises, so it decides when.
    """
    score, prior, adapters = method.score, method.prior, method.adapters
    schedule = prior.schedule
    learned = learned_networks(score, schedule)
    original = uses_original(score, schedule)
    for step in range(steps):
        latents = state.view(randomness, original)
        x = latents[EDIT]
        t = int(torch.randint(*method.timesteps, (1,), generator=randomness.host))
        noise = torch.randn(x.shape, generator=randomness.device, device=x.device)
        clean = {which: z.detach() for which, z in latents.items()}
        result = evaluate(score.direction(schedule, t), t, noise, clean, contexts, prior, adapters, learned)

        x.backward(schedule.weight(score.weight, t) / len(x) * result.direction)
        state.step()
        if adapters:
            adapters.learn(torch.stack(list(result.losses.values())).sum())
        losses = {f"train/loss_{network.value}": loss.detach() for network, loss in result.losses.items()}
        log(step, {"t": t, "train/direction_rms": result.direction.square().mean().sqrt(), **losses})
