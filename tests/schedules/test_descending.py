"""Steps of a given length: FlowEdit's trajectory, its fixed points, its limit, and where it may stop."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.recorder import Recorder
from helpers.tiny_prior import contexts
from PIL import Image
from torch import Tensor

from piva.datasets.edit import Edit
from piva.models.denoiser import Conditioning, Denoiser
from piva.optimise import Method, Work, optimise
from piva.priors.prior import Prior
from piva.runs.checkpoint import Clock, EditState
from piva.schedules.decreasing import Decreasing
from piva.schedules.descending import Descending
from piva.scores.dds import DDS
from piva.scores.pds import PDS
from piva.scores.terms import NULL, SOURCE, TARGET, Prompt
from piva.tasks.base import Randomness
from piva.tasks.image import ImageState, ImageTask

SCHEDULE = Descending(t_min=0.02, t_max=0.9, step="flow")
SCORE = DDS(guidance_scale=4.5, guidance_source=1.5, reference="original", weight="sigma_squared")
EQUAL = DDS(guidance_scale=4.5, reference="original", weight="sigma_squared")


class Linear:
    """A network that is linear in its latents, for the U-Net's own."""

    def __init__(self) -> None:
        self._mix = 0.4 * torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def __call__(self, x: Tensor, t: Tensor, context: Tensor, **_: Any) -> tuple[Tensor]:
        shift = context.mean(1)[:, :4, None, None] * (t[:, None, None, None] / 1000).cos()
        return (torch.einsum("ij,bjyx->biyx", self._mix, x) + shift,)


@pytest.fixture
def precise(prior: Prior) -> Prior:
    """The tiny prior, whose U-Net is random, at double precision."""
    prior.unet.double()
    return prior


def draws(seed: int = 0) -> Randomness:
    return Randomness(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))


def latents(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5), dtype=dtype)


def edited(prior: Prior, steps: int, score: Any = SCORE, schedule: Any = SCHEDULE, **options: Any) -> Tensor:
    """The picture after `steps` steps by the program."""
    words = options.pop("words", contexts(prior))
    state = Recorder(options.pop("start", latents()), scale=1)
    work = Work(state, score, Conditioning(words), draws())
    list(optimise([work], Method(schedule, Denoiser(prior), **options), steps))
    return state.theta.detach()


def flow_edit(prior: Prior, steps: int) -> Tensor:
    """Algorithm 1 of FlowEdit in its own coordinates: z_t = (1 - t) z + t eps, v = eps - z."""
    words, draw = contexts(prior), draws()
    source = latents()
    edit = source.clone()
    timesteps = [*np.linspace(900, 20, steps).round().astype(int).tolist(), None]
    abar = torch.tensor(prior.schedule.alphas_cumprod, dtype=torch.float64)

    def time(timestep: int | None) -> Tensor:
        if timestep is None:
            return torch.zeros((), dtype=torch.float64)
        alpha, sigma = abar[timestep].sqrt(), (1 - abar[timestep]).sqrt()
        return sigma / (alpha + sigma)

    def velocity(z: Tensor, timestep: int, prompt: Prompt, scale: float) -> Tensor:
        alpha, sigma, t = abar[timestep].sqrt(), (1 - abar[timestep]).sqrt(), time(timestep)
        at = torch.tensor([timestep])
        cond, null = (
            prior.unet((alpha + sigma) * z, at, words[p].double(), return_dict=False)[0]
            for p in (prompt, NULL)
        )
        eps = null + scale * (cond - null)
        return eps - (z - t * eps) / (1 - t)

    for timestep, following in pairwise(timesteps):
        assert timestep is not None
        t = time(timestep)
        noisy = (1 - t) * source + t * torch.randn(source.shape, generator=draw.device)
        moved = edit + noisy - source
        v = velocity(moved, timestep, TARGET, 4.5) - velocity(noisy, timestep, SOURCE, 1.5)
        edit = edit + (time(following) - t) * v
    return edit


@pytest.mark.parametrize("steps", [1, 7, 20])
def test_dds_is_flow_edit(precise: Prior, steps: int) -> None:
    expected = flow_edit(precise, steps)
    assert (expected - latents()).abs().max() > 0.1
    error = (edited(precise, steps) - expected).abs().max() / expected.abs().max()
    assert error < 1e-6


def test_the_last_step_ends_without_noise_and_all_lengths_are_the_first_noise(prior: Prior) -> None:
    noise, flow = prior.schedule, SCHEDULE
    assert sum(flow.length(i, 20, noise) for i in range(20)) == pytest.approx(noise.noise_to_signal(900))
    assert flow.length(19, 20, noise) == noise.noise_to_signal(20)
    assert flow.length(0, 1, noise) == noise.noise_to_signal(900)


@pytest.mark.parametrize("step", range(10))
def test_edit_friendly_lengths_are_turbo_edits(prior: Prior, step: int) -> None:
    """Its timesteps are ten from 898 to 99; (1 - abar_t / abar_next) / sqrt(abar_t (1 - abar_t))."""
    schedule = Descending(t_min=0.099, t_max=0.898, step="edit_friendly")
    timesteps = [schedule.draw(i, 10, 1000, torch.Generator()) for i in range(10)]
    assert (timesteps[0], timesteps[-1]) == (898, 99)
    abar = [*(prior.schedule.alphas_cumprod[t] for t in timesteps), 1.0]
    expected = (1 - abar[step] / abar[step + 1]) / (abar[step] * (1 - abar[step])) ** 0.5
    assert schedule.length(step, 10, prior.schedule) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("reference", ["edit", "original"])
@pytest.mark.parametrize("noises", [1, 3])
def test_equal_prompts_leave_the_picture_bit_for_bit(precise: Prior, reference: str, noises: int) -> None:
    """Equal predictions cancel exactly; rows of a batch may differ by less than float32 shows."""
    same = dict.fromkeys(Prompt, precise.text("a cat")) | {NULL: precise.text("")}
    start = latents(torch.float32)
    score = replace(EQUAL, reference=reference)
    assert torch.equal(edited(precise, 5, score, words=same, start=start, noises=noises), start)


def test_shorter_steps_converge(precise: Prior) -> None:
    """To first order, by a linear network, of which the noise drops out: the limit is an integral."""
    precise.unet.forward = Linear()
    limit = edited(precise, 177)
    errors = [(edited(precise, steps) - limit).abs().max().item() for steps in (6, 12, 23)]
    assert errors[0] > 0.01
    assert all(1.6 < a / b < 2.6 for a, b in pairwise(errors)), errors


def test_a_direction_with_its_own_weight_is_a_step_of_the_optimiser(precise: Prior) -> None:
    """The schedule gives it timesteps and no length."""
    own = PDS(guidance_scale=2.0, gap=2, weight="own")
    plain = replace(own, weight="uniform")
    falling = Decreasing(t_min=0.02, t_max=0.9, width=0.0)
    same = edited(precise, 3, own), edited(precise, 3, plain, falling)
    torch.testing.assert_close(*same)
    assert not torch.allclose(same[0], edited(precise, 3, plain))


def test_several_noises_are_rows_of_one_call_and_their_mean(precise: Prior) -> None:
    start = latents()
    state = Recorder(start, scale=1)
    work = Work(state, SCORE, Conditioning(contexts(precise)), draws())
    (_,) = optimise([work], Method(SCHEDULE, Denoiser(precise), noises=3), 1)
    assert (work.edit.evaluations.forward, work.edit.evaluations.calls) == (12, 1)
    noise = torch.randn(3, 4, 8, 8, generator=draws().device)

    def alone(row: Tensor) -> Tensor:
        noisy = precise.schedule.noised(start, row[None], 900)
        eps = {
            p: precise.predict(noisy, precise.timestep(900), words) for p, words in contexts(precise).items()
        }
        return 4.5 * eps[TARGET] - 3.5 * eps[NULL] - (1.5 * eps[SOURCE] - 0.5 * eps[NULL])

    mean = torch.stack([alone(row) for row in noise]).mean(0)
    expected = start - precise.schedule.noise_to_signal(900) * mean
    torch.testing.assert_close(state.theta.detach(), expected, rtol=1e-5, atol=1e-5)


def test_halves_of_a_resumed_run_are_the_unbroken_one(prior: Prior, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    task = ImageTask(
        lr=0.1,
        lr_steps=None,
        optimiser="sgd",
        lr_schedule="cosine",
        lr_end=0.01,
        lr_warmup=0.0,
        residual=False,
    )
    edit = Edit(id="x", source_prompt="a dog", target_prompt="a cat", image=path)
    method = Method(SCHEDULE, Denoiser(prior))

    def opened() -> tuple[Work, ImageState, EditState]:
        randomness = draws()
        state = task.open(edit, prior, 32, 6, randomness)
        work = Work(state, SCORE, Conditioning(contexts(prior)), randomness)
        saved = EditState(
            state=state, models=None, randomness=randomness, evaluations=work.edit.evaluations, clock=Clock()
        )
        return work, state, saved

    whole, unbroken, _ = opened()
    list(optimise([whole], method, 6))
    half, _, first = opened()
    steps = optimise([half], method, 6)
    for _ in range(3):
        next(steps)
    resumed, state, second = opened()
    torch.save(first.checkpoint(), tmp_path / "half.pt")
    second.restore(torch.load(tmp_path / "half.pt", weights_only=True))
    resumed.step = half.step
    list(optimise([resumed], method, 6))
    assert torch.equal(state.state_dict()["latents"], unbroken.state_dict()["latents"])
