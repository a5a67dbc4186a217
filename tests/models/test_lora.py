"""LoRA adapters of model=lora: without effect at first; drawn, saved and differentiated as peft does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_prior import LORA, contexts, new_models, perturbed
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file

from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.models.learned import LearnedModels, learn
from piva.models.needs import TRAINING_PAIRS
from piva.priors.prior import Prior, load
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Network, Prediction

BOTH = [Network.SOURCE, Network.TARGET]
PAIRS = list(TRAINING_PAIRS.values())
T = 300


def query(denoiser: Denoiser, models: LearnedModels, predictions: list[Prediction] = PAIRS) -> Query:
    draw = torch.Generator().manual_seed(3)
    noisy = {kind: torch.randn(2, 4, 8, 8, generator=draw) for kind in (EDIT, ORIGINAL)}
    return Query(Conditioning(contexts(denoiser.prior), models), predictions, noisy, T)


@pytest.mark.parametrize("layers", ["all", "decoder"])
@pytest.mark.parametrize("init", ["peft", "gaussian"])
def test_new_adapters_change_nothing(prior: Prior, init: str, layers: str) -> None:
    settings = replace(LORA, init=init, layers=layers)
    denoiser = settings.denoiser(prior)
    asked = query(denoiser, new_models(settings, denoiser, BOTH))
    (got,) = denoiser.predict([asked])
    frozen = [Prediction(Network.FROZEN, p.latents, p.prompt) for p in PAIRS]
    (expected,) = denoiser.predict([query(denoiser, new_models(settings, denoiser, BOTH), frozen)])
    for pair, plain in zip(PAIRS, frozen, strict=True):
        torch.testing.assert_close(got[pair], expected[plain], rtol=1e-6, atol=1e-6)
        assert got[pair].requires_grad
        assert not expected[plain].requires_grad


def test_the_same_generator_gives_the_same_adapters(prior: Prior) -> None:
    denoiser, drawn = LORA.denoiser(prior), []
    for _ in range(2):
        drawn.append(new_models(LORA, denoiser, BOTH, seed=7).weights)
        torch.rand(1)  # the global generator must not matter
    assert all(torch.equal(drawn[0][network], drawn[1][network]) for network in BOTH)
    assert not torch.equal(drawn[0][Network.SOURCE], drawn[0][Network.TARGET])


@pytest.mark.parametrize("init", ["peft", "gaussian"])
def test_adapters_start_with_pefts_own_spread(
    prior: Prior, prior_folder: Path, init: str, tmp_path: Path
) -> None:
    settings = replace(LORA, rank=16, init=init)
    new_models(settings, settings.denoiser(prior), BOTH).save(tmp_path)
    unet = load(str(prior_folder), "cpu", "float32").unet
    torch.manual_seed(0)
    config = LoraConfig.from_pretrained(tmp_path / "source")
    assert config.init_lora_weights == ("gaussian" if init == "gaussian" else True)
    inject_adapter_in_model(config, unet)
    theirs = {n: p for n, p in unet.named_parameters() if "lora_" in n}
    ours = load_file(tmp_path / "source/adapter_model.safetensors")
    for kind in ("lora_A", "lora_B"):
        spreads = [
            torch.cat([p.detach().flatten() for n, p in sorted(weights.items()) if kind in n]).std().item()
            for weights in (theirs, ours)
        ]
        assert spreads[0] == pytest.approx(spreads[1], rel=0.1), kind
    assert len(theirs) == len(ours)


def test_gradients_are_pefts_own(prior: Prior, prior_folder: Path, tmp_path: Path) -> None:
    denoiser = LORA.denoiser(prior)
    models = perturbed(new_models(LORA, denoiser, BOTH))
    asked = query(denoiser, models)
    models.save(tmp_path)
    (eps,) = denoiser.predict([asked])
    torch.stack([each.square().mean() for each in eps.values()]).sum().backward()
    for network in BOTH:
        unet = load(str(prior_folder), "cpu", "float32").unet
        inject_adapter_in_model(LoraConfig.from_pretrained(tmp_path / network.value), unet)
        set_peft_model_state_dict(unet, load_file(tmp_path / network.value / "adapter_model.safetensors"))
        pair = TRAINING_PAIRS[network]
        out = unet(asked.noisy[pair.latents], T, asked.edit.contexts[pair.prompt].expand(2, -1, -1)).sample
        out.square().mean().backward()
        named = {n: p.grad for n, p in unet.named_parameters() if "lora_A" in n}
        theirs = torch.cat([grad for grad in named.values() if grad is not None], dim=1)
        ours = models.weights[network].grad
        assert ours is not None
        torch.testing.assert_close(ours[:, : theirs.shape[1]], theirs, rtol=1e-4, atol=1e-6)


def test_adapters_of_the_decoder_leave_the_way_down_without_gradients(prior: Prior) -> None:
    settings = replace(LORA, layers="decoder")
    denoiser = settings.denoiser(prior)
    models = perturbed(new_models(settings, denoiser, BOTH))
    seen: list[bool] = []
    prior.unet.mid_block.register_forward_hook(lambda _m, _a, out: seen.append(out.requires_grad))
    (eps,) = denoiser.predict([query(denoiser, models)])
    assert eps[PAIRS[0]].requires_grad
    assert seen == [False]


def test_detaching_gives_the_frozen_network_back(prior: Prior) -> None:
    names = list(prior.unet.state_dict())
    for _ in range(2):
        denoiser = LORA.denoiser(prior)
        assert list(prior.unet.state_dict()) == names
        denoiser.detach()
    assert not any(module._forward_hooks for module in prior.unet.modules())


@pytest.mark.parametrize("layers", ["all", "decoder"])
def test_saved_adapters_load_with_peft_alone(
    prior: Prior, prior_folder: Path, layers: str, tmp_path: Path
) -> None:
    settings = replace(LORA, layers=layers)
    denoiser = settings.denoiser(prior)
    models = perturbed(new_models(settings, denoiser, BOTH))
    asked = query(denoiser, models, [Prediction(Network.SOURCE, ORIGINAL, SOURCE)])
    with torch.no_grad():
        (expected,) = denoiser.predict([asked])
    models.save(tmp_path)
    config = json.loads((tmp_path / "source/adapter_config.json").read_text())
    assert config["r"] == 2
    if layers == "all":
        assert config["target_modules"] == sorted(config["target_modules"])  # equal runs leave equal bytes
    fresh = load(str(prior_folder), "cpu", "float32")
    fresh.unet.add_adapter(LoraConfig.from_pretrained(tmp_path / "source"), "default")
    weights = load_file(tmp_path / "source/adapter_model.safetensors")
    loaded = set_peft_model_state_dict(fresh.unet, weights)
    assert not loaded.unexpected_keys
    assert not [key for key in loaded.missing_keys if "lora_" in key]
    got = fresh.predict(
        asked.noisy[ORIGINAL], fresh.timestep(T), asked.edit.contexts[SOURCE].expand(2, -1, -1)
    )
    torch.testing.assert_close(got.detach(), *expected.values(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "backend", ["eager", pytest.param("inductor", marks=(pytest.mark.slow, pytest.mark.compiler))]
)
def test_a_call_compiles_whole_and_learns_the_same(prior: Prior, backend: str) -> None:
    """No splits, no lookups, no breaks of the graph: what a CUDA graph needs too."""
    denoiser, noise = LORA.denoiser(prior), torch.ones(2, 4, 8, 8)
    plain, compiled = (perturbed(new_models(LORA, denoiser, BOTH)) for _ in range(2))
    every = [*PAIRS, Prediction(Network.FROZEN, EDIT, TARGET)]

    def take_steps(models: LearnedModels) -> dict[Prediction, torch.Tensor]:
        for _ in range(2):
            (eps,) = denoiser.predict([query(denoiser, models)])
            learn([(models, {pair.network: each for pair, each in eps.items()}, noise)])
        with torch.no_grad():
            return denoiser.predict([query(denoiser, models, every)])[0]

    expected = take_steps(plain)
    prior.unet.compile(fullgraph=True, backend=backend)
    got = take_steps(compiled)
    for prediction in every:
        torch.testing.assert_close(got[prediction], expected[prediction], rtol=1e-3, atol=1e-4)
