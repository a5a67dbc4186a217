"""CDS: the gradient of its loss by the edit alone, beside any score, at the cost that is counted."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.operations import Operations
from helpers.recorder import Recorder
from helpers.tiny_prior import LORA, contexts, new_models
from helpers.two_edits import assert_equal_runs, two_edits
from torch import Tensor

from benchmarks.sd_size import opened
from piva import compose, run
from piva.config import check
from piva.errors import InputError
from piva.experiment.memory import estimate
from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.models.needs import needs
from piva.optimise import Method, Work, optimise
from piva.priors.prior import Prior, load
from piva.regularisers.cds import CDS, OF_EDIT, OF_ORIGINAL
from piva.schedules.uniform import Uniform
from piva.scores.dds import DDS
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Score
from piva.tasks.base import Randomness

SCHEDULE = Uniform(t_min=0.02, t_max=0.98)
DELTA = DDS(guidance_scale=7.5, reference="original", weight="uniform")
PUBLISHED = CDS(weight=3, patch_sizes=[1, 2], patches=256, temperature=0.07)
GUIDED: dict[str, Any] = {"guidance_scale": 7.5, "weight": "uniform"}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def query(prior: Prior, size: tuple[int, int] = (8, 8), rows: int = 1, seed: int = 0) -> Query:
    draw = generator(seed)
    noisy = {kind: torch.randn(rows, 4, *size, generator=draw) for kind in (EDIT, ORIGINAL)}
    return Query(Conditioning(contexts(prior)), (), noisy, 400)


def slope_of(
    asked: Query, prior: Prior, settings: CDS = PUBLISHED, draw: torch.Generator | None = None
) -> Tensor:
    """The gradient that one edit gets alone."""
    ((_, slope),) = settings.slopes(Denoiser(prior), [asked], [draw or generator()])
    assert slope is not None
    return slope


def features(unet: torch.nn.Module, noisy: Tensor, context: Tensor) -> list[Tensor]:
    """What the self-attention layers of the decoder put out, in float64."""
    unet, found = copy.deepcopy(unet).double(), []
    for name, layer in unet.named_modules():
        if "up_blocks" in name and name.endswith("attn1"):
            layer.register_forward_hook(lambda _, __, out: found.append(out))
    unet(noisy, 400, context.double().expand(len(noisy), -1, -1))
    return found


def patch_nce(wanted: Tensor, seen: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """-log(e^(own/T) / sum e^(other/T)), patch by patch, of one row whose patches are all used."""
    patches = []
    for x in (wanted, seen):
        grid = x.reshape(*size, -1)
        patches.append([
            grid[i : i + side, j : j + side].mean((0, 1))
            for i in range(0, size[0] - side + 1, side)
            for j in range(0, size[1] - side + 1, side)
        ])  # fmt: skip
    unit = [[p / p.square().sum().sqrt() for p in of_one] for of_one in patches]
    losses = []
    for i, anchor in enumerate(unit[0]):
        alike = torch.stack([(anchor * other).sum() / 0.07 for other in unit[1]])
        losses.append(-(alike[i].exp() / alike.exp().sum()).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("size", [(8, 8), (6, 10)], ids=str)
def test_the_slope_is_the_gradient_of_the_published_loss(prior: Prior, size: tuple[int, int]) -> None:
    """2000 mean(x direction) + 3 PatchNCE, over the direction's own factor: 2000 / (h w)."""
    asked, own = query(prior, size, rows=2), contexts(prior)
    slope = slope_of(asked, prior)
    x = asked.noisy[EDIT].double().requires_grad_(True)
    with torch.no_grad():
        wanted = features(prior.unet, asked.noisy[ORIGINAL].double(), own[SOURCE])
    seen = features(prior.unet, x, own[TARGET])
    assert len(seen) >= 2
    loss = torch.stack([
        patch_nce(a[row], b[row], size, side)
        for a, b in zip(wanted, seen, strict=True) for side in (1, 2) for row in range(2)
    ]).sum()  # fmt: skip
    (by_noisy,) = torch.autograd.grad(loss, x)
    expected = 3 * size[0] * size[1] / 2000 * prior.schedule.alphas_cumprod[400] ** 0.5 * by_noisy
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(slope, expected.float(), atol=1e-3 * float(expected.abs().max()), rtol=0)


def test_the_edit_alone_gets_a_gradient(prior: Prior) -> None:
    asked = query(prior)
    original = asked.noisy[ORIGINAL].requires_grad_(True)
    ((known, slope),) = PUBLISHED.slopes(Denoiser(prior), [asked], [generator()])
    assert slope is not None
    assert slope.abs().max() > 0
    assert all(x.grad is None for x in (original, *prior.unet.parameters()))
    assert not any(eps.requires_grad for eps in (*known.values(), slope))


def test_what_it_hands_on_are_the_predictions_of_the_score(prior: Prior) -> None:
    asked = query(prior)
    ((known, _),) = PUBLISHED.slopes(Denoiser(prior), [asked], [generator()])
    (alone,) = Denoiser(prior).predict([replace(asked, predictions=[OF_EDIT, OF_ORIGINAL])])
    assert known.keys() == alone.keys()
    for prediction, eps in alone.items():
        torch.testing.assert_close(known[prediction], eps)


def test_equal_patches_are_a_minimum_among_shuffled_ones(prior: Prior) -> None:
    draw = generator()
    wanted = torch.randn(1, 64, 16, generator=draw)
    other = wanted[:, torch.randperm(64, generator=draw)]
    same, shuffled = (PUBLISHED.loss(wanted, seen, (8, 8), [(generator(), 1)]) for seen in (wanted, other))
    assert same < 0.1 < shuffled


def test_few_patches_are_drawn_anew_for_each_edit_whatever_the_batch(prior: Prior) -> None:
    """Of other sizes too, which take calls of their own."""
    few, denoiser = replace(PUBLISHED, patches=6), Denoiser(prior)
    sizes = [(8, 8), (6, 10), (8, 8)]
    queries = [query(prior, size, rows=2, seed=i) for i, size in enumerate(sizes)]
    together = few.slopes(denoiser, queries, [generator(i) for i in range(3)])
    for i, (asked, (_, slope)) in enumerate(zip(queries, together, strict=True)):
        assert slope is not None
        torch.testing.assert_close(slope, slope_of(asked, prior, few, generator(i)), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(slope, slope_of(asked, prior, few, generator(i + 1)), rtol=0.1)


def test_the_device_is_asked_for_nothing(prior: Prior) -> None:
    """No number is read from it and none is copied to it; the zero in a norm's gradient is its own."""
    asked, denoiser = query(prior), Denoiser(prior)
    PUBLISHED.slopes(denoiser, [asked], [generator()])  # what is made once
    with Operations() as seen:
        PUBLISHED.slopes(denoiser, [asked], [generator()])
    assert set(seen.waits) <= {"where"}


def test_half_precision_keeps_the_gradient(prior_folder: Path, prior: Prior) -> None:
    half = load(str(prior_folder), "cpu", "float16")
    fine, coarse = (slope_of(query(each), each) for each in (prior, half))
    assert coarse.dtype == torch.float32
    assert torch.cosine_similarity(fine.flatten(), coarse.flatten(), dim=0) > 0.99
    assert (coarse == 0).float().mean() < 0.01


def test_activations_that_are_computed_again_give_the_same(prior_folder: Path) -> None:
    plain, again = (load(str(prior_folder), "cpu", "float32") for _ in range(2))
    again.unet.enable_gradient_checkpointing()
    torch.testing.assert_close(*(slope_of(query(each), each) for each in (plain, again)))


def steps(prior: Prior, score: Score, settings: CDS | None, count: int = 2) -> tuple[Tensor, Conditioning]:
    """Theta after some steps of an edit, and what they cost."""
    state = Recorder(torch.randn(1, 4, 8, 8, generator=generator(5)))
    learned = needs(score).learned
    denoiser = LORA.denoiser(prior) if learned else Denoiser(prior)
    edit = Conditioning(contexts(prior), new_models(LORA, denoiser, learned) if learned else None)
    work = Work(state, score, edit, Randomness(generator(1), generator(2)))
    list(optimise([work], Method(SCHEDULE, denoiser, noises=2, regulariser=settings), count))
    denoiser.detach()
    return state.theta.detach(), edit


def test_a_step_goes_down_the_direction_and_the_slope(prior: Prior) -> None:
    """With x = 3 theta and a rate of 0.1, and the mean over two noises; w(t) = 1."""
    plain, _ = steps(prior, DELTA, None, 1)
    moved, _ = steps(prior, DELTA, PUBLISHED, 1)
    start = torch.randn(1, 4, 8, 8, generator=generator(5))
    t = SCHEDULE.draw(0, 1, 1000, generator(1))
    noise = torch.randn(2, 4, 8, 8, generator=generator(2))
    noisy = prior.schedule.noised(3 * start, noise, t)
    asked = Query(Conditioning(contexts(prior)), (), {EDIT: noisy, ORIGINAL: noisy}, t)
    slope = slope_of(asked, prior)
    torch.testing.assert_close(plain - moved, 0.3 * slope.mean(0, keepdim=True), atol=1e-5, rtol=1e-3)


def test_without_weight_it_is_the_score_bit_for_bit(prior: Prior) -> None:
    plain, cost = steps(prior, DELTA, None)
    nothing, same = steps(prior, DELTA, replace(PUBLISHED, weight=0))
    assert torch.equal(plain, nothing)
    assert cost.evaluations == same.evaluations


@pytest.mark.parametrize(
    ("score", "forward", "backward"),
    [
        (DELTA, 4, 1),
        (DDS(**GUIDED, reference="edit"), 3, 1),  # the conditional halves of x_t, and the original's
        (SDS(**GUIDED), 3, 1),
        (Piva(**GUIDED, lam=0.4, lam_end=None, reference="original"), 4 + 4 - 1, 3),
    ],
    ids=["dds", "dds of the edit", "sds", "piva"],
)
def test_the_passes_are_those_of_the_score_but_for_what_that_lacks(
    prior: Prior, score: Score, forward: int, backward: int
) -> None:
    _, edit = steps(prior, score, PUBLISHED, 3)
    alone, cost = steps(prior, score, None, 3)
    assert alone.isfinite().all()
    asked = set(score.direction(prior.schedule, 5, 0.5).predictions)
    rows = 3 * 2  # steps and noises
    extra = edit.evaluations.forward + edit.evaluations.backward
    extra -= cost.evaluations.forward + cost.evaluations.backward
    assert extra == rows * PUBLISHED.passes(asked)
    assert (edit.evaluations.forward, edit.evaluations.backward) == (rows * forward, rows * backward)


@pytest.fixture
def words(prior_folder: Path, tmp_path: Path) -> list[str]:
    data = two_edits(tmp_path / "data")
    return [
        f"prior.path={prior_folder}",
        *data,
        "guidance_source=null",
        "score=dds",
        "reference=original",
        "relevance.noises=0",
        "regulariser=cds",
    ]


def test_a_run_counts_them_in_its_summary_and_its_budget(words: list[str], tmp_path: Path) -> None:
    done = run(compose(*words, "measure_at=[]", "passes=15", f"hydra.run.dir={tmp_path}/r"))
    assert done.summary["steps"] == 3
    assert done.summary["unet"] == {"forward_per_step": 4, "backward_per_step": 1, "calls_per_step": 3}
    assert check(compose(*words[:-1], "regulariser=ids", "measure_at=[]", "passes=32")).run.steps == 2


def test_a_stopped_run_goes_on_with_the_same_numbers(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        """Raised where a process might be killed."""

    words = [*words, "regulariser.patches=5"]
    run(compose(*words, f"hydra.run.dir={tmp_path / 'unbroken'}"))
    slopes, left = CDS.slopes, iter(range(12 + 7))

    def stopping(self: CDS, *args: Any) -> Any:
        if next(left, None) is None:
            raise Stop
        return slopes(self, *args)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(CDS, "slopes", stopping)
        run(compose(*words, f"hydra.run.dir={tmp_path / 'stopped'}"))
    run(compose(f"resume={tmp_path / 'stopped'}"))
    assert_equal_runs(tmp_path / "stopped", tmp_path / "unbroken")


def test_the_graph_of_its_prediction_is_in_the_memory_told(words: list[str]) -> None:
    with opened(*words) as started:
        denoiser = started.method.denoiser
        plain, own, two = (
            estimate(check(compose(*words, option)), denoiser)["kept by the U-Net"]
            for option in ("regulariser=none", "regulariser=cds", "regulariser=ids")
        )
    assert plain == 0 < own
    assert two == pytest.approx(2 * own, rel=0.1)  # of both halves of the guided prediction


def test_layers_that_are_compiled_are_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"^speed.compile: found regions, wanted none"):
        check(compose(*words, "measure_at=[]", "speed.compile=regions"))


def test_patches_that_fit_no_layer_are_refused(prior: Prior) -> None:
    with pytest.raises(InputError, match=r"^regulariser.patch_sizes: found \[16\]"):
        replace(PUBLISHED, patch_sizes=[16]).slopes(Denoiser(prior), [query(prior)], [generator()])
