"""What the learned models of a score are, what they train on, and their one step."""

import copy

import pytest
import torch
from helpers.tiny_prior import contexts, perturb_adapters, predict_alone

from piva.models.learned import TRAINING_PAIRS, Denoiser, LearnedModels, needs
from piva.models.lora import Lora
from piva.priors.prior import Prior
from piva.scores.dds import DDS
from piva.scores.dreamcatalyst import DreamCatalyst
from piva.scores.pds import PDS
from piva.scores.piva import Piva
from piva.scores.sds import SDS
from piva.scores.terms import EDIT, NULL, ORIGINAL, SOURCE, TARGET, Network, Prediction, Score
from piva.scores.vsd import VSD

T = 400
BOTH = (Network.SOURCE, Network.TARGET)
PIVA = {"guidance_scale": 1.0, "reference": "edit", "weight": "uniform"}


@pytest.fixture
def models(prior: Prior) -> LearnedModels:
    made = Lora(rank=2, alpha=2, lr=1e-2).attach(prior, BOTH, torch.Generator().manual_seed(1))
    perturb_adapters(prior.unet)
    return made


@pytest.mark.parametrize(
    ("score", "learned", "original"),
    [
        (SDS(guidance_scale=1.0, weight="uniform"), (), False),
        (DDS(guidance_scale=1.0, reference="edit", weight="uniform"), (), False),
        (DDS(guidance_scale=1.0, reference="original", weight="uniform"), (), True),
        (PDS(guidance_scale=1.0, gap=2, weight="uniform"), (), True),
        (DreamCatalyst(guidance_scale=0.0, delta=0, gamma=0, chi=1, weight="uniform"), (), True),
        (VSD(guidance_scale=1.0, weight="uniform"), (Network.TARGET,), False),
        (Piva(lam=0.1, **PIVA), BOTH, True),  # psi follows the original
        (Piva(lam=0.0, **PIVA), (), False),
        (Piva(lam=0.0, lam_end=0.0, **PIVA), (), False),
        (Piva(lam=0.0, lam_end=0.8, **PIVA), BOTH, True),
        (Piva(lam=0.8, lam_end=0.0, **PIVA), BOTH, True),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "weight") else None,
)  # fmt: skip
def test_what_a_score_needs_is_read_off_its_terms(
    score: Score, learned: tuple[Network, ...], original: bool
) -> None:
    assert (needs(score).learned, needs(score).original) == (learned, original)
    assert [pair.network for pair in needs(score).training_pairs] == list(learned)


def test_each_row_gets_its_own_network_and_prompt(
    prior: Prior, models: LearnedModels, generator: torch.Generator
) -> None:
    predictions = [
        Prediction(Network.TARGET, EDIT, TARGET),
        Prediction(Network.FROZEN, EDIT, NULL),
        Prediction(Network.SOURCE, ORIGINAL, SOURCE),
        Prediction(Network.SOURCE, EDIT, SOURCE),
    ]
    words, x = contexts(prior), torch.randn(8, 4, 8, 8, generator=generator)
    with torch.no_grad():
        got = Denoiser(prior, words, models).predict(predictions, x, T, {}).split(2)
    for prediction, rows, eps in zip(predictions, x.split(2), got, strict=True):
        alone = predict_alone(prior, prediction.network, rows, T, words[prediction.prompt])
        torch.testing.assert_close(eps, alone, rtol=1e-4, atol=1e-4)


def test_each_model_trains_on_its_own_latents_and_prompt(
    prior: Prior, models: LearnedModels, generator: torch.Generator
) -> None:
    noise, words = torch.randn(2, 4, 8, 8, generator=generator), contexts(prior)
    noisy = {kind: torch.randn(2, 4, 8, 8, generator=generator) for kind in (EDIT, ORIGINAL)}
    pairs = list(TRAINING_PAIRS.values())
    expected = {
        Network.SOURCE: predict_alone(prior, Network.SOURCE, noisy[ORIGINAL], T, words[SOURCE]),
        Network.TARGET: predict_alone(prior, Network.TARGET, noisy[EDIT], T, words[TARGET]),
    }
    rows = torch.cat([noisy[pair.latents] for pair in pairs])
    eps = Denoiser(prior, words, models).predict(pairs, rows, T, {}).split(2)
    losses = models.learn({pair.network: e for pair, e in zip(pairs, eps, strict=True)}, noise)
    assert not any(loss.requires_grad for loss in losses.values())
    for network, alone in expected.items():
        torch.testing.assert_close(losses[network], (alone - noise).square().mean(), rtol=1e-4, atol=1e-5)


def test_learning_one_model_leaves_the_other_and_the_frozen_one(
    prior: Prior, models: LearnedModels, generator: torch.Generator
) -> None:
    denoiser, x = Denoiser(prior, contexts(prior), models), torch.randn(1, 4, 8, 8, generator=generator)
    every = [Prediction(network, EDIT, TARGET) for network in Network]

    def predictions() -> torch.Tensor:
        with torch.no_grad():
            return denoiser.predict(every, x.expand(3, -1, -1, -1), T, {})

    before = predictions()
    eps = denoiser.predict([Prediction(Network.TARGET, EDIT, TARGET)], x, T, {})
    models.learn({Network.TARGET: eps}, torch.ones_like(eps))
    frozen, source, target = (predictions() - before).abs().amax(dim=(1, 2, 3)).tolist()
    assert (frozen, source) == (0, 0)
    assert target > 1e-4


def test_restored_models_learn_as_if_nothing_had_happened(
    prior: Prior, models: LearnedModels, generator: torch.Generator
) -> None:
    denoiser, x = Denoiser(prior, contexts(prior), models), torch.randn(1, 4, 8, 8, generator=generator)
    pair = [TRAINING_PAIRS[Network.TARGET]]

    def learn(steps: int) -> float:
        for _ in range(steps):
            eps = denoiser.predict(pair, x, T, {})
            losses = models.learn({Network.TARGET: eps}, torch.ones_like(eps))
        return losses[Network.TARGET].item()

    learn(2)
    saved = copy.deepcopy(models.checkpoint())
    expected = learn(2)
    models.restore(saved)
    assert learn(2) == expected
