"""Each score's direction against its formula written out in float64, and the identities between scores."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from piva.priors.schedule import Schedule
from piva.scores.csd import CSD
from piva.scores.dds import DDS
from piva.scores.dreamcatalyst import DreamCatalyst
from piva.scores.lusd import LUSD
from piva.scores.pds import PDS
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.ssd import SSD
from piva.scores.terms import Network, Prediction, Score, Sum, TensorTerm, Term, guided_from
from piva.scores.vsd import VSD

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ABAR = torch.cumprod(1 - BETAS, dim=0)
SCHEDULE = Schedule(tuple(ABAR.tolist()))
W, LAM = 7.5, 0.4


class World:
    """Random predictions and latents in float64, as a table: eps["frozen", "edit", "target"] and so on."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda: torch.randn(1, 4, 3, 3, generator=generator, dtype=torch.float64)  # noqa: E731
        names = [
            (n, x, p)
            for n in ("frozen", "source", "target")
            for x in ("edit", "original")
            for p in ("target", "source", "null")
        ]
        self.eps = {name: draw() for name in names}
        self.noise, self.x, self.xhat = draw(), draw(), draw()

    def value(self, terms: Sum) -> Tensor:
        tensors = {"noise": self.noise, "edit": self.x, "original": self.xhat}

        def of(term: Term) -> Tensor:
            if isinstance(term, TensorTerm):
                return tensors[term.name]
            return self.eps[term.network.value, term.latents.value, term.prompt.value]

        return sum(
            (weight * of(term) for term, weight in terms.weights.items()),
            torch.zeros(1, 4, 3, 3, dtype=torch.float64),
        )

    def guided(self, x: str, prompt: str, scale: float) -> Tensor:
        null = self.eps["frozen", x, "null"]
        return null + scale * (self.eps["frozen", x, prompt] - null)


@pytest.mark.parametrize("t", [20, 300, 979])
def test_directions_equal_their_formulas(t: int) -> None:
    w = World(t)
    guided, eps = w.guided, w.eps
    dds = guided("edit", "target", W) - guided("original", "source", W)
    shortcut = guided("edit", "target", W) - guided("edit", "source", W)
    keep = eps["source", "edit", "source"] - eps["target", "edit", "target"]
    tau = t / 1000
    expected = {
        SDS(guidance_scale=W, weight="uniform"): guided("edit", "target", W) - w.noise,
        CSD(guidance_scale=W, weight="uniform"): shortcut,
        DDS(guidance_scale=W, reference="original", weight="uniform"): dds,
        DDS(guidance_scale=W, reference="edit", weight="uniform"): shortcut,
        DDS(guidance_scale=W, guidance_source=1.5, reference="original", weight="uniform"): (
            guided("edit", "target", W) - guided("original", "source", 1.5)
        ),
        CSD(guidance_scale=W, guidance_source=0.0, weight="uniform"): (
            guided("edit", "target", W) - eps["frozen", "edit", "null"]
        ),
        Piva(lam=LAM, guidance_scale=W, guidance_source=1.0, reference="original", weight="uniform"): (
            guided("edit", "target", W) - eps["frozen", "original", "source"] + LAM * keep
        ),
        VSD(guidance_scale=W, weight="uniform"): guided("edit", "target", W)
        - eps["target", "edit", "target"],
        Piva(lam=LAM, guidance_scale=W, reference="original", weight="uniform"): dds + LAM * keep,
        Piva(lam=LAM, guidance_scale=W, reference="edit", weight="uniform"): shortcut + LAM * keep,
        DreamCatalyst(
            guidance_scale=W, source_text="guided", delta=0.2, gamma=0.8, chi=0.075, weight="uniform"
        ): (0.2 + 0.8 * tau ** (1 / math.e)) * dds + 0.075 * math.exp(tau) * (w.x - w.xhat),
        DreamCatalyst(
            guidance_scale=W, source_text="none", delta=0.2, gamma=0.8, chi=0.075, weight="uniform"
        ): (0.2 + 0.8 * tau ** (1 / math.e))
        * (guided("edit", "target", W) - eps["frozen", "original", "null"])
        + 0.075 * math.exp(tau) * (w.x - w.xhat),
        # as collected in one line from the reference code
        SSD(keep=1.0, edit=3.75, enhance=5.5, chi=0.075, weight="uniform"): (
            9.25 * eps["frozen", "edit", "target"]
            - 2.75 * eps["frozen", "edit", "source"]
            - 5.5 * eps["frozen", "edit", "null"]
            - eps["frozen", "original", "null"]
            + 0.075 * math.exp(tau) * ABAR[t].sqrt() * (w.x - w.xhat)
        ),
        LUSD(keep=0.02, deviation_high=0.15, deviation_low=0.01, threshold=0.01, weight="uniform"): (
            0.98 * (eps["frozen", "edit", "target"] - eps["frozen", "edit", "source"]) + 0.02 * (w.x - w.xhat)
        ),
    }
    for score, value in expected.items():
        torch.testing.assert_close(w.value(score.direction(SCHEDULE, t, 0.0)), value, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("t", [21, 101, 501, 979])
def test_pds_equals_the_difference_of_stochastic_latents(t: int) -> None:
    """The reference's route: noise at t and t', predict x0, subtract the mean, divide by the deviation."""
    w = World(t)
    gap, scale = 2, 100.0
    noise_before = World(t + 1).noise
    previous = t - gap
    abar, abar_previous, beta = ABAR[t], ABAR[previous], BETAS[t]

    def stochastic_latent(x0: Tensor, which: str, prompt: str) -> Tensor:
        x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * w.noise
        x_previous = abar_previous.sqrt() * x0 + (1 - abar_previous).sqrt() * noise_before
        predicted = (x_t - (1 - abar).sqrt() * w.guided(which, prompt, scale)) / abar.sqrt()
        c0 = abar_previous.sqrt() * beta / (1 - abar)
        c1 = (1 - beta).sqrt() * (1 - abar_previous) / (1 - abar)
        return (x_previous - c0 * predicted - c1 * x_t) / ((1 - abar_previous) / (1 - abar) * beta).sqrt()

    expected = stochastic_latent(w.x, "edit", "target") - stochastic_latent(w.xhat, "original", "source")
    terms = PDS(guidance_scale=scale, gap=gap, weight="uniform").direction(SCHEDULE, t, 0.0)
    torch.testing.assert_close(w.value(terms), expected, rtol=1e-5, atol=1e-8)


def test_pds_identity_weights_are_the_published_ones() -> None:
    """Measured on the reference's grid of 500 steps."""
    score, x = PDS(guidance_scale=1.0, gap=2, weight="uniform"), TensorTerm("edit")
    weights = {t: score.direction(SCHEDULE, t, 0.0).weights[x] for t in (20, 100, 300, 700)}
    assert weights == pytest.approx({20: 1.70, 100: 0.318, 300: 0.080, 700: 0.0145}, rel=0.02)


@pytest.mark.parametrize("t", [20, 500, 979])
def test_pds_at_consecutive_timesteps_has_no_identity_term(t: int) -> None:
    terms = PDS(guidance_scale=7.5, gap=1, weight="uniform").direction(SCHEDULE, t, 0.0)
    assert not any(isinstance(term, TensorTerm) for term in terms.weights)
    dds = DDS(guidance_scale=7.5, reference="original", weight="uniform").direction(SCHEDULE, t, 0.0)
    ratios = [terms.weights[p] / dds.weights[p] for p in dds.predictions]
    assert all(a == pytest.approx(b) for a, b in pairwise(ratios))  # DDS, re-weighted


@pytest.mark.parametrize("reference", ["edit", "original"])
def test_piva_with_zero_lambda_is_dds(reference: str) -> None:
    piva = Piva(lam=0.0, guidance_scale=W, reference=reference, weight="uniform")
    dds = DDS(guidance_scale=W, reference=reference, weight="uniform")
    assert dict(piva.direction(SCHEDULE, 500, 0.0).weights) == dict(dds.direction(SCHEDULE, 500, 0.0).weights)


def test_lambda_goes_in_a_line_from_the_first_step_to_the_last() -> None:
    ramp = Piva(lam=1.0, lam_end=0.2, guidance_scale=W, reference="edit", weight="uniform")
    for progress, lam in ((0.0, 1.0), (0.25, 0.8), (1.0, 0.2)):
        weights = ramp.direction(SCHEDULE, 500, progress).weights
        kept = [
            w
            for term, w in weights.items()
            if isinstance(term, Prediction) and term.network != Network.FROZEN
        ]
        assert kept == pytest.approx([lam, -lam])


def test_guidance_goes_in_a_line_to_the_scores_own() -> None:
    dds = DDS(guidance_scale=1.5, guidance_source=1.0, reference="original", weight="uniform")
    for progress, guidance in ((0.0, 3.0), (0.5, 2.25), (1.0, 1.5)):
        assert guided_from(dds, 3.0, progress) == replace(dds, guidance_scale=guidance)
    for start in (None, 1.5, 1.0):  # it falls or stays
        assert guided_from(dds, start, 0.0) is dds
    ssd = SSD(keep=1.0, edit=3.75, enhance=5.5, chi=0.075, weight="uniform")
    assert guided_from(ssd, 3.0, 0.0) is ssd  # without guidance


def test_dds_is_csd_where_the_latents_coincide() -> None:
    w = World()
    for prompt in ("target", "source", "null"):
        w.eps["frozen", "original", prompt] = w.eps["frozen", "edit", prompt]
    dds = DDS(guidance_scale=W, reference="original", weight="uniform").direction(SCHEDULE, 500, 0.0)
    csd = CSD(guidance_scale=W, weight="uniform").direction(SCHEDULE, 500, 0.0)
    torch.testing.assert_close(w.value(dds), w.value(csd))


def test_vsd_is_sds_where_the_target_model_predicts_the_noise() -> None:
    w = World()
    w.eps["target", "edit", "target"] = w.noise
    vsd, sds = VSD(guidance_scale=W, weight="uniform"), SDS(guidance_scale=W, weight="uniform")
    torch.testing.assert_close(
        w.value(vsd.direction(SCHEDULE, 500, 0.0)), w.value(sds.direction(SCHEDULE, 500, 0.0))
    )


@pytest.mark.parametrize(
    "score",
    [
        DDS(guidance_scale=W, reference="original", weight="uniform"),
        DDS(guidance_scale=W, reference="edit", weight="uniform"),
        CSD(guidance_scale=W, weight="uniform"),
        PDS(guidance_scale=W, gap=2, weight="uniform"),
        DreamCatalyst(
            guidance_scale=W, source_text="guided", delta=0.2, gamma=0.8, chi=0.075, weight="uniform"
        ),
    ],
    ids=lambda score: f"{type(score).__name__}-{getattr(score, 'reference', '')}",
)
def test_equal_prompts_and_equal_latents_give_no_direction(score: Score) -> None:
    w = World()
    w.xhat = w.x
    for x in ("edit", "original"):
        for prompt in ("target", "source", "null"):
            w.eps["frozen", x, prompt] = w.eps["frozen", "edit", "null" if prompt == "null" else "target"]
    value = w.value(score.direction(SCHEDULE, 500, 0.0))
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-12)


def test_weights_are_the_papers() -> None:
    assert SCHEDULE.weight("sigma_squared", 500) == pytest.approx(1 - float(ABAR[500]))
    assert SCHEDULE.weight("uniform", 500) == 1.0
