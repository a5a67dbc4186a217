"""Algorithm 1 of the paper: the loop that every score, task and model shares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from piva.models.learned import Denoiser, needs
from piva.scores.evaluate import evaluate
from piva.scores.terms import EDIT, Network, Score
from piva.tasks.base import Randomness, TaskState, View


@runtime_checkable
class TimestepSchedule(Protocol):
    """Settings of how a step's timestep is drawn."""

    def draw(self, step: int, steps: int, num_timesteps: int, generator: torch.Generator) -> int:
        """Draw the timestep in [0, num_timesteps) of step `step` of `steps`, counted from 0."""


@dataclass(frozen=True)
class Sizes:
    """Coarse to fine: (steps, size) in order, the size of the renders until so many steps are done."""

    coarse: Sequence[tuple[int, int]] = ()

    def at(self, step: int) -> int | None:
        """Return the size at this step, counted from 0; None for the run's resolution."""
        return next((size for until, size in self.coarse if step < until), None)


@dataclass(frozen=True)
class Method:
    """What turns latents into a direction."""

    score: Score
    schedule: TimestepSchedule
    denoiser: Denoiser
    sizes: Sizes = Sizes()


@dataclass(frozen=True)
class Step:
    """A step that was taken. Its tensors are on the device: reading them synchronises."""

    index: int  # counted from 0
    t: int
    view: View
    direction_rms: Tensor
    losses: dict[Network, Tensor]  # of the learned models, before their update

    @property
    def logged(self) -> dict[str, Tensor | float]:
        """Return the step's numbers by their names in logs."""
        losses = {f"train/loss_{network.value}": loss for network, loss in self.losses.items()}
        return {"t": self.t, "train/direction_rms": self.direction_rms, **losses}


def optimise(
    state: TaskState, method: Method, steps: int, randomness: Randomness, start: int = 0
) -> Iterator[Step]:
    """Take the steps from `start` to `steps` down w(t) times the score's direction, and yield after each.

    The direction is applied as the gradient of the loss with respect to the latents: theta receives exactly
    w(t) * direction * d latents / d theta, averaged over the views of the step. The learned models are
    trained beside it (Eq. 7 and 8).
    """
    score, denoiser, need = method.score, method.denoiser, needs(method.score)
    schedule, models = denoiser.prior.schedule, denoiser.models
    depth = models is not None and models.needs_depth
    for step in range(start, steps):
        view = state.view(randomness, need.original, depth, method.sizes.at(step))
        clean = {kind: x.detach() for kind, x in view.latents.items()}
        x = view.latents[EDIT]
        t = method.schedule.draw(step, steps, len(schedule), randomness.host)
        noise = torch.randn(x.shape, generator=randomness.device, device=x.device)
        noisy = {kind: schedule.noised(latents, noise, t) for kind, latents in clean.items()}
        terms = score.direction(schedule, t, progress=step / max(steps - 1, 1))
        predict = partial(denoiser.predict, t=t, depth=view.depth)
        result = evaluate(terms, need.training_pairs, clean, noisy, noise, predict)

        x.backward(schedule.weight(score.weight, t) / len(x) * result.direction)
        state.step()
        losses = models.learn(result.predicted, noise) if models else {}
        yield Step(step, t, view, result.direction.square().mean().sqrt(), losses)
