"""What the learned models of a score are, what they train on, and their one step."""

import copy
from pathlib import Path

import pytest
import torch
from helpers.tiny_prior import LORA, Alone, contexts, new_models, perturbed

from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.models.learned import learn
from piva.models.needs import TRAINING_PAIRS, needs
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
EVERY = [
    Prediction(Network.TARGET, EDIT, TARGET),
    Prediction(Network.FROZEN, EDIT, NULL),
    Prediction(Network.SOURCE, ORIGINAL, SOURCE),
    Prediction(Network.SOURCE, EDIT, SOURCE),
]


@pytest.fixture
def denoiser(prior: Prior) -> Denoiser:
    return LORA.denoiser(prior)


@pytest.fixture
def edit(denoiser: Denoiser) -> Conditioning:
    """An edit whose adapters do something."""
    return Conditioning(contexts(denoiser.prior), perturbed(new_models(LORA, denoiser, BOTH)))


def noisy(seed: int, views: int = 2, size: int = 8) -> dict[object, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {kind: torch.randn(views, 4, size, size, generator=draw) for kind in (EDIT, ORIGINAL)}


@pytest.mark.parametrize(
    ("score", "learned", "original"),
    [
        (SDS(guidance_scale=1.0, weight="uniform"), (), False),
        (DDS(guidance_scale=1.0, reference="edit", weight="uniform"), (), False),
        (DDS(guidance_scale=1.0, reference="original", weight="uniform"), (), True),
        (PDS(guidance_scale=1.0, gap=2, weight="uniform"), (), True),
        (DreamCatalyst(
            guidance_scale=0.0, delta=0, gamma=0, chi=1, source_text="guided", weight="uniform"
        ), (), True),
        (VSD(guidance_scale=1.0, weight="uniform"), (Network.TARGET,), False),
        (Piva(lam=0.1, **PIVA), BOTH, False),  # but psi follows the original
        (Piva(lam=0.0, **PIVA), (), False),
        (Piva(lam=0.0, lam_end=0.0, **PIVA), (), False),
        (Piva(lam=0.0, lam_end=0.8, **PIVA), BOTH, False),
        (Piva(lam=0.8, lam_end=0.0, **PIVA), BOTH, False),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "weight") else None,
)  # fmt: skip
def test_what_a_score_needs_is_read_off_its_terms(
    score: Score, learned: tuple[Network, ...], original: bool
) -> None:
    assert (needs(score).learned, needs(score).original) == (learned, original)


def test_each_row_gets_its_own_network_and_prompt(
    prior_folder: Path, denoiser: Denoiser, edit: Conditioning, tmp_path: Path
) -> None:
    assert edit.models is not None
    alone, seen = Alone(prior_folder, edit.models, tmp_path), noisy(0)
    with torch.no_grad():
        (got,) = denoiser.predict([Query(edit, EVERY, seen, T)])
    for prediction in EVERY:
        expected = alone(prediction.network, seen[prediction.latents], T, edit.contexts[prediction.prompt])
        torch.testing.assert_close(got[prediction], expected, rtol=1e-6, atol=1e-6)
    assert (got[EVERY[0]] - got[EVERY[1]]).abs().max() > 0.1


def test_edits_of_one_batch_do_not_see_each_other(denoiser: Denoiser) -> None:
    """Adapters, prompts, timesteps, numbers of views and sizes of their own, in one call for each size."""
    edits = []
    for i, (first, second) in enumerate([("a cat", "a dog"), ("a dog", ""), ("a fox", "a cat")]):
        words = dict(zip((TARGET, SOURCE, NULL), map(denoiser.prior.text, (first, second, "")), strict=True))
        edits.append(Conditioning(words, perturbed(new_models(LORA, denoiser, BOTH, seed=i))))
    queries = [
        Query(edits[0], EVERY, noisy(0), 30),
        Query(edits[1], EVERY[1:], noisy(1, views=1), 600),
        Query(edits[2], EVERY[::-1], noisy(2, size=6), 999),
    ]
    with torch.no_grad():
        together, alone = denoiser.predict(queries), [denoiser.predict([query])[0] for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys()
        for prediction, eps in one.items():
            torch.testing.assert_close(eps, other[prediction], rtol=1e-5, atol=1e-5)
    assert [edit.evaluations.forward for edit in edits] == [16, 6, 16]
    assert [edit.evaluations.calls for edit in edits] == [2, 2, 2]


def test_each_model_trains_on_its_own_latents_and_prompt(
    prior_folder: Path, denoiser: Denoiser, edit: Conditioning, tmp_path: Path
) -> None:
    assert edit.models is not None
    alone, seen, words = Alone(prior_folder, edit.models, tmp_path), noisy(0), edit.contexts
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    expected = {
        Network.SOURCE: alone(Network.SOURCE, seen[ORIGINAL], T, words[SOURCE]),
        Network.TARGET: alone(Network.TARGET, seen[EDIT], T, words[TARGET]),
    }
    (eps,) = denoiser.predict([Query(edit, list(TRAINING_PAIRS.values()), seen, T)])
    (losses,) = learn([(edit.models, {pair.network: each for pair, each in eps.items()}, noise)])
    assert not any(loss.requires_grad for loss in losses.values())
    for network, predicted in expected.items():
        torch.testing.assert_close(losses[network], (predicted - noise).square().mean(), rtol=1e-4, atol=1e-5)


def test_learning_one_model_leaves_the_other_and_the_frozen_one(
    denoiser: Denoiser, edit: Conditioning
) -> None:
    assert edit.models is not None
    every, seen = [Prediction(network, EDIT, TARGET) for network in Network], noisy(0)

    def predictions() -> torch.Tensor:
        with torch.no_grad():
            return torch.stack(list(denoiser.predict([Query(edit, every, seen, T)])[0].values()))

    before = predictions()
    (eps,) = denoiser.predict([Query(edit, every[2:], seen, T)])
    learn([(edit.models, {Network.TARGET: eps[every[2]]}, torch.ones(2, 4, 8, 8))])
    moved = (predictions() - before).abs().amax(dim=(1, 2, 3, 4))
    by_network = dict(zip(denoiser.predict([Query(edit, every, seen, T)])[0], moved.tolist(), strict=True))
    assert by_network[every[0]] == by_network[every[1]] == 0
    assert by_network[every[2]] > 1e-4


def test_models_learn_at_every_so_many_steps(denoiser: Denoiser) -> None:
    models = new_models(LORA, denoiser, BOTH)
    assert models.pairs(3) == list(TRAINING_PAIRS.values())
    models._train_every = 2
    assert [len(models.pairs(step)) for step in range(4)] == [2, 0, 2, 0]


def test_restored_models_learn_as_if_nothing_had_happened(denoiser: Denoiser, edit: Conditioning) -> None:
    models, pair = edit.models, TRAINING_PAIRS[Network.TARGET]
    assert models is not None

    def go_on(steps: int) -> float:
        for _ in range(steps):
            (eps,) = denoiser.predict([Query(edit, [pair], noisy(0), T)])
            (losses,) = learn([(models, {Network.TARGET: eps[pair]}, torch.ones(2, 4, 8, 8))])
        return losses[Network.TARGET].item()

    go_on(2)
    saved = copy.deepcopy(models.checkpoint())
    expected = go_on(2)
    models.restore(saved)
    assert go_on(2) == expected
