"""The learned models beside a depth ControlNet, against plain diffusers and peft."""

import json
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from helpers.recorder import Recorder
from helpers.tiny_prior import LORA, Alone, contexts, new_models, perturbed, write_controlnet
from torch import Tensor

from piva.errors import InputError
from piva.models.controlled import depth_hint
from piva.models.controlnet import ControlNet
from piva.models.denoiser import Conditioning, Denoiser, NetworkEvaluations, Query
from piva.models.learned import LearnedModels, learn
from piva.models.lora import Lora
from piva.models.needs import needs
from piva.optimise import Method, Step, Work, optimise
from piva.priors.prior import Prior, load
from piva.priors.stable_diffusion import StableDiffusion
from piva.schedules.uniform import Uniform
from piva.scores.dds import DDS
from piva.scores.piva import Piva
from piva.scores.terms import EDIT, NULL, ORIGINAL, SOURCE, TARGET, Network, Prediction, Score
from piva.scores.vsd import VSD
from piva.tasks.base import Randomness, View

T = 400
CONTROL = ControlNet(path=None, scale=1.0, source_sees="edit", tune=False, **vars(LORA))
BOTH = [Network.SOURCE, Network.TARGET]
PIVA = Piva(lam=0.4, guidance_scale=7.5, reference="edit", weight="uniform")


@pytest.fixture(scope="module")
def folder(prior_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny prior with a ControlNet that does something."""
    folder = tmp_path_factory.mktemp("control") / "sd"
    shutil.copytree(prior_folder, folder)
    write_controlnet(folder, 0.3)
    return folder


def view() -> View:
    draw = torch.Generator().manual_seed(1)
    latents = {which: torch.randn(2, 4, 8, 8, generator=draw) for which in (EDIT, ORIGINAL)}
    return View(
        latents=latents,
        depth={which: 1 + torch.rand(2, 32, 32, generator=draw) for which in (EDIT, ORIGINAL)},
    )


def trained(prior: Prior, settings: ControlNet) -> tuple[Denoiser, Conditioning, LearnedModels]:
    """An edit whose adapters do something."""
    denoiser = settings.denoiser(prior)
    models = perturbed(new_models(settings, denoiser, BOTH))
    return denoiser, Conditioning(contexts(prior), models), models


def network_of(denoiser: Denoiser) -> ControlNetModel:
    assert denoiser.control is not None
    return denoiser.control.network


PREDICTIONS = [
    Prediction(Network.FROZEN, EDIT, NULL),
    Prediction(Network.SOURCE, EDIT, SOURCE),
    Prediction(Network.TARGET, EDIT, TARGET),
    Prediction(Network.SOURCE, ORIGINAL, SOURCE),
]


@pytest.mark.parametrize("tune", [False, True])
@pytest.mark.parametrize("sees", ["edit", "original"])
def test_each_row_gets_its_own_network_and_depth_in_any_order(
    folder: Path, sees: str, tune: bool, tmp_path: Path
) -> None:
    prior = load(str(folder), "cpu", "float32")
    denoiser, edit, models = trained(prior, replace(CONTROL, source_sees=sees, tune=tune))
    plain = ControlNetModel.from_pretrained(folder / "controlnet")
    alone, seen = Alone(folder, models, tmp_path, plain), view()
    depths = [None, ORIGINAL if sees == "original" else EDIT, EDIT, ORIGINAL]
    expected = {
        p: alone(
            p.network,
            seen.latents[p.latents],
            T,
            edit.contexts[p.prompt],
            depth and depth_hint(seen.depth[depth]),
        )
        for p, depth in zip(PREDICTIONS, depths, strict=True)
    }
    for order in list(permutations(PREDICTIONS))[::3]:
        with torch.no_grad():
            (got,) = denoiser.predict([Query(edit, order, seen.latents, T, seen.depth)])
        for prediction in order:
            torch.testing.assert_close(got[prediction], expected[prediction], rtol=1e-4, atol=1e-4)


def step(prior: Prior, settings: ControlNet | Lora, score: Score) -> tuple[Step, Tensor, NetworkEvaluations]:
    """One step, the direction it took, and what it cost."""
    learned = needs(score).learned
    denoiser = settings.denoiser(prior) if learned else Denoiser(prior)
    edit = Conditioning(contexts(prior), new_models(settings, denoiser, learned) if learned else None)
    randomness = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(3))
    state = Recorder(view().latents[EDIT] / 3, view().depth)
    method = Method(Uniform(t_min=0.4, t_max=0.401), denoiser)
    ((_, taken),) = optimise([Work(state, score, edit, randomness)], method, 1)
    denoiser.detach()
    return taken, state.gradients[0], edit.evaluations


@pytest.mark.parametrize("how", ["zero weights", "zero scale"])
def test_a_controlnet_that_adds_nothing_is_model_lora(
    prior_folder: Path, folder: Path, tmp_path: Path, how: str
) -> None:
    shutil.copytree(prior_folder, tmp_path / "sd")
    write_controlnet(tmp_path / "sd", 0.0 if how == "zero weights" else 0.3)
    settings = replace(CONTROL, scale=1.0 if how == "zero weights" else 0.0)
    got, direction, _ = step(load(str(tmp_path / "sd"), "cpu", "float32"), settings, PIVA)
    wanted, expected, _ = step(load(str(prior_folder), "cpu", "float32"), LORA, PIVA)
    _, other, _ = step(load(str(folder), "cpu", "float32"), CONTROL, PIVA)
    torch.testing.assert_close(direction, expected)
    torch.testing.assert_close(got.losses, wanted.losses)
    assert not torch.allclose(other, expected, atol=5e-3)


@pytest.mark.parametrize(
    ("score", "tune", "cost"),
    [  # forward, backward and calls of the U-Net; forward and backward of the ControlNet; of two views
        (PIVA, False, (10, 4, 2, 6, 0)),
        (PIVA, True, (10, 4, 2, 6, 4)),
        (replace(PIVA, reference="original"), False, (14, 4, 2, 6, 0)),
        (VSD(guidance_scale=7.5, weight="uniform"), False, (6, 2, 2, 2, 0)),
        (VSD(guidance_scale=7.5, weight="uniform"), True, (6, 2, 2, 2, 2)),
        (DDS(guidance_scale=7.5, reference="edit", weight="uniform"), True, (4, 0, 1, 0, 0)),
        (replace(PIVA, lam=0.0), True, (4, 0, 1, 0, 0)),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "weight") else None,
)
def test_what_a_step_costs(folder: Path, score: Score, tune: bool, cost: tuple[int, ...]) -> None:
    *_, spent = step(load(str(folder), "cpu", "float32"), replace(CONTROL, tune=tune), score)
    assert spent == NetworkEvaluations(*cost)


@pytest.mark.parametrize("tune", [False, True])
def test_learning_moves_the_adapters_and_nothing_else(folder: Path, tune: bool) -> None:
    prior = load(str(folder), "cpu", "float32")
    denoiser, edit, models = trained(prior, replace(CONTROL, tune=tune))
    hosts = [prior.unet, network_of(denoiser)]
    frozen = [weight.clone() for host in hosts for weight in host.parameters()]
    before = {network: matrix.detach().clone() for network, matrix in models.weights.items()}
    pair = Prediction(Network.TARGET, EDIT, TARGET)
    (eps,) = denoiser.predict([Query(edit, [pair], view().latents, T, view().depth)])
    learn([(models, {Network.TARGET: eps[pair]}, torch.ones_like(eps[pair]))])
    weights = [weight for host in hosts for weight in host.parameters()]
    assert all(map(torch.equal, frozen, weights))
    assert torch.equal(models.weights[Network.SOURCE], before[Network.SOURCE])
    moved = (models.weights[Network.TARGET] != before[Network.TARGET]).float().mean()
    assert moved > 0.95  # the ControlNet's with the U-Net's, if it has some


@pytest.mark.parametrize("tune", [False, True])
def test_saved_models_predict_the_same_in_plain_diffusers_and_peft(
    folder: Path, tmp_path: Path, tune: bool
) -> None:
    prior = load(str(folder), "cpu", "float32")
    denoiser, edit, models = trained(prior, replace(CONTROL, tune=tune))
    seen, pair = view(), Prediction(Network.SOURCE, ORIGINAL, SOURCE)
    with torch.no_grad():
        (expected,) = denoiser.predict([Query(edit, [pair], seen.latents, T, seen.depth)])
    alone = Alone(folder, models, tmp_path, ControlNetModel.from_pretrained(folder / "controlnet"))
    assert (tmp_path / "source/controlnet").exists() == tune
    hint = depth_hint(seen.depth[ORIGINAL])
    got = alone(Network.SOURCE, seen.latents[ORIGINAL], T, edit.contexts[SOURCE], hint)
    torch.testing.assert_close(got, expected[pair], rtol=1e-5, atol=1e-5)


def altered(folder: Path, to: Path, **values: object) -> Path:
    """A copy of the ControlNet with other values in its configuration."""
    shutil.copytree(folder / "controlnet", to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | values))
    return to


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cross_attention_dim": 768}, "cross_attention_dim 768, wanted 16, as the U-Net.*SD 1.5"),
        ({"block_out_channels": [8, 16, 16]}, r"block_out_channels \[8, 16, 16\]"),
        ({"conditioning_embedding_out_channels": [4, 8, 8, 8]}, "8 times smaller, wanted 4 times"),
        ({"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel, wanted ControlNetModel"),
    ],
)
def test_a_controlnet_of_another_kind_of_prior_is_refused(
    folder: Path, tmp_path: Path, values: dict[str, object], words: str
) -> None:
    path = altered(folder, tmp_path / "other", **values)
    with pytest.raises(InputError, match=words):
        replace(CONTROL, path=str(path)).check(StableDiffusion(path=str(folder), dtype="float32"))


def test_a_prior_without_controlnet_says_what_is_possible(prior_folder: Path) -> None:
    with pytest.raises(InputError, match=r"no ControlNet in .*prior=toys has one.*model.path=FOLDER"):
        CONTROL.check(StableDiffusion(path=str(prior_folder), dtype="float32"))


@pytest.mark.parametrize("path", ["./nowhere", "/no/where", "a/b/c", "nowhere"])
def test_a_path_that_is_none_is_named(folder: Path, path: str) -> None:
    with pytest.raises(InputError, match="model.path: found no folder"):
        replace(CONTROL, path=path).check(StableDiffusion(path=str(folder), dtype="float32"))


def test_a_damaged_file_is_named_before_anything_is_loaded(folder: Path, tmp_path: Path) -> None:
    path = altered(folder, tmp_path / "torn")
    weights = path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="found a damaged file"):
        replace(CONTROL, path=str(path)).check(StableDiffusion(path=str(folder), dtype="float32"))


def test_only_a_hub_id_must_be_downloaded(folder: Path) -> None:
    assert [need.name for need in replace(CONTROL, path="owner/depth").requires()] == [
        "owner/depth (model.path)"
    ]
    assert CONTROL.requires() == replace(CONTROL, path=str(folder / "controlnet")).requires() == []


def test_a_controlnet_with_half_precision_alone_is_loaded(folder: Path) -> None:
    full = next((folder / "controlnet").glob("*.safetensors"))
    full.rename(full.with_suffix(".fp16.safetensors"))
    settings = StableDiffusion(path=str(folder), dtype="float32")
    CONTROL.check(settings)
    denoiser = CONTROL.denoiser(settings.load("cpu"))
    assert denoiser.control is not None


def test_hint_is_one_at_the_nearest_and_zero_at_the_farthest_and_outside() -> None:
    depth = torch.tensor([[[0.0, 2.0], [4.0, 3.0]]])
    # inverse depths 1/2, 1/4, 1/3: (1/3 - 1/4) / (1/2 - 1/4) = 1/3
    torch.testing.assert_close(depth_hint(depth), torch.tensor([[[[0.0, 1.0], [0.0, 1 / 3]]]]))


def test_hint_does_not_know_the_unit() -> None:
    depth = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0)) + 1
    torch.testing.assert_close(depth_hint(depth), depth_hint(1000 * depth))


def test_an_empty_picture_has_an_empty_hint() -> None:
    assert not depth_hint(torch.zeros(1, 3, 3)).any()
