"""The two learned models as LoRA adapters on the prior's own U-Net: `source` (eps_psi) and `target` (eps_phi).

The adapters are peft's; only the forward pass is ours, so that one batch can hold rows of the frozen network and of both
adapters. (peft's `adapter_names` does the same by index lists, which on a GPU costs a host synchronisation a layer.)
"""

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piva.scores.terms import Network
from piva.settings import above, at_least

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.priors.prior import Prior

Groups = Sequence[tuple[Network, int]]  # consecutive rows of a batch and the network that predicts them


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters on the query, key, value and output projections of every attention layer."""

    rank: int = at_least(1)
    alpha: float = above(0)  # the adapter's output is scaled by alpha / rank
    lr: float = above(0)

    def attach(self, prior: "Prior", networks: Collection[Network], generator: "torch.Generator") -> "Adapters":
        """Add one zero-effect adapter for each learned network; `generator` draws their initial weights."""
        import torch
        from peft import LoraConfig
        from peft.tuners.lora import LoraLayer

        unet = prior.unet
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # two adapters are what we want
            for network in networks:
                unet.add_adapter(config, network.value)
        layers = [module for module in unet.modules() if isinstance(module, LoraLayer)]
        for layer in layers:
            for network in networks:
                a, b = layer.lora_A[network.value].float(), layer.lora_B[network.value].float()
                torch.nn.init.kaiming_uniform_(a.weight, a=5**0.5, generator=generator)  # as peft does, but seeded
                torch.nn.init.zeros_(b.weight)
                a.requires_grad_(True), b.requires_grad_(True)
        return Adapters(unet, layers, [network.value for network in networks], self.lr)


class Adapters:
    """Adapters at work: which rows they predict, their one optimiser, their files."""

    def __init__(self, unet: Any, layers: Sequence[Any], names: Sequence[str], lr: float) -> None:
        import torch

        self._unet, self._names = unet, names
        self._groups: Groups = ()
        for layer in layers:
            layer.forward = partial(_grouped_forward, layer, lambda: self._groups)
        parameters = [p for layer in layers for p in layer.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    @contextmanager
    def rows(self, groups: Groups) -> Iterator[None]:
        """Within, each call of the U-Net has batches made of these groups, in this order."""
        self._groups = groups
        try:
            yield
        finally:
            self._groups = ()

    def learn(self, loss: "Tensor") -> None:
        """One optimiser step down the diffusion loss (Eq. 7 and 8 together; the adapters share no weight)."""
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    def save(self, folder: Path) -> None:
        """Write each adapter as peft does: `<name>/adapter_model.safetensors` and `<name>/adapter_config.json`."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        for name in self._names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            weights = {key: value.contiguous() for key, value in get_peft_model_state_dict(self._unet, adapter_name=name).items()}
            save_file(weights, folder / name / "adapter_model.safetensors")
            config: dict[str, Any] = {key: _plain(value) for key, value in self._unet.peft_config[name].to_dict().items()}
            (folder / name / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))

    def checkpoint(self) -> dict[str, Any]:
        """Their weights and their optimiser, between two steps."""
        return {"weights": [weight.detach() for weight in self._weights], "optimiser": self._optimiser.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `checkpoint` gave, in adapters attached with the same settings."""
        import torch

        with torch.no_grad():
            for weight, kept in zip(self._weights, saved["weights"], strict=True):
                weight.copy_(kept)
        self._optimiser.load_state_dict(saved["optimiser"])

    @property
    def _weights(self) -> "list[Tensor]":
        return [weight for group in self._optimiser.param_groups for weight in group["params"]]

    def detach(self) -> None:
        """Give the U-Net back as it was."""
        self._unet.unload_lora()


def _grouped_forward(layer: Any, groups: Callable[[], Groups], x: "Tensor", *args: Any, **kwargs: Any) -> "Tensor":
    """The frozen layer for all rows, plus each adapter's low-rank term on its own rows."""
    import torch

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
