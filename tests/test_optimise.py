"""Algorithm 1: what reaches theta, what a step costs, and what does not change a result."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from helpers.operations import Operations
from helpers.recorder import Recorder
from helpers.tiny_prior import LORA, contexts, new_models
from torch import Tensor

from piva.models.denoiser import Conditioning, Denoiser, NetworkEvaluations
from piva.models.learned import LearnedModels
from piva.models.needs import needs
from piva.optimise import Method, Sizes, Step, Work, optimise
from piva.priors.prior import Prior, load
from piva.schedules.uniform import Uniform
from piva.scores.asd import ASD
from piva.scores.chordedit import ChordEdit
from piva.scores.csd import CSD
from piva.scores.dds import DDS
from piva.scores.dreamcatalyst import DreamCatalyst
from piva.scores.dvrf import DVRF
from piva.scores.flowalign import FlowAlign
from piva.scores.lusd import LUSD
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.ssd import SSD
from piva.scores.terms import EDIT, ORIGINAL, Noised, Prompt, Score, frozen
from piva.scores.vsd import VSD
from piva.tasks.base import Randomness

PAGE = (Path(__file__).parents[1] / "docs/method.md").read_text()
SCHEDULE = Uniform(t_min=0.02, t_max=0.98)
GUIDED: dict[str, Any] = {"guidance_scale": 7.5, "weight": "sigma_squared"}
SSD_PUBLISHED = SSD(keep=1.0, edit=3.75, enhance=5.5, chi=0.075, weight="uniform")
LUSD_PUBLISHED = LUSD(keep=0.02, deviation_high=0.15, deviation_low=0.01, threshold=0.01, weight="uniform")
DREAMCATALYST = DreamCatalyst(delta=0.2, gamma=0.8, chi=0.075, source_text="none", **GUIDED)
RAMP = Piva(lam=0.0, lam_end=0.8, reference="edit", **GUIDED)


class Edit:
    """An edit with this score: its state, the steps taken, what they cost, and the adapters they trained."""

    def __init__(
        self, prior: Prior, score: Score, steps: int, seed: int = 0, batch: int = 1, **method: Any
    ) -> None:
        self.state = Recorder(torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(5)))
        learned = needs(score).learned
        denoiser = LORA.denoiser(prior) if learned else Denoiser(prior)
        models = new_models(LORA, denoiser, learned, seed) if learned else None
        how = Method(SCHEDULE, denoiser, Sizes([(1, 16)]), **method)
        randomness = Randomness(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))
        edit = Conditioning(contexts(prior), models)
        work = Work(self.state, score, edit, randomness)
        self.steps: list[Step] = [step for _, step in optimise([work], how, steps)]
        self.cost = edit.evaluations
        self.models = models
        denoiser.detach()


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
        return prior.predict(noisy, prior.timestep(t), words[prompt].expand(batch, -1, -1))

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
    (DDS(reference="original", guidance_source=1.0, **GUIDED), 3, 0, 1),
    (VSD(**GUIDED), 3, 1, 2),
    (SSD_PUBLISHED, 4, 0, 1),
    (LUSD_PUBLISHED, 2, 0, 1),
    (replace(DREAMCATALYST, source_text="guided"), 4, 0, 1),
    (DREAMCATALYST, 3, 0, 1),
    (FlowAlign(guidance_scale=13.5, keep=0.33, weight="uniform"), 3, 0, 1),
    (DVRF(guidance_scale=16.5, guidance_source=6.0, eta=1.0, weight="uniform"), 4, 0, 1),
    (ASD(guidance_scale=7.5, plus=0.1, t_min=0.02, weight="sigma_squared"), 3, 0, 1),
    (ChordEdit(t=0.9, d=0.15, t_clean=0.3, weight="uniform"), 4, 0, 1),  # and then 1
    (Piva(lam=0.4, reference="edit", **GUIDED), 5, 2, 2),
    (Piva(lam=0.4, reference="original", **GUIDED), 7, 2, 2),
    (Piva(lam=0.0, reference="edit", **GUIDED), 2, 0, 1),
]


@pytest.mark.parametrize(("score", "forward", "backward", "calls"), COSTS, ids=lambda v: type(v).__name__)
def test_network_evaluations_of_a_step(
    prior: Prior, score: Score, forward: int, backward: int, calls: int
) -> None:
    assert Edit(prior, score, steps=1).cost == NetworkEvaluations(forward, backward, calls)


def test_the_page_of_the_method_says_what_a_step_costs() -> None:
    rows = re.findall(r"\| `(\w+)`(?:, `score\.reference=(\w+)`)? \| (\d) \+ (\d) \| (\d) \|", PAGE)
    costs = {
        (type(score).__name__.lower(), getattr(score, "reference", "")): tuple(map(str, cost))
        for score, *cost in COSTS
        if getattr(score, "lam", 1) and getattr(score, "guidance_source", None) is None
    }
    assert len(rows) >= 5
    for name, reference, *cost in rows:
        assert costs[name, reference] == tuple(cost)


@pytest.mark.parametrize("reference", ["edit", "original"])
def test_piva_with_zero_lambda_is_dds_bit_for_bit(prior: Prior, reference: str) -> None:
    piva = Edit(prior, Piva(lam=0.0, reference=reference, **GUIDED), 2)
    dds = Edit(prior, DDS(reference=reference, **GUIDED), 2)
    assert torch.equal(piva.state.theta, dds.state.theta)
    assert piva.models is None


def test_latents_may_be_noised_at_another_timestep_and_moved(prior: Prior) -> None:
    """The network sees each row's own timestep and latents, with the step's noise."""

    class Elsewhere(SDS):
        def direction(self, schedule: Any, t: int, progress: float) -> Any:
            moved, original = Noised(EDIT, t=300, shift=0.5), Noised(ORIGINAL, t=700)
            return frozen(moved, Prompt.TARGET, 1.0) - frozen(original, Prompt.SOURCE, 1.0)

    work = recorded(prior, Elsewhere(guidance_scale=1.0, weight="uniform"), 0)
    state = cast(Recorder, work.state)
    state.original = state.original + 1.0  # x - xhat is -1
    x, words = 3 * state.theta.detach(), contexts(prior)
    list(optimise([work], Method(SCHEDULE, Denoiser(prior)), 1))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    moved = prior.schedule.noised(x, noise, 300) - 0.5
    original = prior.schedule.noised(x + 1.0, noise, 700)
    expected = prior.predict(moved, prior.timestep(300), words[Prompt.TARGET])
    expected = expected - prior.predict(original, prior.timestep(700), words[Prompt.SOURCE])
    torch.testing.assert_close(state.gradients[0], 3 * expected, rtol=1e-4, atol=1e-4)
    assert work.edit.evaluations == NetworkEvaluations(2, 0, 1)


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
    assert edit.models is not None
    assert all((matrix != 0).all() for matrix in edit.models.weights.values())  # B is zero at first
    assert [*edit.steps[0].logged] == ["t", "train/direction_rms", "train/loss_source", "train/loss_target"]


def test_a_ramp_to_where_it_starts_is_the_constant_bit_for_bit(prior: Prior) -> None:
    constant, ramp = (Edit(prior, replace(RAMP, lam=0.5, lam_end=end), 2) for end in (None, 0.5))
    assert torch.equal(constant.state.theta, ramp.state.theta)


def test_a_ramp_from_zero_trains_from_the_first_step_and_acts_from_the_second(prior: Prior) -> None:
    ramp, dds = Edit(prior, RAMP, 2), Edit(prior, DDS(reference="edit", **GUIDED), 2)
    assert torch.equal(ramp.state.gradients[0], dds.state.gradients[0])
    assert not torch.allclose(ramp.state.gradients[1], dds.state.gradients[1])
    assert ramp.cost.backward == 4  # both models, every step


def test_guidance_falls_from_the_first_step_to_the_last(prior: Prior) -> None:
    falling, high = (
        Edit(prior, DDS(reference="edit", guidance_scale=scale, weight="uniform"), 2, guidance_start=4.0)
        for scale in (2.0, 4.0)
    )
    assert torch.equal(falling.state.gradients[0], high.state.gradients[0])
    assert not torch.allclose(falling.state.gradients[1], high.state.gradients[1])
    constant = Edit(prior, DDS(reference="edit", guidance_scale=4.0, weight="uniform"), 2)
    assert torch.equal(high.state.theta, constant.state.theta)


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


def recorded(prior: Prior, score: Score, seed: int, step: int = 0, denoiser: Denoiser | None = None) -> Work:
    """A work on noise of its own, with adapters if there is a denoiser with room for them."""
    draw = [torch.Generator().manual_seed(seed + i) for i in range(3)]
    models = new_models(LORA, denoiser, needs(score).learned, seed) if denoiser else None
    state = Recorder(torch.randn(1, 4, 8, 8, generator=draw[2]))
    return Work(state, score, Conditioning(contexts(prior), models), Randomness(draw[0], draw[1]), step)


def test_optimise_goes_on_at_a_later_step(prior: Prior) -> None:
    taken = optimise([recorded(prior, SDS(**GUIDED), 0, step=2)], Method(SCHEDULE, Denoiser(prior)), 4)
    assert [step.index for _, step in taken] == [2, 3]


def test_edits_together_are_those_one_by_one(prior: Prior) -> None:
    """Of other lambdas and seeds, at other steps; one whose field dies on the way takes no other with it."""
    scores = [Piva(lam=lam, reference="original", **GUIDED) for lam in (0.2, 0.4, 0.8)]
    denoiser = LORA.denoiser(prior)
    method = Method(SCHEDULE, denoiser, noises=2, learning_steps=2)

    def works() -> list[Work]:
        return [recorded(prior, score, i, i, denoiser) for i, score in enumerate(scores)]

    alone = works()
    for work in alone:
        list(optimise([work], method, 4))
    together = works()
    dying = recorded(prior, scores[0], 9, 0, denoiser)
    dying.state.view = _dies_at_its_second_view(dying.state.view)  # type: ignore[method-assign]
    steps = [(work, step.index) for work, step in optimise([dying, *together], method, 4)]
    assert isinstance(dying.error, FloatingPointError)
    assert [index for work, index in steps if work is dying] == [0]
    for one, other in zip(alone, together, strict=True):
        assert (one.step, other.step, other.error) == (4, 4, None)
        torch.testing.assert_close(one.state.theta, other.state.theta, rtol=1e-5, atol=1e-5)  # type: ignore[attr-defined]
        assert vars(one.edit.evaluations) == vars(other.edit.evaluations)


def _dies_at_its_second_view(view: Any) -> Any:
    views = iter([view])

    def dying(*args: Any, **kwargs: Any) -> Any:
        if (alive := next(views, None)) is None:
            raise FloatingPointError("the field is empty")
        return alive(*args, **kwargs)

    return dying


def test_learned_models_may_take_several_steps_in_one(prior: Prior) -> None:
    """The first serves the direction, which stays the same; the others are one call each."""
    score, denoiser = Piva(lam=0.4, reference="edit", **GUIDED), LORA.denoiser(prior)
    once, often = (recorded(prior, score, 0, 0, denoiser) for _ in range(2))
    for work, learning in ((once, 1), (often, 3)):
        list(optimise([work], Method(SCHEDULE, denoiser, learning_steps=learning), 1))
    assert once.edit.evaluations == NetworkEvaluations(5, 2, 2)
    assert often.edit.evaluations == NetworkEvaluations(5 + 2 * 2, 3 * 2, 2 + 2)
    assert torch.equal(cast(Recorder, once.state).theta, cast(Recorder, often.state).theta)
    weights = [cast(LearnedModels, work.edit.models).weights for work in (once, often)]
    assert not any(torch.equal(weights[0][network], weights[1][network]) for network in weights[0])
    lone = recorded(prior, DDS(reference="edit", **GUIDED), 0)
    list(optimise([lone], Method(SCHEDULE, denoiser, learning_steps=3), 1))
    assert lone.edit.evaluations == NetworkEvaluations(2, 0, 1)


@pytest.mark.parametrize("learning_steps", [1, 2])
def test_rows_that_are_alike_get_the_same_noise(prior: Prior, learning_steps: int) -> None:
    """In each of a view's noises, and for the learned models: what is alike is seen alike by all networks."""
    denoiser, seen = LORA.denoiser(prior), []
    prior.unet.register_forward_hook(lambda _m, args, _o: seen.append(args[0].detach()))
    work = recorded(prior, Piva(lam=0.4, reference="edit", **GUIDED), 0, 0, denoiser)
    start = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5)).repeat_interleave(2, 0)
    work.state = Recorder(start, alike=2)
    method = Method(SCHEDULE, denoiser, noises=2, learning_steps=learning_steps)
    list(optimise([work], method, 1))
    assert len(seen) == 1 + learning_steps
    for rows in seen:
        assert torch.equal(rows[::2], rows[1::2])
        assert len(rows.flatten(1).unique(dim=0)) >= 4  # two views, two noises


def test_a_batch_makes_no_more_calls_than_an_edit(prior: Prior) -> None:
    denoiser, calls = LORA.denoiser(prior), []
    prior.unet.register_forward_hook(lambda _m, args, _o: calls.append(len(args[0])))
    works = [recorded(prior, Piva(lam=0.4, reference="edit", **GUIDED), i, 0, denoiser) for i in range(3)]
    list(optimise(works, Method(SCHEDULE, denoiser), 2))
    assert calls == [9, 6] * 2


def test_renders_grow_from_coarse_to_the_runs_own_size(prior: Prior) -> None:
    sizes = Sizes([(2, 16), (5, 32)])
    assert [sizes.at(step) for step in range(7)] == [16, 16, 32, 32, 32, None, None]
    assert Sizes().at(0) is None
    edit = Edit(prior, SDS(**GUIDED), 2)
    assert edit.state.sizes == [16, None]
    assert [len(step.view.latents) for step in edit.steps] == [1, 1]


def test_a_normalised_direction_has_the_deviation_of_its_schedule(prior: Prior) -> None:
    """LUSD's: sigmoids of -1 to 1, turned round, between 0.15 and 0.01."""
    edges = [0.14 / (1 + math.exp(z)) + 0.01 for z in (-1, 0, 1)]
    state = Edit(prior, LUSD_PUBLISHED, 3).state
    deviations = [(gradient / 3).std().item() for gradient in state.gradients]
    assert deviations == pytest.approx(edges, rel=1e-4)


def test_predictions_that_hardly_differ_move_nothing(prior: Prior) -> None:
    state = Edit(prior, replace(LUSD_PUBLISHED, threshold=1e3), 2).state
    assert all(not gradient.any() for gradient in state.gradients)


def test_a_step_asks_the_device_for_nothing(prior: Prior) -> None:
    """No number is read from it and none is copied to it, timesteps included; the host draws these itself."""
    denoiser = LORA.denoiser(prior)
    works = [recorded(prior, RAMP, seed, 0, denoiser) for seed in range(2)]
    steps = optimise(works, Method(SCHEDULE, denoiser), 3)
    next(steps), next(steps)  # what is made once
    with Operations() as seen:
        next(steps), next(steps)
    assert seen.waits == {"_local_scalar_dense": len(works)}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_step_never_waits_for_the_gpu(prior_folder: Path, dtype: str) -> None:
    prior = load(str(prior_folder), "cuda", dtype)
    denoiser = LORA.denoiser(prior)
    works = []
    for seed in range(2):
        models = new_models(LORA, denoiser, needs(RAMP).learned, seed)
        draw = Randomness(torch.Generator().manual_seed(seed), torch.Generator("cuda").manual_seed(seed))
        state = Recorder(torch.randn(1, 4, 8, 8, device="cuda"))
        works.append(Work(state, RAMP, Conditioning(contexts(prior), models), draw))
    steps = optimise(works, Method(SCHEDULE, denoiser), 3)
    taken = [next(steps), next(steps)]  # what is made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        taken += [next(steps), next(steps)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [step.index for _, step in taken] == [0, 0, 1, 1]
