"""What the frozen, the source and the target model would paint in the course of a run (the paper's Figures 8 and 9)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as iio
import torch
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor
from torchvision.utils import make_grid

from piva.images import to_uint8
from piva.models.base import LearnedModels
from piva.priors.prior import Evaluations, Prior
from piva.scores.terms import EDIT, SOURCE, TARGET, Network, Prompt, Sum, frozen, source_model, target_model
from piva.tasks.base import View


@dataclass(frozen=True, kw_only=True)
class Painters:
    """The models and how they paint: the learned ones without guidance, as they are used (the paper, A.1)."""

    prior: Prior
    models: LearnedModels | None
    learned: Collection[Network]
    contexts: Mapping[Prompt, Tensor]
    steps: int  # of DDIM
    guidance_scale: float  # of the frozen model

    @property
    def sums(self) -> list[Sum]:
        """What each painter predicts: the frozen model and phi for the target prompt, psi for the source prompt."""
        own = {Network.SOURCE: source_model(EDIT, SOURCE), Network.TARGET: target_model(EDIT, TARGET)}
        return [
            frozen(EDIT, TARGET, self.guidance_scale),
            *(own[network] for network in own if network in self.learned),
        ]

    @torch.no_grad()
    def paint(self, view: View, count: int, generator: torch.Generator) -> Float[Tensor, "m n 3 h w"]:
        """`count` pictures in [0, 1] of each painter, in the size of `view` and, if the models look at it, with its first depth.

        All begin with the same noise. Passes of the networks are not counted as the run's.
        """
        prior = replace(self.prior, evaluations=Evaluations())
        scheduler = DDIMScheduler.from_pretrained(prior.path, subfolder="scheduler")
        scheduler = DDIMScheduler.from_config(
            scheduler.config, prediction_type="epsilon"
        )  # what Prior.predict gives
        scheduler.set_timesteps(self.steps)
        depth = {which: seen[:1].expand(count, -1, -1) for which, seen in view.depth.items()}
        like = view.latents[EDIT]
        noise = torch.randn(count, *like.shape[1:], generator=generator, device=like.device)
        sums = self.sums
        predictions = [prediction for terms in sums for prediction in terms.predictions]
        painter = [i for i, terms in enumerate(sums) for _ in terms.predictions]  # of each prediction
        weights = [weight for terms in sums for weight in terms.weights.values()]
        context = torch.cat(
            [self.contexts[prediction.prompt].expand(count, -1, -1) for prediction in predictions]
        )
        pictures = [noise] * len(sums)
        for t in scheduler.timesteps.tolist():
            x = torch.cat([pictures[i] for i in painter])
            rows = (
                self.models.predict(prior, predictions, x, t, context, depth)
                if self.models
                else prior.predict(x, t, context)
            )
            eps = [torch.zeros_like(noise) for _ in sums]
            for i, weight, predicted in zip(painter, weights, rows.split(count), strict=True):
                eps[i] += weight * predicted
            pictures = [scheduler.step(e, t, x).prev_sample for e, x in zip(eps, pictures, strict=True)]
        return torch.stack([prior.decode(picture) for picture in pictures])


class Samples:
    """The pictures painted at chosen steps, kept until the edit is saved; a `Watch` of `optimise`."""

    def __init__(
        self,
        painters: Painters,
        at: Collection[int],
        count: int,
        generator: Callable[[], torch.Generator],
        painted: dict[str, Tensor],
    ) -> None:
        """`painted` is where the pictures go, by step: what a checkpoint keeps."""
        self._painters, self._at, self._count, self._generator, self._painted = (
            painters,
            at,
            count,
            generator,
            painted,
        )

    def __call__(self, step: int, view: View) -> None:
        """Paint if `step`, counted from 0, is a chosen one; always with the same noise, so that steps can be compared."""
        if step + 1 in self._at:
            self._painted[str(step + 1)] = self._painters.paint(view, self._count, self._generator()).cpu()

    def save(self, folder: Path) -> None:
        """`samples-<step>.png`: a row of pictures for each model."""
        for step, pictures in self._painted.items():
            grid = make_grid(pictures.flatten(0, 1), nrow=self._count, padding=2, pad_value=1.0)
            iio.imwrite(folder / f"samples-{step}.png", to_uint8(grid[None])[0])
