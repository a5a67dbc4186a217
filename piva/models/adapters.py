"""LoRA adapters, one for each learned model, on one network or on several.

The adapters and their files are peft's; only the forward pass is ours, so that one batch can hold rows of the
frozen network and of both adapters. (peft's `adapter_names` finds its rows by index lists, which on a GPU
costs a host synchronisation a layer.)
"""

import copy
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

from piva.scores.terms import Network, Prediction

Groups = Sequence[tuple[Network, int]]  # consecutive rows of a batch and the network that predicts them
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


class Adapters:
    """One zero-effect adapter for each of `networks` on each host.

    `hosts` are networks of diffusers, by the subfolder in which their part of an adapter is saved.
    """

    def __init__(
        self,
        hosts: Mapping[str, Any],
        rank: int,
        alpha: float,
        networks: Collection[Network],
        generator: torch.Generator,
    ) -> None:
        """Draw the initial weights from `generator`, as peft draws them from the global one."""
        self._hosts, self._names = hosts, [network.value for network in networks]
        self._groups: Groups = ()
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # there are two adapters
            for host in hosts.values():
                for name in self._names:
                    inject_adapter_in_model(config, host, name)
        layers = [m for host in hosts.values() for m in host.modules() if isinstance(m, LoraLayer)]
        for layer in layers:
            for name in self._names:
                a, b = layer.lora_A[name].float(), layer.lora_B[name].float()
                torch.nn.init.kaiming_uniform_(a.weight, a=5**0.5, generator=generator)
                torch.nn.init.zeros_(b.weight)
                a.requires_grad_(True), b.requires_grad_(True)
            layer.forward = partial(_grouped_forward, layer, lambda: self._groups)
        self.weights = [p for layer in layers for p in layer.parameters() if p.requires_grad]

    @contextmanager
    def rows(self, groups: Groups) -> Iterator[None]:
        """Within, each call of a host has batches made of these groups, in this order."""
        self._groups = groups
        try:
            yield
        finally:
            self._groups = ()

    def save(self, folder: Path) -> None:
        """Write peft's `adapter_model.safetensors` and `adapter_config.json` to `<name>/<host>/`."""
        for name in self._names:
            for part, host in self._hosts.items():
                config = copy.copy(host.peft_config[name])
                config.target_modules = sorted(config.target_modules)  # a set, which peft writes in any order
                config.save_pretrained(folder / name / part)
                weights = get_peft_model_state_dict(host, adapter_name=name)
                path = folder / name / part / "adapter_model.safetensors"
                save_file({key: weight.contiguous() for key, weight in weights.items()}, path)

    def detach(self) -> None:
        """Remove the adapters from their hosts."""
        for host in self._hosts.values():
            recurse_remove_peft_layers(host)
            del host.peft_config


def groups(predictions: Sequence[Prediction], rows: int) -> Groups:
    """Return which network predicts how many consecutive rows, if each prediction has as many of them."""
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
