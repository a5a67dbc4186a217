"""Algorithm 1 of the paper: the loop that every score, task and model shares, for one edit or several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.models.learned import learn
from piva.models.needs import TRAINING_PAIRS, needs
from piva.models.relevance import Relevance
from piva.priors.schedule import Schedule
from piva.scores.evaluate import Request, evaluate
from piva.scores.terms import (
    EDIT,
    ORIGINAL,
    Latents,
    Network,
    Noised,
    Normalised,
    Prediction,
    Score,
    Sum,
    guided_from,
)
from piva.tasks.base import Randomness, TaskState, View


@runtime_checkable
class TimestepSchedule(Protocol):
    """Settings of how a step's timestep is drawn, and perhaps of how long the step is."""

    def draw(self, step: int, steps: int, num_timesteps: int, generator: torch.Generator) -> int:
        """Draw the timestep in [0, num_timesteps) of step `step` of `steps`, counted from 0."""

    def length(self, step: int, steps: int, noise: Schedule) -> float | None:
        """Return how far the step goes along the direction of the latents; None: as the optimiser wants."""


@runtime_checkable
class NoiseRegulariser(Protocol):
    """Settings of what is done to a step's noise before its direction is asked for."""

    def renoise(
        self, denoiser: Denoiser, queries: Sequence[Query], originals: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return each step's noise anew, as it is to be for its original (b, c, y, x)."""


@runtime_checkable
class LossRegulariser(Protocol):
    """Settings of a loss beside the score, whose gradient is added to the direction."""

    def slopes(
        self, denoiser: Denoiser, queries: Sequence[Query], generators: Sequence[torch.Generator]
    ) -> list[tuple[dict[Prediction, Tensor], Tensor | None]]:
        """Return each edit's predictions that were made on the way, which the score need not make again, and
        the gradient by its latents x (b, c, y, x), if there is one. Generators are on the device.
        """


@dataclass(frozen=True)
class Sizes:
    """Coarse to fine: (steps, size) in order, the size of the renders until so many steps are done."""

    coarse: Sequence[tuple[int, int]] = ()

    def at(self, step: int) -> int | None:
        """Return the size at this step, counted from 0; None for the run's resolution."""
        return next((size for until, size in self.coarse if step < until), None)


@dataclass(frozen=True)
class Method:
    """How steps are taken, the same for every edit."""

    schedule: TimestepSchedule
    denoiser: Denoiser
    sizes: Sizes = Sizes()
    noises: int = 1  # of each view in a step; the direction is their mean
    learning_steps: int = 1  # of the learned models in a step
    guidance_start: float | None = None  # guidance at the first step, if it falls to the score's own
    relevance: Relevance | None = None  # where a direction acts on views that are new in each step
    regulariser: NoiseRegulariser | LossRegulariser | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None  # of two (b, 3, h, w) in [0, 1]: (b)


@dataclass
class Work:
    """One edit being optimised: what is edited, by which score, what the networks know, how far it is."""

    state: TaskState
    score: Score
    edit: Conditioning
    randomness: Randomness
    step: int = 0  # the next one, counted from 0
    error: Exception | None = None  # why it is left out from now on
    relevance: Tensor | None = None  # of a view that stays: its directions' weights (1, 1, y, x)


@dataclass(frozen=True)
class Step:
    """A step that was taken. Its tensors are on the device: reading them synchronises."""

    index: int  # counted from 0
    t: int | None  # of the networks' calls, if there were any
    view: View
    direction_rms: Tensor | None = None
    loss: Tensor | None = None  # where theta is fitted to pictures instead
    losses: dict[Network, Tensor] = field(default_factory=dict)  # of the learned models, before their update

    @property
    def logged(self) -> dict[str, Tensor | float]:
        """Return the step's numbers by their names in logs."""
        losses = {f"train/loss_{network.value}": loss for network, loss in self.losses.items()}
        numbers = {"t": self.t, "train/direction_rms": self.direction_rms, "train/loss": self.loss, **losses}
        return {name: number for name, number in numbers.items() if number is not None}


def optimise(works: Sequence[Work], method: Method, steps: int) -> Iterator[tuple[Work, Step]]:
    """Take all edits on to `steps` steps, together, and yield each step after it was taken.

    A work with an `error`, its state's or one that the caller sets, is left out from then on.
    """
    while at_work := [work for work in works if work.error is None and work.step < steps]:
        yield from take_step(at_work, method, steps)


def take_step(works: Sequence[Work], method: Method, steps: int) -> list[tuple[Work, Step]]:
    """Take one step of each edit down the score's direction, with one set of network calls.

    The learned models are trained beside it (Eq. 7 and 8). What an edit gets does not depend on the others,
    up to the rounding of larger batches. An edit whose state fails gets its `error` and no step.
    """
    asked = [each for work in works if (each := _ask(work, method, steps))]
    if isinstance(method.regulariser, NoiseRegulariser) and asked:
        originals = [each.request.clean[ORIGINAL] for each in asked]
        noises = method.regulariser.renoise(method.denoiser, [each.query for each in asked], originals)
        asked = [_with_noise(each, noise, method) for each, noise in zip(asked, noises, strict=True)]
    slopes: Sequence[Tensor | None] = [None] * len(asked)
    if isinstance(method.regulariser, LossRegulariser) and asked:
        draws = [each.work.randomness.device for each in asked]
        found = method.regulariser.slopes(method.denoiser, [each.query for each in asked], draws)
        known, slopes = zip(*found, strict=True)
        asked = [
            replace(each, request=replace(each.request, known=of_it))
            for each, of_it in zip(asked, known, strict=True)
        ]

    def predict(predictions: Sequence[Sequence[Prediction]]) -> list[dict[Prediction, Tensor]]:
        queries = [each.query for each in asked]
        pairs = zip(queries, predictions, strict=True)
        return method.denoiser.predict([replace(query, predictions=of_it) for query, of_it in pairs])

    results = evaluate([each.request for each in asked], predict)
    directions = [
        _final(each, _mean(result.direction, method), slope, method, steps)
        for each, result, slope in zip(asked, results, slopes, strict=True)
    ]
    for each, direction in zip(asked, directions, strict=True):
        _descend(each, direction, method, steps)
    losses = learn([
        (each.work.edit.models, result.predicted, each.request.noise)
        for each, result in zip(asked, results, strict=True)
    ])  # fmt: skip
    for _ in range(method.learning_steps - 1):
        _learn_again(asked, method, steps)
    taken = []
    for each, direction, loss in zip(asked, directions, losses, strict=True):
        rms = direction.square().mean().sqrt()
        taken.append((each.work, Step(each.work.step, each.query.t, each.view, rms, losses=loss)))
        each.work.step += 1
    return taken


def _learn_again(asked: Sequence["_Asked"], method: Method, steps: int) -> None:
    """Let the learned models take one more step on the same views, with other noise, and another timestep if
    the schedule draws one.
    """
    learning = [each for each in asked if each.request.training_pairs]
    if not learning:
        return
    drawn = [_draw(each.work, each.request.noise, each.view.alike, method, steps) for each in learning]
    queries = [
        replace(
            each.query,
            predictions=each.request.training_pairs,
            noisy=_noised(each.request.clean, noise, method, t),
            t=t,
        )
        for each, (t, noise) in zip(learning, drawn, strict=True)
    ]
    learn([
        (each.work.edit.models, {pair.network: eps for pair, eps in answer.items()}, noise)
        for each, (_, noise), answer in zip(learning, drawn, method.denoiser.predict(queries), strict=True)
    ])  # fmt: skip


def _draw(work: Work, like: Tensor, alike: int, method: Method, steps: int) -> tuple[int, Tensor]:
    """Draw the timestep of a work's next step, and noise, the same for so many rows in turn."""
    draw, num_timesteps = work.randomness, len(method.denoiser.prior.schedule)
    t = method.schedule.draw(work.step, steps, num_timesteps, draw.host)
    shape = len(like) // alike, *like.shape[1:]
    noise = torch.randn(shape, generator=draw.device, device=like.device)
    return t, noise.repeat_interleave(alike, 0)


def _noised(
    clean: Mapping[Latents, Tensor], noise: Tensor, method: Method, t: int
) -> dict[Latents | Noised, Tensor]:
    """Return x_t and xhat_t, as far as there are x and xhat."""
    schedule = method.denoiser.prior.schedule
    return {kind: schedule.noised(latents, noise, t) for kind, latents in clean.items()}


def _mean(rows: Tensor, method: Method) -> Tensor:
    """Return the mean over the noises of each view."""
    mean: Tensor = rows.unflatten(0, (method.noises, -1)).mean(0)
    return mean


def _progress(work: Work, steps: int) -> float:
    return work.step / max(steps - 1, 1)


def _final(asked: "_Asked", direction: Tensor, slope: Tensor | None, method: Method, steps: int) -> Tensor:
    """Return the direction as the score wants it, with the regulariser's slope, where it is relevant."""
    work = asked.work
    final = _normalised(work.score, direction, _progress(work, steps))
    if slope is not None:
        final = final + _mean(slope, method)
    weight = work.relevance
    if method.relevance is not None:
        original, generator = asked.view.latents[ORIGINAL], work.randomness.device
        weight = method.relevance.weights(method.denoiser, work.edit, original, generator, asked.view.alike)
    return final if weight is None else final * weight


def _normalised(score: Score, direction: Tensor, progress: float) -> Tensor:
    """Return the direction with the standard deviation that the score wants, without waiting for it."""
    if not isinstance(score, Normalised):
        return direction
    deviation = direction.std()
    scaled = direction * (score.deviation(progress) / deviation)
    return torch.where(deviation < score.threshold, torch.zeros_like(direction), scaled)


def step_length(
    schedule: TimestepSchedule, score: Score, noise: Schedule, step: int, steps: int
) -> float | None:
    """Return how far the latents themselves go along the direction in step `step`, counted from 0; None if
    theta goes down it by its optimiser: the schedule does not say, or the score's weight is its `own`, which
    makes its direction a step already.
    """
    return None if score.weight == "own" else schedule.length(step, steps, noise)


def _descend(asked: "_Asked", direction: Tensor, method: Method, steps: int) -> None:
    """Move theta down a direction of its latents.

    It is applied as the gradient of the loss with respect to the latents: theta receives exactly w(t) *
    direction * d latents / d theta, averaged over the views of the step, for the task's optimiser. Where the
    latents have a length to go (`step_length`), they go, and theta follows them.
    """
    schedule, work, t = method.denoiser.prior.schedule, asked.work, asked.query.t
    x = asked.view.latents[EDIT]
    length = step_length(method.schedule, work.score, schedule, work.step, steps)
    if length is None:
        x.backward(schedule.weight(work.score.weight, t) / len(x) * direction)
        work.state.step()
        return
    work.state.follow(x.detach().sub(direction, alpha=length), work.randomness)


def learn_source(work: Work, method: Method, steps: int) -> None:
    """Let eps_psi of a work that has no other model learn the original (Eq. 7), as in a run of so many steps.

    What it learns does not depend on any edit of that original.
    """
    schedule, pair = method.denoiser.prior.schedule, TRAINING_PAIRS[Network.SOURCE]
    depth = method.denoiser.control is not None
    for step in range(steps):
        with torch.no_grad():
            view = work.state.view(work.randomness, True, depth, method.sizes.at(0))
        x = view.latents[ORIGINAL]
        t, noise = _draw(replace(work, step=step), x, view.alike, method, steps)
        query = Query(work.edit, [pair], {ORIGINAL: schedule.noised(x, noise, t)}, t, view.depth)
        (eps,) = method.denoiser.predict([query])
        learn([(work.edit.models, {Network.SOURCE: eps[pair]}, noise)])


@dataclass(frozen=True)
class _Asked:
    """What a work sees at its next step, and what it asks of the networks."""

    work: Work
    view: View
    query: Query
    request: Request


def _ask(work: Work, method: Method, steps: int) -> _Asked | None:
    """Look at a state and draw its timestep and noise; None, and the work's `error`, if it has failed."""
    schedule, models = method.denoiser.prior.schedule, work.edit.models
    pairs = models.pairs(work.step) if models else []
    original = needs(work.score).original or any(p.latents is ORIGINAL for p in pairs)
    original = original or method.regulariser is not None or method.relevance is not None
    depth = models is not None and method.denoiser.control is not None
    length = step_length(method.schedule, work.score, schedule, work.step, steps)
    try:
        with torch.set_grad_enabled(length is None):
            view = work.state.view(work.randomness, original, depth, method.sizes.at(work.step))
    except FloatingPointError as error:
        work.error = error
        return None
    # a row for each noise of each view
    clean = {kind: x.detach().repeat(method.noises, 1, 1, 1) for kind, x in view.latents.items()}
    depths = {kind: seen.repeat(method.noises, 1, 1) for kind, seen in view.depth.items()}
    t, noise = _draw(work, clean[EDIT], view.alike, method, steps)
    progress = _progress(work, steps)
    score = guided_from(work.score, method.guidance_start, progress)
    terms = score.direction(schedule, t, progress)
    query = Query(work.edit, (), _all_noised(terms, clean, noise, method, t), t, depths)
    return _Asked(work, view, query, Request(terms, pairs, clean, noise))


def _with_noise(asked: _Asked, noise: Tensor, method: Method) -> _Asked:
    """Return what a work asks with other noise."""
    request = replace(asked.request, noise=noise)
    noisy = _all_noised(request.terms, request.clean, noise, method, asked.query.t)
    return replace(asked, query=replace(asked.query, noisy=noisy), request=request)


def _all_noised(
    terms: Sum, clean: Mapping[Latents, Tensor], noise: Tensor, method: Method, t: int
) -> dict[Latents | Noised, Tensor]:
    """Return all noised latents that the terms' networks see."""
    schedule, noisy = method.denoiser.prior.schedule, _noised(clean, noise, method, t)
    for seen in {each.latents for each in terms.predictions} - noisy.keys():
        assert isinstance(seen, Noised)
        noisy[seen] = schedule.noised(clean[seen.of], noise, t if seen.t is None else seen.t)
        if seen.shift:
            noisy[seen] += seen.shift * (clean[EDIT] - clean[ORIGINAL])
    return noisy
