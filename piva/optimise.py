"""Algorithm 1 of the paper: the loop that every score, task and model shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from piva.models.base import LearnedModels
from piva.priors.prior import Prior
from piva.scores.evaluate import evaluate
from piva.scores.needs import learned_networks, uses_original
from piva.scores.terms import EDIT, Changing, Prompt, Score
from piva.tasks.base import Randomness, TaskState, View

Log = Callable[[int, Mapping[str, Tensor | float]], None]
Watch = Callable[[int, View], None]


@dataclass(frozen=True)
class Sizes:
    """Coarse to fine: the size of the pictures until so many steps are done, in order: (steps, size)."""

    coarse: Sequence[tuple[int, int]] = ()

    def at(self, step: int) -> int | None:
        """Of this step, counted from 0; None for the run's resolution."""
        return next((size for until, size in self.coarse if step < until), None)


@dataclass(frozen=True)
class Method:
    """What turns latents into a direction."""

    score: Score
    prior: Prior
    models: LearnedModels | None  # the learned models, if the score has any
    schedule: Any  # of piva.schedules
    sizes: Sizes = Sizes()


def optimise(
    state: TaskState,
    method: Method,
    contexts: Mapping[Prompt, Tensor],
    steps: int,
    randomness: Randomness,
    log: Log,
    start: int = 0,
    watch: Watch = lambda _step, _view: None,
) -> None:
    """Descend `steps` times along w(t) times the score's direction, training the learned models beside it; the first `start` of
    these steps were taken before.

    The direction is applied as the gradient of the loss with respect to the latents: theta receives exactly
    w(t) * direction * d latents / d theta, averaged over the views of the step. `log` gets device tensors; reading them is
    what synchronises, so it decides when. `watch` may look at each step's view when the step is done.
    """
    score, prior, models = method.score, method.prior, method.models
    schedule = prior.schedule
    learned = learned_networks(score, schedule)
    original = uses_original(score, schedule)
    for step in range(start, steps):
        view = state.view(
            randomness, original, models is not None and models.needs_depth, method.sizes.at(step)
        )
        x = view.latents[EDIT]
        t = method.schedule.draw(step, steps, len(schedule), randomness.host)
        noise = torch.randn(x.shape, generator=randomness.device, device=x.device)
        now = score.at(step / max(steps - 1, 1)) if isinstance(score, Changing) else score
        result = evaluate(now.direction(schedule, t), t, noise, view, contexts, prior, models, learned)

        x.backward(schedule.weight(score.weight, t) / len(x) * result.direction)
        state.step()
        if models:
            models.learn(torch.stack(list(result.losses.values())).sum())
        losses = {f"train/loss_{network.value}": loss.detach() for network, loss in result.losses.items()}
        watch(step, view)
        log(
            step, {"t": t, "train/direction_rms": result.direction.square().mean().sqrt(), **losses}
        )  # may keep a checkpoint
