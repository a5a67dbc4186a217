"""Algorithm 1: what reaches theta, what a step costs, and what does not change a result."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.recorder import Recorder
from helpers.tiny_prior import contexts
from torch import Tensor

from piva.models.learned import Denoiser, needs
from piva.models.lora import Lora
from piva.optimise import Method, Sizes, Step, optimise
from piva.priors.prior import NetworkEvaluations, Prior
from piva.schedules.uniform import Uniform
from piva.scores.csd import CSD
from piva.scores.dds import DDS
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.terms import Prompt, Score
from piva.scores.vsd import VSD
from piva.tasks.base import Randomness

README = (Path(__file__).parents[1] / "README.md").read_text()
SCHEDULE = Uniform(t_min=0.02, t_max=0.98)
GUIDED: dict[str, Any] = {"guidance_scale": 7.5, "weight": "sigma_squared"}
RAMP = Piva(lam=0.0, lam_end=0.8, reference="edit", **GUIDED)


class Edit:
    """An edit with this score: its state, the steps taken, what they cost, and the adapters they trained."""

    def __init__(self, prior: Prior, score: Score, steps: int, seed: int = 0, batch: int = 1) -> None:
        vars(prior.evaluations).update(vars(NetworkEvaluations()))
        self.state = Recorder(torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(5)))
        learned, lora = needs(score).learned, Lora(rank=2, alpha=2, lr=1e-2)
        models = lora.attach(prior, learned, torch.Generator().manual_seed(seed)) if learned else None
        method = Method(score, SCHEDULE, Denoiser(prior, contexts(prior), models), Sizes([(1, 16)]))
        randomness = Randomness(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))
        self.steps: list[Step] = list(optimise(self.state, method, steps, randomness))
        self.cost = replace(prior.evaluations)
        self.adapters = {n: w.detach() for n, w in prior.unet.named_parameters() if "lora_" in n}
        if models:
            models.detach()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("weight", ["sigma_squared", "uniform"])
def test_theta_receives_exactly_the_weighted_direction(prior: Prior, weight: str, batch: int) -> None:
    """x = 3 theta; the mean over views of w(t) direction, each prediction by a call of its own."""
    score = DDS(guidance_scale=7.5, reference="original", weight=weight)
    edit = Edit(prior, score, steps=1, batch=batch)
    t = int(torch.randint(20, 980, (1,), generator=torch.Generator().manual_seed(0)))
    assert edit.steps[0].t == t
    noise = torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    abar = prior.schedule.alphas_cumprod[t]
    noisy, words = abar**0.5 * edit.state.original + (1 - abar) ** 0.5 * noise, contexts(prior)

    def eps(prompt: Prompt) -> Tensor:
        return prior.predict(noisy, t, words[prompt].expand(batch, -1, -1))

    direction = 7.5 * (eps(Prompt.TARGET) - eps(Prompt.SOURCE))  # edit and original coincide at first
    w = 1 - abar if weight == "sigma_squared" else 1.0
    torch.testing.assert_close(edit.state.gradients[0], 3 * w * direction / batch, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        edit.steps[0].direction_rms, direction.square().mean().sqrt(), rtol=1e-3, atol=0
    )


COSTS = [  # score, forward, backward, calls: the cost model of the whole program
    (SDS(**GUIDED), 2, 0, 1),
    (CSD(**GUIDED), 2, 0, 1),
    (DDS(reference="edit", **GUIDED), 2, 0, 1),
    (DDS(reference="original", **GUIDED), 4, 0, 1),
    (VSD(**GUIDED), 3, 1, 2),
    (Piva(lam=0.4, reference="edit", **GUIDED), 5, 2, 2),
    (Piva(lam=0.4, reference="original", **GUIDED), 7, 2, 2),
    (Piva(lam=0.0, reference="edit", **GUIDED), 2, 0, 1),
]


@pytest.mark.parametrize(("score", "forward", "backward", "calls"), COSTS, ids=lambda v: type(v).__name__)
def test_network_evaluations_of_a_step(
    prior: Prior, score: Score, forward: int, backward: int, calls: int
) -> None:
    assert Edit(prior, score, steps=1).cost == NetworkEvaluations(forward, backward, calls)


def test_the_readme_says_what_a_step_costs() -> None:
    rows = re.findall(r"\| `(\w+)`(?:, `score\.reference=(\w+)`)? \| (\d) \+ (\d) \| (\d) \|", README)
    costs = {
        (type(score).__name__.lower(), getattr(score, "reference", "")): tuple(map(str, cost))
        for score, *cost in COSTS
        if getattr(score, "lam", 1)
    }
    assert len(rows) >= 5
    for name, reference, *cost in rows:
        assert costs[name, reference] == tuple(cost)


@pytest.mark.parametrize("reference", ["edit", "original"])
def test_piva_with_zero_lambda_is_dds_bit_for_bit(prior: Prior, reference: str) -> None:
    piva = Edit(prior, Piva(lam=0.0, reference=reference, **GUIDED), 2)
    dds = Edit(prior, DDS(reference=reference, **GUIDED), 2)
    assert torch.equal(piva.state.theta, dds.state.theta)
    assert not piva.adapters


def test_lambda_changes_the_edit(prior: Prior) -> None:
    none, some = (Edit(prior, Piva(lam=lam, reference="edit", **GUIDED), 2).state.theta for lam in (0.0, 1.0))
    assert not torch.allclose(none, some)


def test_the_same_seed_gives_the_same_edit(prior: Prior) -> None:
    score = Piva(lam=0.4, reference="original", **GUIDED)
    first, second, other = (Edit(prior, score, 2, seed).state.theta for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_learned_models_learn(prior: Prior) -> None:
    edit = Edit(prior, Piva(lam=0.4, reference="edit", **GUIDED), 2)
    outputs = [weight for name, weight in edit.adapters.items() if "lora_B" in name]
    assert outputs
    assert all(weight.abs().sum() > 0 for weight in outputs)
    assert [*edit.steps[0].logged] == ["t", "train/direction_rms", "train/loss_source", "train/loss_target"]


def test_a_ramp_to_where_it_starts_is_the_constant_bit_for_bit(prior: Prior) -> None:
    constant, ramp = (Edit(prior, replace(RAMP, lam=0.5, lam_end=end), 2) for end in (None, 0.5))
    assert torch.equal(constant.state.theta, ramp.state.theta)


def test_a_ramp_from_zero_trains_from_the_first_step_and_acts_from_the_second(prior: Prior) -> None:
    ramp, dds = Edit(prior, RAMP, 2), Edit(prior, DDS(reference="edit", **GUIDED), 2)
    assert torch.equal(ramp.state.gradients[0], dds.state.gradients[0])
    assert not torch.allclose(ramp.state.gradients[1], dds.state.gradients[1])
    assert ramp.cost.backward == 4  # both models, every step


def test_a_score_hears_how_far_the_run_is(prior: Prior) -> None:
    """Progress is 0 at the first step and 1 at the last."""
    heard = []

    class Listening(SDS):
        def direction(self, schedule: Any, t: int, progress: float) -> Any:
            heard.append(progress)
            return super().direction(schedule, t, progress)

    Edit(prior, Listening(**GUIDED), 3)
    assert heard[-3:] == [0.0, 0.5, 1.0]
    Edit(prior, Listening(guidance_scale=1.0, weight="uniform"), 1)
    assert heard[-1] == 0.0


def test_optimise_goes_on_at_a_later_step(prior: Prior) -> None:
    randomness = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    method = Method(SDS(**GUIDED), SCHEDULE, Denoiser(prior, contexts(prior)))
    taken = optimise(Recorder(torch.ones(1, 4, 8, 8)), method, 4, randomness, start=2)
    assert [step.index for step in taken] == [2, 3]


def test_renders_grow_from_coarse_to_the_runs_own_size(prior: Prior) -> None:
    sizes = Sizes([(2, 16), (5, 32)])
    assert [sizes.at(step) for step in range(7)] == [16, 16, 32, 32, 32, None, None]
    assert Sizes().at(0) is None
    edit = Edit(prior, SDS(**GUIDED), 2)
    assert edit.state.sizes == [16, None]
    assert [len(step.view.latents) for step in edit.steps] == [1, 1]
