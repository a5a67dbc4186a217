"""LoRA adapters of model=lora: they begin without effect, and leave and are saved as peft has them."""

import json
from pathlib import Path

import torch
from helpers.tiny_prior import perturb_adapters
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from piva.models.lora import Lora
from piva.priors.prior import Prior, load
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Network, Prediction

BOTH = [Network.SOURCE, Network.TARGET]
LORA = Lora(rank=2, alpha=2, lr=1e-2)


def inputs(prior: Prior, rows: int) -> tuple[torch.Tensor, int, torch.Tensor]:
    noise = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return noise, 300, prior.text("a cat").expand(rows, -1, -1)


def test_new_adapters_change_nothing(prior: Prior, generator: torch.Generator) -> None:
    before = prior.predict(*inputs(prior, 2))
    models = LORA.attach(prior, BOTH, generator)
    pair = [Prediction(Network.SOURCE, ORIGINAL, SOURCE), Prediction(Network.TARGET, EDIT, TARGET)]
    torch.testing.assert_close(models.predict(prior, pair, *inputs(prior, 2), {}), before)


def test_the_same_generator_gives_the_same_adapters(prior: Prior) -> None:
    weights = []
    for _ in range(2):
        models = LORA.attach(prior, BOTH, torch.Generator().manual_seed(7))
        torch.rand(1)  # the global generator must not matter
        weights.append(get_peft_model_state_dict(prior.unet, adapter_name="source"))
        models.detach()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any(value.abs().sum() > 0 for value in weights[0].values())


def test_detaching_gives_the_frozen_network_back(prior: Prior, generator: torch.Generator) -> None:
    names = [name for name, _ in prior.unet.named_modules()]
    for _ in range(2):  # and the next edit can attach its own
        LORA.attach(prior, BOTH, generator).detach()
        assert [name for name, _ in prior.unet.named_modules()] == names


def test_saved_adapters_load_with_peft_alone(
    prior: Prior, prior_folder: Path, generator: torch.Generator, tmp_path: Path
) -> None:
    models = LORA.attach(prior, BOTH, generator)
    perturb_adapters(prior.unet)
    with torch.no_grad():
        pair = [Prediction(Network.SOURCE, ORIGINAL, SOURCE)]
        expected = models.predict(prior, pair, *inputs(prior, 1), {})
    models.save(tmp_path)
    config = json.loads((tmp_path / "source/adapter_config.json").read_text())
    assert config["r"] == 2
    assert config["target_modules"] == sorted(config["target_modules"])  # equal runs leave equal bytes
    fresh = load(str(prior_folder), "cpu", "float32")
    fresh.unet.add_adapter(LoraConfig.from_pretrained(tmp_path / "source"), "default")
    weights = load_file(tmp_path / "source/adapter_model.safetensors")
    assert not set_peft_model_state_dict(fresh.unet, weights).unexpected_keys
    torch.testing.assert_close(fresh.predict(*inputs(prior, 1)).detach(), expected)
