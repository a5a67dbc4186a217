"""LoRA adapters as rows of one batch: each row of a call has its own low-rank term, in one batched product.

peft's adapters are modules of a network, one in force at a time. Here an adapter is one matrix beside the
network, and a call is given one for each of its rows, zeros for the frozen network: shapes are fixed, nothing
is split or looked up, so a call compiles whole and can be captured in a CUDA graph. The files are peft's.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, no_type_check

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Linear, Parameter

from piva.scores.terms import Network

TARGETS = ("to_k", "to_out.0", "to_q", "to_v")  # query, key, value and output projections of every attention
DECODER = r"(.*\.)?up_blocks\..*\.(to_k|to_out\.0|to_q|to_v)"  # peft reads a text as a pattern of whole names

Weights = dict[Network, Parameter]  # of one edit: a matrix (rank, width) each, see `LowRank`


class LowRank:
    """The adapted layers of some networks: y = W x + (alpha / rank) B A x, with A and B of each row's own.

    An adapter is one matrix (rank, width): the A (rank, in) of every layer side by side, then every B
    transposed (rank, out). So a batch of them is one stack, and its optimiser has one tensor.
    """

    def __init__(
        self, hosts: Mapping[str, Any], rank: int, alpha: float, init: str, decoder_only: bool
    ) -> None:
        """Find the layers of `hosts`: networks of diffusers, by the subfolder of their adapters' files.

        Args:
            init: how A is drawn; `peft`, uniform within 1/sqrt(in), peft's default; `gaussian`, with a
                standard deviation of 1/rank, peft's init_lora_weights="gaussian" and threestudio's. B starts
                at zero.
            decoder_only: adapt the layers of the way up only, so that a backward pass ends at the middle.
        """
        targets = DECODER if decoder_only else list(TARGETS)
        theirs = init if init == "gaussian" else True  # peft's name of its default
        self._config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights=theirs)
        self._rank, self._scale = rank, alpha / rank
        self._layers: list[tuple[str, str, Linear]] = []  # host, name
        self.hosts = tuple(hosts)
        self._handles = []
        for host, network in hosts.items():
            for name, layer in network.named_modules():
                inside = "up_blocks." in name or not decoder_only
                if inside and any(name.endswith(f".{target}") for target in TARGETS):
                    vars(layer)["low_rank"] = None  # A (rows, rank, in) and B (rows, rank, out) in force
                    self._handles.append(layer.register_forward_hook(partial(_add, self._scale)))
                    self._layers.append((host, name, layer))
        self._widths = [layer.in_features for *_, layer in self._layers]
        self._widths += [layer.out_features for *_, layer in self._layers]
        first = self._layers[0][2].weight
        self.device, self.dtype = first.device, first.dtype  # of the networks; adapters are float32
        self._zeros = torch.zeros((rank, sum(self._widths)), device=self.device)

    def draw(self, networks: Collection[Network], generator: torch.Generator) -> Weights:
        """Return new adapters without effect, float32, whose A's `generator` draws."""
        weights = {network: torch.zeros_like(self._zeros) for network in networks}
        parts = [matrix.split(self._widths, dim=1) for matrix in weights.values()]
        for i, width in enumerate(self._widths[: len(self._layers)]):
            for part in parts:
                if self._config.init_lora_weights == "gaussian":
                    part[i].normal_(std=1 / self._rank, generator=generator)
                else:
                    part[i].uniform_(-(width**-0.5), width**-0.5, generator=generator)
        return {network: Parameter(matrix) for network, matrix in weights.items()}

    def select(self, host: str, rows: Sequence[Tensor | None]) -> None:
        """Give the next calls of `host` one adapter for each row of their batch; None is the frozen network.

        They stay in force until the next selection: a checkpointed network reads them in its backward pass.
        """
        parts: Sequence[Tensor] = ()
        if any(row is not None for row in rows):
            stacked = torch.stack([self._zeros if row is None else row for row in rows]).to(self.dtype)
            parts = stacked.split(self._widths, dim=2)
        for i, (of, _, layer) in enumerate(self._layers):
            if of == host:
                here = (parts[i], parts[len(self._layers) + i]) if parts else None
                vars(layer)["low_rank"] = here  # modules check what is set on them, which takes longer

    def save(self, weights: Weights, folder: Path) -> None:
        """Write peft's `adapter_model.safetensors` and `adapter_config.json` to `<network>/<host>/`."""
        config = copy.copy(self._config)
        if isinstance(config.target_modules, set):  # which peft would write in any order
            config.target_modules = sorted(config.target_modules)
        for network, matrix in weights.items():
            parts = matrix.detach().split(self._widths, dim=1)
            tensors: dict[str, dict[str, Tensor]] = {host: {} for host in self.hosts}
            for i, (host, name, _) in enumerate(self._layers):
                prefix = f"base_model.model.{name}"
                tensors[host][f"{prefix}.lora_A.weight"] = parts[i].contiguous()
                tensors[host][f"{prefix}.lora_B.weight"] = parts[len(self._layers) + i].T.contiguous()
            for host, of_host in tensors.items():
                config.save_pretrained(folder / network.value / host)
                save_file(of_host, folder / network.value / host / "adapter_model.safetensors")

    def detach(self) -> None:
        """Give the networks back as they were."""
        for handle, (*_, layer) in zip(self._handles, self._layers, strict=True):
            handle.remove()
            del vars(layer)["low_rank"]


@no_type_check  # or what checks shapes in tests would break the compiled graph
def _add(scale: float, layer: Linear, args: tuple[Tensor], output: Tensor) -> Tensor | None:
    """Add each row's low-rank term to what a layer gives (b, n, out); a forward hook.

    It reads the adapter off the layer: layers of one shape can share a compiled graph.
    """
    if layer.low_rank is None:
        return None
    a, b = layer.low_rank
    return torch.baddbmm(output, torch.bmm(args[0], a.mT), b, alpha=scale)
