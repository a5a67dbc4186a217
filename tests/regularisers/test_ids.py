"""IDS: the original denoises to itself the better, at the cost that is counted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.recorder import Recorder
from helpers.tiny_prior import contexts
from helpers.two_edits import two_edits
from torch import Tensor

from piva import compose, run
from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.optimise import Method, Work, optimise
from piva.priors.prior import Prior
from piva.regularisers.ids import IDS
from piva.schedules.uniform import Uniform
from piva.scores.dds import DDS
from piva.scores.terms import NULL, ORIGINAL, SOURCE, Prompt
from piva.tasks.base import Randomness

SCHEDULE = Uniform(t_min=0.02, t_max=0.98)
DELTA = DDS(guidance_scale=7.5, reference="original", weight="uniform")


def denoised(prior: Prior, noisy: Tensor, t: int, guidance_scale: float) -> Tensor:
    """The original that the guided prediction leads to, in the textbook's words."""
    own = contexts(prior)
    cond, uncond = (
        prior.predict(noisy, prior.timestep(t), own[p].expand(len(noisy), -1, -1)) for p in (SOURCE, NULL)
    )
    abar = prior.schedule.alphas_cumprod[t]
    eps = uncond + guidance_scale * (cond - uncond)
    return (noisy - (1 - abar) ** 0.5 * eps) / abar**0.5


@pytest.mark.parametrize("rows", [1, 2])
def test_one_iteration_is_a_step_down_the_distance_of_each_row(prior: Prior, rows: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(rows, 4, 8, 8, generator=draw) for _ in range(2))
    abar, t = prior.schedule.alphas_cumprod[400], 400
    noisy = abar**0.5 * x + (1 - abar) ** 0.5 * noise
    query = Query(Conditioning(contexts(prior)), (), {ORIGINAL: noisy}, t)
    settings = IDS(iterations=1, rate=0.5, guidance_scale=7.5)
    (found,) = settings.renoise(Denoiser(prior), [query], [x])
    for i in range(rows):
        z = noisy[i : i + 1].clone().requires_grad_(True)
        distance = (x[i] - denoised(prior, z, t, 7.5)[0]).square().sum().sqrt()
        (slope,) = torch.autograd.grad(distance, z)
        expected = (z - 0.5 * slope - abar**0.5 * x[i]) / (1 - abar) ** 0.5
        torch.testing.assert_close(found[i : i + 1], expected.detach(), atol=1e-4, rtol=1e-4)


def test_the_original_denoises_nearer_to_itself(prior: Prior) -> None:
    draw, t = torch.Generator().manual_seed(0), 400
    x, noise = (torch.randn(1, 4, 8, 8, generator=draw) for _ in range(2))
    query = Query(Conditioning(contexts(prior)), (), {ORIGINAL: prior.schedule.noised(x, noise, t)}, t)

    def distance(noise: Tensor) -> float:
        return (x - denoised(prior, prior.schedule.noised(x, noise, t), t, 7.5)).norm().item()

    (found,) = IDS(iterations=3, rate=1.0, guidance_scale=7.5).renoise(Denoiser(prior), [query], [x])
    assert distance(found) < distance(noise)


def test_the_passes_are_counted(prior: Prior) -> None:
    """As in its authors' code: 4 of DDS, and 2 there and back for each of three iterations."""
    state = Recorder(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5)))
    edit = Conditioning(contexts(prior))
    work = Work(state, DELTA, edit, Randomness(torch.Generator(), torch.Generator()))
    method = Method(SCHEDULE, Denoiser(prior))
    settings = IDS(iterations=3, rate=1.0, guidance_scale=7.5)
    list(optimise([work], replace(method, regulariser=settings), 2))
    assert (edit.evaluations.forward, edit.evaluations.backward, edit.evaluations.calls) == (20, 12, 8)


def test_equal_prompts_leave_the_picture_since_both_have_the_new_noise(prior: Prior) -> None:
    own = contexts(prior)
    edit = Conditioning({**own, Prompt.TARGET: own[Prompt.SOURCE]})
    state = Recorder(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5)))
    before = state.theta.detach().clone()
    work = Work(state, DELTA, edit, Randomness(torch.Generator(), torch.Generator()))
    settings = IDS(iterations=1, rate=1.0, guidance_scale=7.5)
    list(optimise([work], Method(SCHEDULE, Denoiser(prior), regulariser=settings), 1))
    torch.testing.assert_close(state.theta.detach(), before, atol=1e-5, rtol=0)


def test_a_run_counts_them_in_its_summary(prior_folder: Path, tmp_path: Path) -> None:
    words = [f"prior.path={prior_folder}", *two_edits(tmp_path / "data"), "score=dds", "regulariser=ids"]
    done = run(
        compose(
            *words,
            "guidance_source=null",
            "reference=original",
            "relevance.noises=0",
            "measure_at=[]",
            "steps=2",
            f"hydra.run.dir={tmp_path}/r",
        )
    )
    assert done.summary["unet"] == {"forward_per_step": 10, "backward_per_step": 6, "calls_per_step": 4}
