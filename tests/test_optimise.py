"""Algorithm 1: what reaches theta, and what does not change a result."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from piva.models.lora import Lora
from piva.optimise import Method, Sizes, Timesteps, optimise
from piva.priors.prior import Prior, load
from piva.scores.dds import DDS
from piva.scores.evaluate import evaluate
from piva.scores.needs import learned_networks, uses_original
from piva.scores.piva import Piva
from piva.scores.terms import EDIT, ORIGINAL, Network, Prompt, Score
from piva.tasks.base import Comparison, Randomness, View


class Recorder:
    """Theta with a known map to latents, x = 3 theta; keeps the gradient of the last step."""

    def __init__(self, start: Tensor, lr: float = 0.1) -> None:
        self.theta, self.original, self.lr = start.clone().requires_grad_(True), 3 * start, lr
        self.gradients: list[Tensor] = []
        self.sizes: list[int | None] = []

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        self.sizes.append(size)
        return View(latents={EDIT: 3 * self.theta} | ({ORIGINAL: self.original} if original else {}))

    def step(self) -> None:
        assert self.theta.grad is not None
        self.gradients.append(self.theta.grad.clone())
        with torch.no_grad():
            self.theta -= self.lr * self.theta.grad
        self.theta.grad = None

    def compare(self) -> Comparison:
        raise AssertionError

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def checkpoint(self) -> dict[str, Any]:
        raise AssertionError

    def restore(self, saved: Mapping[str, Any]) -> None:
        raise AssertionError


def edit(folder: Path, score: Score, steps: int, seed: int = 0, batch: int = 1) -> tuple[Recorder, Prior]:
    prior = load(str(folder), "cpu", "float32")
    state = Recorder(torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(5)))
    learned = learned_networks(score, prior.schedule)
    adapters = (
        Lora(rank=2, alpha=2, lr=1e-2).attach(prior, learned, torch.Generator().manual_seed(seed))
        if learned
        else None
    )
    contexts = {p: prior.text(text) for p, text in zip(Prompt, ("a cat", "a dog", ""), strict=True)}
    randomness = Randomness(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))
    optimise(
        state,
        Method(score, prior, adapters, Timesteps(20, 980, 980, 0)),
        contexts,
        steps,
        randomness,
        lambda step, values: None,
    )
    return state, prior


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("weight", ["sigma_squared", "uniform"])
def test_theta_receives_exactly_the_weighted_direction(prior_folder: Path, weight: str, batch: int) -> None:
    score = DDS(guidance_scale=7.5, reference="original", weight=weight)
    state, prior = edit(prior_folder, score, steps=1, batch=batch)
    host, device = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    t = int(torch.randint(20, 980, (1,), generator=host))
    noise = torch.randn(batch, 4, 8, 8, generator=device)
    contexts = {p: prior.text(text) for p, text in zip(Prompt, ("a cat", "a dog", ""), strict=True)}
    view = View(latents={EDIT: state.original, ORIGINAL: state.original})
    direction = evaluate(
        score.direction(prior.schedule, t), t, noise, view, contexts, prior, None, []
    ).direction
    w = 1 - prior.schedule.alphas_cumprod[t] if weight == "sigma_squared" else 1.0
    torch.testing.assert_close(state.gradients[0], 3 * w * direction / batch)


@pytest.mark.parametrize("reference", ["edit", "original"])
def test_piva_with_zero_lambda_is_dds_bit_for_bit(prior_folder: Path, reference: str) -> None:
    piva, with_piva = edit(
        prior_folder, Piva(lam=0.0, guidance_scale=7.5, reference=reference, weight="sigma_squared"), 5
    )
    dds, _ = edit(prior_folder, DDS(guidance_scale=7.5, reference=reference, weight="sigma_squared"), 5)
    assert torch.equal(piva.theta, dds.theta)
    assert not any("lora" in name for name, _ in with_piva.unet.named_parameters())


def test_lambda_changes_the_edit(prior_folder: Path) -> None:
    settings = {"guidance_scale": 7.5, "reference": "edit", "weight": "sigma_squared"}
    none, some = (edit(prior_folder, Piva(lam=lam, **settings), 3)[0].theta for lam in (0.0, 1.0))
    assert not torch.allclose(none, some)


def test_the_same_seed_gives_the_same_edit(prior_folder: Path) -> None:
    score = Piva(lam=0.4, guidance_scale=7.5, reference="original", weight="sigma_squared")
    first, second, other = (edit(prior_folder, score, 4, seed)[0].theta for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_learned_models_learn(prior_folder: Path) -> None:
    score = Piva(lam=0.4, guidance_scale=7.5, reference="edit", weight="sigma_squared")
    _, prior = edit(prior_folder, score, 3)
    outputs = [p for name, p in prior.unet.named_parameters() if "lora_B" in name]
    assert outputs
    assert all(p.abs().sum() > 0 for p in outputs)


def test_late_steps_draw_from_the_narrower_range() -> None:
    timesteps = Timesteps(low=20, high=980, late=500, late_from=3)
    generator = torch.Generator().manual_seed(0)
    early = [timesteps.draw(step, generator) for step in [0, 2] * 200]
    late = [timesteps.draw(step, generator) for step in [3, 999] * 200]
    assert min(early) >= 20
    assert 900 < max(early) < 980
    assert min(late) >= 20
    assert 450 < max(late) < 500


RAMP = Piva(lam=0.0, lam_end=0.8, guidance_scale=7.5, reference="edit", weight="sigma_squared")


def test_lambda_goes_in_a_line_from_the_first_step_to_the_last() -> None:
    assert [RAMP.at(part).lam for part in (0.0, 0.25, 1.0)] == pytest.approx([0, 0.2, 0.8])
    back = Piva(lam=1.0, lam_end=0.0, guidance_scale=7.5, reference="edit", weight="sigma_squared")
    assert back.at(1.0).lam == 0
    assert back.at(0.0).lam == 1


def test_a_ramp_to_where_it_starts_is_the_constant_bit_for_bit(prior_folder: Path) -> None:
    constant, ramp = (replace(RAMP, lam=0.5, lam_end=end) for end in (None, 0.5))
    assert torch.equal(edit(prior_folder, constant, 3)[0].theta, edit(prior_folder, ramp, 3)[0].theta)
    zero = replace(RAMP, lam_end=0.0)
    _, prior = edit(prior_folder, zero, 2)
    assert not any("lora" in name for name, _ in prior.unet.named_parameters())


def test_a_ramp_from_zero_trains_from_the_first_step_and_acts_from_the_second(prior_folder: Path) -> None:
    ramp, prior = edit(prior_folder, RAMP, 3)
    dds, _ = edit(prior_folder, DDS(guidance_scale=7.5, reference="edit", weight="sigma_squared"), 3)
    assert torch.equal(ramp.gradients[0], dds.gradients[0])
    assert not torch.allclose(ramp.gradients[1], dds.gradients[1])
    assert learned_networks(RAMP, prior.schedule) == [Network.SOURCE, Network.TARGET]
    assert uses_original(RAMP, prior.schedule)
    assert prior.evaluations.backward == 6  # both models, every step


def test_pictures_grow_from_coarse_to_the_runs_own_size() -> None:
    sizes = Sizes([(2, 16), (5, 32)])
    assert [sizes.at(step) for step in range(7)] == [16, 16, 32, 32, 32, None, None]
    assert Sizes().at(0) is None


def test_a_watcher_sees_the_view_of_each_step(prior_folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    prior = load(str(prior_folder), "cpu", "float32")
    state = Recorder(torch.ones(1, 4, 8, 8))
    score = DDS(guidance_scale=7.5, reference="edit", weight="uniform")
    randomness = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    contexts = {p: prior.text("a") for p in Prompt}
    method = Method(score, prior, None, Timesteps(20, 980, 980, 0), Sizes([(1, 16)]))
    optimise(
        state,
        method,
        contexts,
        2,
        randomness,
        lambda *_: None,
        watch=lambda step, view: seen.append((step, len(view.latents))),
    )
    assert seen == [(0, 1), (1, 1)]
    assert state.sizes == [16, None]
