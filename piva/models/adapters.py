"""LoRA adapters at work, one for each learned model, on one network or on several.

The adapters are peft's; only the forward pass is ours, so that one batch can hold rows of the frozen network and of both
adapters. (peft's `adapter_names` does the same by index lists, which on a GPU costs a host synchronisation a layer.)
"""

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import recurse_remove_peft_layers
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor

from piva.priors.prior import Prior
from piva.scores.terms import Latents, Network, Prediction

Groups = Sequence[tuple[Network, int]]  # consecutive rows of a batch and the network that predicts them
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


def adapt(
    hosts: Mapping[str, Any],
    rank: int,
    alpha: float,
    lr: float,
    networks: Collection[Network],
    generator: torch.Generator,
) -> "Adapters":
    """Add one zero-effect adapter for each of `networks` to each host; `generator` draws their initial weights.

    `hosts` are networks of diffusers by the folder, below that of an adapter, which their part of it is saved in.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # two adapters are what we want
        for host in hosts.values():
            for network in networks:
                inject_adapter_in_model(config, host, network.value)
    layers = [module for host in hosts.values() for module in host.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        for network in networks:
            a, b = layer.lora_A[network.value].float(), layer.lora_B[network.value].float()
            torch.nn.init.kaiming_uniform_(
                a.weight, a=5**0.5, generator=generator
            )  # as peft does, but seeded
            torch.nn.init.zeros_(b.weight)
            a.requires_grad_(True), b.requires_grad_(True)
    return Adapters(hosts, layers, [network.value for network in networks], lr)


class Adapters:
    """Which rows they predict, their one optimiser, their files. By themselves they are the `LearnedModels` of model=lora."""

    needs_depth = False

    def __init__(
        self, hosts: Mapping[str, Any], layers: Sequence[Any], names: Sequence[str], lr: float
    ) -> None:
        self._hosts, self._names = hosts, names
        self._groups: Groups = ()
        for layer in layers:
            layer.forward = partial(_grouped_forward, layer, lambda: self._groups)
        parameters = [p for layer in layers for p in layer.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(
            parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )

    @contextmanager
    def rows(self, groups: Groups) -> Iterator[None]:
        """Within, each call of a host has batches made of these groups, in this order."""
        self._groups = groups
        try:
            yield
        finally:
            self._groups = ()

    def predict(
        self,
        prior: Prior,
        predictions: Sequence[Prediction],
        noisy: Tensor,
        t: int,
        context: Tensor,
        depth: Mapping[Latents, Tensor],
    ) -> Tensor:
        """As in `LearnedModels`; depth is not looked at."""
        with self.rows(groups(predictions, len(noisy))):
            return prior.predict(noisy, t, context)

    def learn(self, loss: Tensor) -> None:
        """One optimiser step down the diffusion loss (Eq. 7 and 8 together; the adapters share no weight)."""
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    def save(self, folder: Path) -> None:
        """Write each adapter as peft does: `<name>/<host>/adapter_model.safetensors` and `adapter_config.json`."""
        for name in self._names:
            for part, host in self._hosts.items():
                place = folder / name / part
                place.mkdir(parents=True, exist_ok=True)
                weights = {
                    key: value.contiguous()
                    for key, value in get_peft_model_state_dict(host, adapter_name=name).items()
                }
                save_file(weights, place / "adapter_model.safetensors")
                config: dict[str, Any] = {
                    key: _plain(value) for key, value in host.peft_config[name].to_dict().items()
                }
                (place / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))

    def checkpoint(self) -> dict[str, Any]:
        """Their weights and their optimiser, between two steps."""
        return {
            "weights": [weight.detach() for weight in self._weights],
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `checkpoint` gave, in adapters attached with the same settings."""
        with torch.no_grad():
            for weight, kept in zip(self._weights, saved["weights"], strict=True):
                weight.copy_(kept)
        self._optimiser.load_state_dict(saved["optimiser"])

    @property
    def _weights(self) -> list[Tensor]:
        return [weight for group in self._optimiser.param_groups for weight in group["params"]]

    def detach(self) -> None:
        """Give the hosts back as they were."""
        for host in self._hosts.values():
            recurse_remove_peft_layers(host)
            del host.peft_config


def groups(predictions: Sequence[Prediction], rows: int) -> Groups:
    """Of a batch of `rows` rows, as many for each of `predictions`: which network predicts how many in a row."""
    each = rows // len(predictions)
    runs = groupby(prediction.network for prediction in predictions)
    return [(network, each * len(list(run))) for network, run in runs]


def _grouped_forward(
    layer: Any, groups: Callable[[], Groups], x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """The frozen layer for all rows, plus each adapter's low-rank term on its own rows."""
    base: Tensor = layer.base_layer(x, *args, **kwargs)
    if all(network is Network.FROZEN for network, _ in groups()):
        return base
    counts = [count for _, count in groups()]
    out = []
    for (network, _), rows, of_base in zip(groups(), x.split(counts), base.split(counts), strict=True):
        if network is Network.FROZEN:
            out.append(of_base)
        else:
            a, b = layer.lora_A[network.value], layer.lora_B[network.value]
            low_rank = b(a(rows.to(a.weight.dtype))) * layer.scaling[network.value]
            out.append(of_base + low_rank.to(of_base.dtype))
    return torch.cat(out)


def _plain(value: Any) -> Any:
    """Peft's config as JSON holds it."""
    if isinstance(value, set):
        return sorted(value)
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
