"""Samples of the frozen, source and target models in the course of a run (the paper's Figures 8 and 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor
from torchvision.utils import make_grid

from piva.images import save_image, to_uint8
from piva.models.denoiser import Conditioning, Denoiser, NetworkEvaluations, Query
from piva.scores.terms import EDIT, SOURCE, TARGET, Latents, Network, Sum, frozen, source_model, target_model


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """DDIM with each model: the learned ones without guidance, as they are used (the paper, A.1)."""

    denoiser: Denoiser
    edit: Conditioning
    steps: int  # of DDIM
    guidance_scale: float  # of the frozen model

    @property
    def sums(self) -> list[Sum]:
        """Return each model's prediction: psi with the source prompt, the others with the target prompt."""
        own = {Network.SOURCE: source_model(EDIT, SOURCE), Network.TARGET: target_model(EDIT, TARGET)}
        frozen_model = frozen(EDIT, TARGET, self.guidance_scale)
        learned = self.edit.models.weights if self.edit.models else ()
        return [frozen_model, *(own[network] for network in own if network in learned)]

    @torch.no_grad()
    def sample(
        self, like: Tensor, depth: Mapping[Latents, Tensor], count: int, generator: torch.Generator
    ) -> Float[Tensor, "m n 3 h w"]:
        """Return `count` pictures in [0, 1] of each of the m models, all from the same noise.

        Their latents have the size of `like` (b, c, y, x); the models see the first view's `depth`, if there
        is any. The edit's network evaluations do not count these.
        """
        prior, edit = self.denoiser.prior, replace(self.edit, evaluations=NetworkEvaluations())
        # Prior.predict's
        scheduler = DDIMScheduler.from_config(prior.scheduler.config, prediction_type="epsilon")
        scheduler.set_timesteps(self.steps)
        depth = {which: seen[:1].expand(count, -1, -1) for which, seen in depth.items()}
        sums = self.sums
        latents = [torch.randn(count, *like.shape[1:], generator=generator, device=like.device)] * len(sums)
        for t in scheduler.timesteps.tolist():
            queries = [
                Query(edit, terms.predictions, {EDIT: x}, t, depth)
                for terms, x in zip(sums, latents, strict=True)
            ]
            eps = []
            for terms, answer in zip(sums, self.denoiser.predict(queries), strict=True):
                eps.append(torch.stack([terms.weights[p] * answer[p] for p in terms.predictions]).sum(0))
            latents = [scheduler.step(e, t, x).prev_sample for e, x in zip(eps, latents, strict=True)]
        return torch.stack([prior.decode(x) for x in latents])


def save_samples(samples: Mapping[str, Float[Tensor, "m n 3 h w"]], folder: Path) -> None:
    """Write `samples-<step>.png` for each step: a row of n pictures for each of m models."""
    for step, pictures in samples.items():
        grid = make_grid(pictures.flatten(0, 1), nrow=pictures.shape[1], padding=2, pad_value=1.0)
        save_image(folder / f"samples-{step}.png", to_uint8(grid))
