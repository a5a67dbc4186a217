"""DDIM inversion, and denoising beside the source's branch: DDIM and direct inversion, prompt-to-prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from torch import Tensor

from piva.methods.attention import Pair, align, attending_alike
from piva.models.denoiser import Denoiser, Query
from piva.optimise import Step, Work
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Network, Prediction, Sum, frozen
from piva.tasks.base import View

if TYPE_CHECKING:
    from piva.methods.inversion import PromptToPrompt

OF_SOURCE = Prediction(Network.FROZEN, ORIGINAL, SOURCE)
OF_TARGET = Prediction(Network.FROZEN, EDIT, TARGET)
Scheduler = TypeVar("Scheduler", DDIMScheduler, DDIMInverseScheduler)


@dataclass
class _Branches:
    """One edit on its way from noise, and the source beside it."""

    work: Work
    inverted: list[Tensor]  # the original's latents at each time of DDIM, the clean ones first
    alignment: Tensor  # of the prompts' tokens
    target: Tensor
    source: Tensor


@dataclass(frozen=True)
class Inversion:
    """An inversion whose `corrected` branches are put back on it at every step ("none": DDIM's own)."""

    denoiser: Denoiser
    guidance_scale: float
    attention: "PromptToPrompt"
    corrected: Literal["none", "source", "both"]

    def edit(self, works: Sequence[Work], steps: int) -> Iterator[tuple[Work, Step]]:
        """Invert and denoise pictures, those of one size together; their latents change at the end."""
        for _, group in groupby(sorted(works, key=_size), _size):
            yield from self._edit(list(group), steps)

    def _edit(self, works: Sequence[Work], steps: int) -> Iterator[tuple[Work, Step]]:
        edits = [self._start(*each) for each in zip(works, invert(works, self.denoiser, steps), strict=True)]
        scheduler = _scheduler(DDIMScheduler, self.denoiser, steps)
        for index, t in enumerate(scheduler.timesteps.tolist()):
            edits = [each for each in edits if each.work.error is None]
            for each, eps in zip(edits, self._denoise(edits, scheduler, index, t), strict=True):
                if index == steps - 1:
                    _set_latents(each.work, each.target)
                rms = eps.square().mean().sqrt()
                each.work.step += 1
                yield each.work, Step(index, t, View(latents={EDIT: each.target}), rms)

    def _start(self, work: Work, inverted: list[Tensor]) -> _Branches:
        source, target = (work.edit.tokens[prompt][0].tolist() for prompt in (SOURCE, TARGET))
        alignment = align(source, target, self.attention.words).to(inverted[0])
        return _Branches(work, inverted, alignment, inverted[-1], inverted[-1])

    @torch.no_grad()
    def _denoise(
        self, edits: Sequence[_Branches], scheduler: DDIMScheduler, index: int, t: int
    ) -> list[Tensor]:
        """Take one step of both branches of each edit, and return the noise predicted for the edits."""
        cross, within = (index < end for end in self.attention.ends(len(scheduler.timesteps)))
        shared = cross or within
        target, source = self._sums(shared)
        asked = [*target.predictions, *source.predictions]
        queries = [
            Query(each.work.edit, asked, {EDIT: each.target, ORIGINAL: each.source}, t) for each in edits
        ]
        rows = range(0, len(asked) * len(edits), len(asked))  # where each edit's begin
        own, others = (asked.index(OF_TARGET), asked.index(OF_SOURCE)) if shared else (0, 0)
        pairs = [
            Pair(i + others, i + own, each.alignment) for i, each in zip(rows, edits, strict=True) if shared
        ]
        size = self.attention.self_size if within else 0
        with attending_alike(self.denoiser.prior.unet, pairs, cross, size):
            answers = self.denoiser.predict(queries)
        predicted = []
        for each, answer in zip(edits, answers, strict=True):
            predicted.append(eps := _total(target, answer))
            after, before = scheduler.step(eps, t, each.target).prev_sample, each.source
            if source.weights:
                before = scheduler.step(_total(source, answer), t, before).prev_sample
            each.source = before if self.corrected == "none" else each.inverted[-2 - index]
            # in this order, so that an edit equal to its source stays so bit for bit
            each.target = each.source + (after - before) if self.corrected == "both" else after
        return predicted

    def _sums(self, shared: bool) -> tuple[Sum, Sum]:
        """Return the predictions of the edit and of the source, which is followed while it is of use."""
        target = frozen(EDIT, TARGET, self.guidance_scale)
        if self.corrected == "both" or (shared and self.corrected == "none"):
            return target, frozen(ORIGINAL, SOURCE, self.guidance_scale)
        # the latents of a corrected branch are known: only where it attends counts
        return target, Sum({OF_SOURCE: 1.0}) if shared else Sum()


@torch.no_grad()
def invert(works: Sequence[Work], denoiser: Denoiser, steps: int) -> list[list[Tensor]]:
    """Return the originals' latents (1, c, y, x) at each time of DDIM, `steps` + 1, the clean ones first.

    The source prompt leads there, without guidance: a network evaluation a step.
    """
    scheduler = _scheduler(DDIMInverseScheduler, denoiser, steps)
    paths = [[work.state.view(work.randomness, original=True).latents[ORIGINAL]] for work in works]
    for t in scheduler.timesteps.tolist():
        queries = [
            Query(work.edit, [OF_SOURCE], {ORIGINAL: path[-1]}, t)
            for work, path in zip(works, paths, strict=True)
        ]
        for path, eps in zip(paths, denoiser.predict(queries), strict=True):
            path.append(scheduler.step(eps[OF_SOURCE], t, path[-1]).prev_sample)
    return paths


def _scheduler(kind: type[Scheduler], denoiser: Denoiser, steps: int) -> Scheduler:
    """Return the prior's schedule for noise predictions, with the same timesteps there and back."""
    own: dict[str, Any] = {"prediction_type": "epsilon", "timestep_spacing": "leading"}
    scheduler: Scheduler = kind.from_config(denoiser.prior.scheduler.config, **own)
    scheduler.set_timesteps(steps)
    return scheduler


def _size(work: Work) -> tuple[int, ...]:
    return tuple(work.state.view(work.randomness, original=False).latents[EDIT].shape)


@torch.no_grad()
def _set_latents(work: Work, latents: Tensor) -> None:
    """Give a picture's theta, which its latents are, new values."""
    theta = work.state.view(work.randomness, original=False).latents[EDIT]
    assert theta.is_leaf  # Inversion's settings have refused renders
    theta.copy_(latents)


def _total(terms: Sum, answer: dict[Prediction, Tensor]) -> Tensor:
    return torch.stack([terms.weights[each] * answer[each] for each in terms.predictions]).sum(0)
