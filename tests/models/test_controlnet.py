"""The learned models beside a depth ControlNet, against plain diffusers and peft."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from helpers.recorder import Recorder
from helpers.tiny_prior import contexts, perturb_adapters, predict_alone, write_controlnet
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor

from piva.errors import InputError
from piva.models.controlled import depth_hint
from piva.models.controlnet import ControlNet
from piva.models.learned import Denoiser, LearnedModels, needs
from piva.models.lora import Lora
from piva.optimise import Method, Step, optimise
from piva.priors.prior import NetworkEvaluations, Prior, load
from piva.priors.stable_diffusion import StableDiffusion
from piva.schedules.uniform import Uniform
from piva.scores.dds import DDS
from piva.scores.piva import Piva
from piva.scores.terms import EDIT, NULL, ORIGINAL, SOURCE, TARGET, Network, Prediction, Score
from piva.scores.vsd import VSD
from piva.tasks.base import Randomness, View

T = 400
CONTROL = ControlNet(path=None, scale=1.0, source_sees="edit", tune=False, rank=2, alpha=2, lr=1e-2)
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


def trained(prior: Prior, settings: ControlNet, networks: Sequence[Network] = BOTH) -> LearnedModels:
    """Models whose adapters do something."""
    models = settings.attach(prior, networks, torch.Generator().manual_seed(1))
    perturb_adapters(prior.unet, network_of(models))
    return models


def network_of(models: LearnedModels) -> ControlNetModel:
    assert models._control is not None
    return models._control.network


PREDICTIONS = [
    Prediction(Network.FROZEN, EDIT, NULL),
    Prediction(Network.SOURCE, EDIT, SOURCE),
    Prediction(Network.TARGET, EDIT, TARGET),
    Prediction(Network.SOURCE, ORIGINAL, SOURCE),
]


@pytest.mark.parametrize("tune", [False, True])
@pytest.mark.parametrize("sees", ["edit", "original"])
def test_each_row_gets_its_own_network_and_depth_in_any_order(folder: Path, sees: str, tune: bool) -> None:
    prior = load(str(folder), "cpu", "float32")
    models = trained(prior, replace(CONTROL, source_sees=sees, tune=tune))
    seen, words = view(), contexts(prior)
    depths = [None, ORIGINAL if sees == "original" else EDIT, EDIT, ORIGINAL]
    expected = {
        p: predict_alone(
            prior, p.network, seen.latents[p.latents], T, words[p.prompt],
            network_of(models), depth and depth_hint(seen.depth[depth]),
        )
        for p, depth in zip(PREDICTIONS, depths, strict=True)
    }  # fmt: skip
    for order in list(permutations(PREDICTIONS))[::3]:
        x = torch.cat([seen.latents[p.latents] for p in order])
        context = torch.cat([words[p.prompt].expand(2, -1, -1) for p in order])
        with torch.no_grad():
            got = models.predict(prior, order, x, T, context, seen.depth).split(2)
        for prediction, eps in zip(order, got, strict=True):
            torch.testing.assert_close(eps, expected[prediction], rtol=1e-4, atol=1e-4)


def step(prior: Prior, settings: ControlNet | Lora, score: Score) -> tuple[Step, Tensor, NetworkEvaluations]:
    """One step, the direction it took, and what it cost."""
    learned = needs(score).learned
    models = settings.attach(prior, learned, torch.Generator().manual_seed(1)) if learned else None
    method = Method(score, Uniform(t_min=0.4, t_max=0.401), Denoiser(prior, contexts(prior), models))
    randomness = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(3))
    state = Recorder(view().latents[EDIT] / 3, view().depth)
    (taken,) = optimise(state, method, 1, randomness)
    if models:
        models.detach()
    return taken, state.gradients[0], prior.evaluations


@pytest.mark.parametrize("how", ["zero weights", "zero scale"])
def test_a_controlnet_that_adds_nothing_is_model_lora(
    prior_folder: Path, folder: Path, tmp_path: Path, how: str
) -> None:
    shutil.copytree(prior_folder, tmp_path / "sd")
    write_controlnet(tmp_path / "sd", 0.0 if how == "zero weights" else 0.3)
    settings = replace(CONTROL, scale=1.0 if how == "zero weights" else 0.0)
    got, direction, _ = step(load(str(tmp_path / "sd"), "cpu", "float32"), settings, PIVA)
    wanted, expected, _ = step(
        load(str(prior_folder), "cpu", "float32"), Lora(rank=2, alpha=2, lr=1e-2), PIVA
    )
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
    models = trained(prior, replace(CONTROL, tune=tune))
    hosts = {"unet": prior.unet, "controlnet": network_of(models)}
    before = {
        (h, name): w.detach().clone() for h, host in hosts.items() for name, w in host.named_parameters()
    }
    pair = [Prediction(Network.TARGET, EDIT, TARGET)]
    eps = models.predict(
        prior, pair, view().latents[EDIT], T, contexts(prior)[TARGET].expand(2, -1, -1), view().depth
    )
    models.learn({Network.TARGET: eps}, torch.ones_like(eps))
    after = {(h, name): w for h, host in hosts.items() for name, w in host.named_parameters()}
    moved = {key for key, weight in after.items() if not torch.equal(weight, before[key])}
    assert moved == {(h, name) for h, name in after if "lora_" in name and ".target." in name}
    assert ("controlnet" in {h for h, _ in moved}) == tune


@pytest.mark.parametrize("tune", [False, True])
def test_saved_models_predict_the_same_in_plain_diffusers_and_peft(
    folder: Path, tmp_path: Path, tune: bool
) -> None:
    prior = load(str(folder), "cpu", "float32")
    models = trained(prior, replace(CONTROL, tune=tune))
    seen, words = view(), contexts(prior)
    pair = [Prediction(Network.SOURCE, ORIGINAL, SOURCE)]
    with torch.no_grad():
        x, context = seen.latents[ORIGINAL], words[SOURCE].expand(2, -1, -1)
        expected = models.predict(prior, pair, x, T, context, seen.depth)
    models.save(tmp_path)

    unet = load(str(folder), "cpu", "float32").unet
    control = ControlNetModel.from_pretrained(folder / "controlnet")
    for host, place in [
        (unet, tmp_path / "source"),
        *([(control, tmp_path / "source/controlnet")] if tune else []),
    ]:
        inject_adapter_in_model(LoraConfig.from_pretrained(place), host)
        assert not set_peft_model_state_dict(
            host, load_file(place / "adapter_model.safetensors")
        ).unexpected_keys
    assert (tmp_path / "source/controlnet").exists() == tune
    with torch.no_grad():
        down, mid = control(
            x, T, context, depth_hint(seen.depth[ORIGINAL]).repeat(1, 3, 1, 1), return_dict=False
        )
        got = unet(
            x, T, context, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
    torch.testing.assert_close(got, expected)


def test_detaching_gives_the_frozen_network_back(folder: Path) -> None:
    prior = load(str(folder), "cpu", "float32")
    names = [name for name, _ in prior.unet.named_modules()]
    for _ in range(2):  # and the next edit can attach its own
        replace(CONTROL, tune=True).attach(prior, BOTH, torch.Generator().manual_seed(0)).detach()
        assert [name for name, _ in prior.unet.named_modules()] == names


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


def test_hint_is_one_at_the_nearest_and_zero_at_the_farthest_and_outside() -> None:
    depth = torch.tensor([[[0.0, 2.0], [4.0, 3.0]]])
    # inverse depths 1/2, 1/4, 1/3: (1/3 - 1/4) / (1/2 - 1/4) = 1/3
    torch.testing.assert_close(depth_hint(depth), torch.tensor([[[[0.0, 1.0], [0.0, 1 / 3]]]]))


def test_hint_does_not_know_the_unit() -> None:
    depth = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0)) + 1
    torch.testing.assert_close(depth_hint(depth), depth_hint(1000 * depth))


def test_an_empty_picture_has_an_empty_hint() -> None:
    assert not depth_hint(torch.zeros(1, 3, 3)).any()
