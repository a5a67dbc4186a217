import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict

from piva.models.lora import Lora
from piva.priors.prior import Prior, load
from piva.scores.terms import Network

BOTH = [Network.SOURCE, Network.TARGET]
LORA = Lora(rank=2, alpha=2, lr=1e-2)


def inputs(prior: Prior, rows: int) -> tuple[torch.Tensor, int, torch.Tensor]:
    noise = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return noise, 300, prior.text("a cat").expand(rows, -1, -1)


def test_new_adapters_change_nothing(prior: Prior, generator: torch.Generator) -> None:
    before = prior.predict(*inputs(prior, 2))
    adapters = LORA.attach(prior, BOTH, generator)
    with adapters.rows([(Network.SOURCE, 1), (Network.TARGET, 1)]):
        torch.testing.assert_close(prior.predict(*inputs(prior, 2)), before)


def test_learning_one_model_leaves_the_other_and_the_frozen_one(
    prior: Prior, generator: torch.Generator
) -> None:
    adapters = LORA.attach(prior, BOTH, generator)
    groups = [(Network.FROZEN, 1), (Network.SOURCE, 1), (Network.TARGET, 1)]
    x, t, context = inputs(prior, 1)
    same = (x.expand(3, -1, -1, -1), t, context.expand(3, -1, -1))

    def predictions() -> tuple[torch.Tensor, ...]:
        with adapters.rows(groups), torch.no_grad():
            return prior.predict(*same).split(1)

    before = predictions()
    for _ in range(3):  # the first step moves only the output matrices
        with adapters.rows([(Network.TARGET, 1)]):
            adapters.learn((prior.predict(x, t, context) - torch.ones_like(x)).square().mean())
    frozen, source, target = ((a - b).abs().max().item() for a, b in zip(before, predictions(), strict=True))
    assert frozen == 0
    assert source == 0
    assert target > 1e-4


def test_the_same_generator_gives_the_same_adapters(prior_folder: Path) -> None:
    weights = []
    for _ in range(2):
        prior = load(str(prior_folder), "cpu", "float32")
        LORA.attach(prior, BOTH, torch.Generator().manual_seed(7))
        torch.rand(1)  # the global generator must not matter
        weights.append(get_peft_model_state_dict(prior.unet, adapter_name="source"))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any(value.abs().sum() > 0 for value in weights[0].values())


def test_detaching_gives_the_frozen_network_back(prior: Prior, generator: torch.Generator) -> None:
    names = [name for name, _ in prior.unet.named_modules()]
    LORA.attach(prior, BOTH, generator).detach()
    assert [name for name, _ in prior.unet.named_modules()] == names
    LORA.attach(prior, BOTH, generator).detach()  # and the next edit can attach its own


def test_saved_adapters_load_with_peft_alone(
    prior: Prior, prior_folder: Path, generator: torch.Generator, tmp_path: Path
) -> None:
    adapters = LORA.attach(prior, BOTH, generator)
    x, t, context = inputs(prior, 1)
    for _ in range(3):
        with adapters.rows([(Network.SOURCE, 1)]):
            adapters.learn((prior.predict(x, t, context) - 1).square().mean())
    with adapters.rows([(Network.SOURCE, 1)]):
        expected = prior.predict(x, t, context).detach()
    adapters.save(tmp_path)

    config = json.loads((tmp_path / "source/adapter_config.json").read_text())
    fresh = load(str(prior_folder), "cpu", "float32")
    fresh.unet.add_adapter(LoraConfig.from_pretrained(tmp_path / "source"), "default")
    from safetensors.torch import load_file

    outcome = set_peft_model_state_dict(fresh.unet, load_file(tmp_path / "source/adapter_model.safetensors"))
    assert not outcome.unexpected_keys
    assert config["r"] == 2
    torch.testing.assert_close(fresh.predict(x, t, context).detach(), expected)
