"""Iterative dataset update at work: InstructPix2Pix edits training pictures, the field is fitted to them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from piva.optimise import Step, Work
from piva.priors.prior import Prior
from piva.scores.terms import NULL, TARGET
from piva.tasks.base import PhotographedState, View

if TYPE_CHECKING:
    from piva.methods.dataset_update import DatasetUpdate


def guided(text: Tensor, picture: Tensor, neither: Tensor, scale: float, picture_scale: float) -> Tensor:
    """Return InstructPix2Pix's guided prediction (Brooks et al. 2023, Eq. 3).

    Of predictions with instruction and picture, with the picture alone, and with neither.
    """
    return neither + picture_scale * (picture - neither) + scale * (text - picture)


@dataclass(frozen=True)
class Update:
    """An update of datasets by a prior; `lpips` compares pictures, with a graph."""

    settings: "DatasetUpdate"
    prior: Prior
    lpips: Callable[[Tensor, Tensor], Tensor] | None

    def edit(self, works: Sequence[Work], steps: int) -> Iterator[tuple[Work, Step]]:
        """Edit scenes one after the other, and yield each step after it was taken."""
        for work in works:
            while work.error is None and work.step < steps:
                try:
                    step = self._step(work)
                except FloatingPointError as error:
                    work.error = error
                else:
                    yield work, step

    def _step(self, work: Work) -> Step:
        """Edit the next picture, if it is time, and take a step towards patches of all."""
        s, state = self.settings, work.state
        assert isinstance(state, PhotographedState)  # the settings have refused others
        photos, (turn, rest) = state.photos(), divmod(work.step, s.every)
        t = None
        if rest == 0:
            index = turn % len(photos)
            picture, t = self.edited(work, photos.original(index), state.render_photo(index))
            photos.change(index, picture[0])
        patches = photos.patches(s.patches, s.patch_size, work.randomness.host)
        rgb, wanted = state.render_rays(patches.rays_o, patches.rays_d), patches.rgb
        if patches.keep is not None:
            wanted = torch.where(patches.keep[:, None], wanted, rgb.detach())
        loss = self.loss(*(x.view(-1, patches.side, patches.side, 3).movedim(3, 1) for x in (rgb, wanted)))
        # a sum over pixels, as a score's direction is one: beside it the field's own smoothing is weighed
        torch.autograd.backward(len(rgb) * loss)
        state.step()
        work.step += 1
        return Step(work.step - 1, t, View(latents={}), loss=loss.detach())

    def loss(self, rgb: Float[Tensor, "n 3 s s"], wanted: Float[Tensor, "n 3 s s"]) -> Tensor:
        """Return the mean absolute difference, plus `settings.lpips` times LPIPS."""
        loss = (rgb - wanted).abs().mean()
        if self.settings.lpips:
            assert self.lpips is not None  # the settings have asked for it
            loss = loss + self.settings.lpips * self.lpips(rgb.clamp(0, 1), wanted).mean()
        return loss

    @torch.no_grad()
    def edited(
        self, work: Work, original: Float[Tensor, "1 3 h w"], render: Float[Tensor, "1 3 h w"]
    ) -> tuple[Float[Tensor, "1 3 h w"], int]:
        """Return a render, edited as InstructPix2Pix is told and the original shows, and the timestep that it
        was noised to, which is drawn uniformly.

        Three rows through the U-Net a step of DDIM.
        """
        prior, s, draw = self.prior, self.settings, work.randomness
        total = len(prior.schedule)
        low, high = (max(int(part * total), s.ddim_steps) for part in (s.t_min, s.t_max))
        until = int(torch.randint(low, high + 1, (), generator=draw.host))
        scheduler = _scheduler(prior, until, s.ddim_steps)
        picture = prior.encode(original) / prior.vae.config.scaling_factor  # as it was trained
        seen = torch.cat([picture, picture, torch.zeros_like(picture)])
        context = torch.cat([work.edit.contexts[prompt] for prompt in (TARGET, NULL, NULL)])
        x = prior.encode(render)
        noise = torch.randn(x.shape, generator=draw.device, device=x.device)
        times: list[int] = scheduler.timesteps.tolist()
        x = prior.schedule.noised(x, noise, times[0])
        for t in times:
            rows = torch.cat([x.expand(3, -1, -1, -1), seen], dim=1)
            eps = prior.predict(rows, prior.timestep(t).expand(3), context)
            work.edit.evaluations.forward += 3
            work.edit.evaluations.calls += 1
            text, alone, neither = eps.split(1)
            eps = guided(text, alone, neither, s.guidance_scale, s.image_guidance_scale)
            x = scheduler.step(eps, t, x).prev_sample
        return prior.decode(x), times[0]


def _scheduler(prior: Prior, until: int, steps: int) -> DDIMScheduler:
    """Return DDIM from about timestep `until` to 0, as Instruct-NeRF2NeRF takes it."""
    own = {"prediction_type": "epsilon", "timestep_spacing": "leading"}
    scheduler: DDIMScheduler = DDIMScheduler.from_config(prior.scheduler.config, **own)
    scheduler.register_to_config(num_train_timesteps=until)  # the noise of each timestep stays as it is
    scheduler.set_timesteps(steps)
    return scheduler
