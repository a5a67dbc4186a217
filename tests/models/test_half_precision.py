"""What half precision does to the learned models, on the toys' U-Net: gradients, a young adapter's effect."""

from dataclasses import replace
from importlib import resources

import pytest
import torch
from helpers.tiny_prior import LORA, new_models
from torch import Tensor

from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.models.learned import LearnedModels, learn
from piva.models.needs import TRAINING_PAIRS
from piva.priors.prior import load
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Network, Prediction

SETTINGS = replace(LORA, rank=4, alpha=4, init="gaussian", lr=1e-4)
BOTH = [Network.SOURCE, Network.TARGET]
PAIRS = list(TRAINING_PAIRS.values())
YOUNG = 0.026  # of the entries of B; the adapter then changes 1 % of the prediction


class World:
    """The toys' prior at one precision, with an edit whose adapters are a few dozen steps old."""

    def __init__(self, dtype: str) -> None:
        self.denoiser: Denoiser = SETTINGS.denoiser(
            load(str(resources.files("piva.toys") / "prior"), "cpu", dtype)
        )
        prior, draw = self.denoiser.prior, torch.Generator().manual_seed(2)
        self.models: LearnedModels = new_models(SETTINGS, self.denoiser, BOTH)
        for matrix in self.models.weights.values():
            zero = (matrix == 0).all(dim=0)
            matrix.data[:, zero] = YOUNG * torch.randn(len(matrix), int(zero.sum()), generator=draw)
        words = {SOURCE: prior.text("a red mug"), TARGET: prior.text("a blue mug")}
        self.edit = Conditioning(words, self.models)
        x, self.noise = torch.randn(2, 1, 4, 16, 16, generator=draw)
        self.noisy = {kind: prior.schedule.noised(x, self.noise, 500) for kind in (EDIT, ORIGINAL)}

    def predict(self, predictions: list[Prediction]) -> dict[Prediction, Tensor]:
        return self.denoiser.predict([Query(self.edit, predictions, self.noisy, 500)])[0]

    def gradients(self, scaled: bool) -> Tensor:
        """The unscaled gradients of eps_psi's and eps_phi's losses, as the optimiser gets them."""
        eps = self.predict(PAIRS)
        predicted = {pair.network: each for pair, each in eps.items()}
        scaler = self.models._scaler
        total, _ = self.models.loss(predicted, self.noise)
        (total if scaled else total / scaler.get_scale()).backward()  # type: ignore[no-untyped-call]
        if scaled:
            scaler.unscale_(self.models._optimiser)
        return torch.cat([matrix.grad.flatten() for matrix in self.models.weights.values()])  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def exact() -> World:
    return World("float32")


def test_gradients_in_float16_are_float32s(exact: World) -> None:
    expected, got = exact.gradients(scaled=False), World("float16").gradients(scaled=True)
    assert torch.cosine_similarity(expected, got, dim=0) > 0.999
    assert (got == 0).float().mean() < 0.001
    torch.testing.assert_close(got.norm(), expected.norm(), rtol=0.02, atol=0)
    unscaled = World("float16").gradients(scaled=False)
    assert (unscaled == 0).float().mean() > 0.02  # and a third of them at Stable Diffusion's size


def young(world: World) -> tuple[Tensor, Tensor]:
    """What eps_psi changes of the frozen model's prediction, and that prediction."""
    learned, frozen = (Prediction(network, EDIT, SOURCE) for network in (Network.SOURCE, Network.FROZEN))
    with torch.no_grad():
        eps = world.predict([learned, frozen])
    return eps[learned] - eps[frozen], eps[frozen]


def test_a_young_adapter_shows_in_float16(exact: World) -> None:
    """Within 5 % of float32 where it changes 1 % of the prediction; bfloat16 has eight times the noise."""
    expected, frozen = young(exact)
    assert 0.005 < expected.norm() / frozen.norm() < 0.02
    errors = {}
    for dtype in ("float16", "bfloat16"):
        got, _ = young(World(dtype))
        errors[dtype] = float((got - expected).norm() / expected.norm())
    assert errors["float16"] < 0.05
    assert errors["bfloat16"] > 4 * errors["float16"]


def test_a_step_that_overflows_changes_nothing_and_the_next_one_does() -> None:
    world = World("float16")
    before = {network: matrix.detach().clone() for network, matrix in world.models.weights.items()}
    world.models._scaler._init_scale = 2.0**40  # any gradient is infinite
    eps = world.predict(PAIRS)
    learn([(world.models, {pair.network: each for pair, each in eps.items()}, world.noise)])
    assert all(torch.equal(before[network], matrix) for network, matrix in world.models.weights.items())
    assert all(matrix.isfinite().all() for matrix in world.models.weights.values())
    restored = World("float16").models
    restored.restore(world.models.checkpoint())
    assert restored._scaler.get_scale() == world.models._scaler.get_scale() == 2.0**39
