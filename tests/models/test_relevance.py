"""Where the prompts disagree: the map against its definition, and what it keeps an edit from changing."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from helpers.recorder import Recorder
from helpers.tiny_prior import contexts
from safetensors.torch import load_file
from torch import Tensor

from piva import run
from piva.config import check, compose
from piva.models.denoiser import Conditioning, Denoiser
from piva.models.relevance import Relevance
from piva.optimise import Method, Work, optimise
from piva.priors.prior import Prior
from piva.schedules.uniform import Uniform
from piva.scores.dds import DDS
from piva.scores.terms import ORIGINAL, Prompt
from piva.tasks.base import Randomness

SETTINGS = Relevance(noises=3, t=0.9, low=0.9, high=0.98)


def picture(rows: int = 1) -> Tensor:
    return torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def drawn(prior: Prior, settings: Relevance = SETTINGS, seed: int = 0, **same: Tensor) -> Tensor:
    edit = Conditioning(contexts(prior) | {Prompt[name]: context for name, context in same.items()})
    return settings.weights(Denoiser(prior), edit, picture(), torch.Generator().manual_seed(seed))


def test_it_is_the_length_of_the_mean_difference_ramped_and_grown(prior: Prior) -> None:
    """Pixel by pixel, each noise by a call of its own."""
    t = round(0.9 * len(prior.schedule))
    noises = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    words, x = contexts(prior), picture()
    mean = torch.zeros(4, 8, 8)
    for noise in noises:
        noisy = prior.schedule.noised(x, noise[None], t)
        with torch.no_grad():
            eps = [prior.predict(noisy, prior.timestep(t), words[p]) for p in (Prompt.SOURCE, Prompt.TARGET)]
        mean += (eps[1] - eps[0])[0] / 3
    length = mean.norm(dim=0)
    near = lambda y, x: (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))  # noqa: E731
    pixels = [(y, x) for y in range(8) for x in range(8)]
    smooth = torch.stack([length[near(*pixel)].mean() for pixel in pixels]).view(8, 8)
    ramp = ((smooth / smooth.max() - 0.9) / 0.08).clamp(0, 1)
    grown = torch.stack([ramp[near(*pixel)].max() for pixel in pixels]).view(8, 8)
    soft = torch.stack([grown[near(*pixel)].mean() for pixel in pixels]).view(8, 8)
    torch.testing.assert_close(drawn(prior)[0, 0], soft, rtol=1e-3, atol=1e-3)
    assert 0 <= soft.min() < soft.max() == 1


def test_it_depends_on_its_generator_alone(prior: Prior) -> None:
    assert torch.equal(drawn(prior), drawn(prior))
    assert not torch.equal(drawn(prior), drawn(prior, seed=1))


def test_views_share_the_largest_difference_and_those_alike_their_weights(prior: Prior) -> None:
    edit, views = Conditioning(contexts(prior)), picture(4)
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    pairs = SETTINGS.weights(Denoiser(prior), edit, views, draw(), alike=2)
    assert pairs.shape == (4, 1, 8, 8)
    assert torch.equal(pairs[0], pairs[1])
    assert torch.equal(pairs[2], pairs[3])
    assert not torch.equal(pairs[1], pairs[2])
    apart = SETTINGS.weights(Denoiser(prior), edit, views, draw())
    assert len(apart.flatten(1).unique(dim=0)) == 4
    assert apart.max() == 1
    assert apart.flatten(1).amax(1).min() < 1  # of one view alone all would have a pixel of weight 1


def test_the_views_of_a_step_move_where_they_are_relevant(prior: Prior) -> None:
    state = Recorder(picture(2))
    edit = Conditioning(contexts(prior))
    score = DDS(guidance_scale=3.0, guidance_source=1.0, reference="edit", weight="uniform")
    draws = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    method = Method(Uniform(t_min=0.02, t_max=0.98), Denoiser(prior), relevance=SETTINGS)
    list(optimise([Work(state, score, edit, draws)], method, 1))
    moved = (state.gradients[0] != 0).any(1)
    assert 0.02 < moved.float().mean() < 0.9
    assert edit.evaluations.forward == 2 * (3 + 2 * SETTINGS.noises)  # of two views


def test_a_direction_is_multiplied_by_its_weights(prior: Prior) -> None:
    weights, gradients = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(4)), []
    for relevant in (None, weights):
        state = Recorder(picture())
        draws = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
        score = DDS(guidance_scale=3.0, guidance_source=1.0, reference="edit", weight="uniform")
        work = Work(state, score, Conditioning(contexts(prior)), draws, relevance=relevant)
        list(optimise([work], Method(Uniform(t_min=0.02, t_max=0.98), Denoiser(prior)), 1))
        gradients += state.gradients
    torch.testing.assert_close(gradients[1], weights * gradients[0])


def test_prompts_that_agree_leave_nothing_relevant(prior: Prior) -> None:
    assert drawn(prior, TARGET=contexts(prior)[Prompt.SOURCE]).abs().max() == 0


def test_a_higher_ramp_leaves_less(prior: Prior) -> None:
    higher = drawn(prior, replace(SETTINGS, low=0.95, high=0.99))
    assert bool((higher <= drawn(prior)).all())
    assert higher.sum() < drawn(prior).sum()


WORDS = ["task=image", "dataset=noe", "edits=[car/hat]", "score=dds", "metrics=pixels", "steps=3"]


def edited(noises: int, folder: Path) -> tuple[Tensor, float]:
    """Return the latents that three steps of a hat's edit leave, and the passes they took."""
    run(compose(*WORDS, f"relevance.noises={noises}", f"hydra.run.dir={folder}"))
    edit = folder / "edits/car/hat"
    passes = json.loads((edit / "result.json").read_text())["passes"]
    return load_file(edit / "state.safetensors")["latents"], passes["forward"]


def test_an_edit_changes_nothing_where_it_is_not_relevant(tmp_path: Path) -> None:
    settings = check(compose(*WORDS))
    edit, prior = settings.edits[0], settings.prior.load("cpu")
    draws = Randomness(torch.Generator(), torch.Generator())
    state = settings.task.open(edit, prior, prior.resolution, 3, draws)
    original = state.view(draws, original=True).latents[ORIGINAL]
    everywhere, passes = edited(0, tmp_path / "0")
    somewhere, more = edited(4, tmp_path / "4")
    assert more == passes + 2 * 4
    kept = (somewhere == original).all(1)
    assert 0.2 < kept.float().mean() < 0.9
    assert bool((somewhere != original).all(1)[~kept].all())
    assert not bool((everywhere == original).any())
