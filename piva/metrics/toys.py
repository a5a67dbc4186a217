"""Which networks measure a run: the options `toys` and `pixels`, and the files of the toys' own networks.

A network is `<name>.safetensors` beside `<name>.json`, which holds its architecture and the weights'
checksum. Settings are checked without torch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piva.errors import InputError, one_line
from piva.files import get, read_json, regular, user_path

if TYPE_CHECKING:
    from torch import Tensor

    from piva.metrics.perceptual import MetricNetworks

REMEDY = "install piva again, or train them anew: python -m piva.toys.training.metric_networks"


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """No networks: PSNR, SSIM and saturation alone."""

    def check(self) -> None:
        """Nothing can be missing."""

    def load(self, device: str) -> "MetricNetworks | None":
        return None


@dataclass(frozen=True, kw_only=True)
class Toys:
    """The toys' own CLIP, and the distance in the features of its image tower instead of LPIPS."""

    path: str  # `toys` are the networks shipped with the package

    def check(self) -> None:
        """Raise `InputError` where a file is missing or damaged."""
        if not self.folder.is_dir():
            raise InputError(
                "metrics.path",
                f"no folder {self.path!r}",
                "toys or a folder that piva.toys.training.metric_networks wrote",
            )
        check_network(self.folder, "clip")
        check_network(self.folder, "reader")
        check_tokenizer(self.folder)

    @property
    def folder(self) -> Path:
        return (
            Path(str(resources.files("piva.toys") / "metric_networks"))
            if self.path == "toys"
            else user_path(self.path, "metrics.path")
        )

    def load(self, device: str) -> "MetricNetworks | None":
        from piva.metrics import reader, toys_clip
        from piva.metrics.perceptual import MetricNetworks, PieNetworks

        network = toys_clip.load(self.folder, device)
        digits = version(check_network(self.folder, "clip"))
        names = {name: f"toys-{name}-{digits}" for name in ("clip", "lpips")}
        names["reader"] = f"toys-reader-{version(check_network(self.folder, 'reader'))}"
        pie = PieNetworks(network, network.distance)
        return MetricNetworks(network, network.distance, pie, names, reader.load(self.folder, device).agrees)


def write_network(
    folder: Path, name: str, architecture: Mapping[str, Any], state: "Mapping[str, Tensor]"
) -> None:
    """Save the floating-point part of `state` in half precision. Counters of training are left out."""
    import torch
    from safetensors.torch import save

    halves = {
        key: value.to(torch.float16).contiguous() for key, value in state.items() if value.is_floating_point()
    }
    data = save(halves)
    about = {"architecture": architecture, "sha256": hashlib.sha256(data).hexdigest()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(data)
    (folder / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n")


def check_network(folder: Path, name: str) -> dict[str, Any]:
    """Return the network's `architecture` and `sha256`. Raises `InputError` for a missing or changed file."""
    card, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    for path in (card, weights):
        if not path.is_file():
            raise InputError(path, "no such file", "a network of the toys' networks", REMEDY)
    try:
        about = read_json(card)
        get(about, "architecture", dict, card)
        wanted = get(about, "sha256", str, card)
    except InputError as error:
        raise InputError(
            card,
            "no architecture and checksum",
            "a card written by piva.toys.training.metric_networks",
            REMEDY,
        ) from error
    found = hashlib.sha256(regular(weights).read_bytes()).hexdigest()
    if found != wanted:
        raise InputError(weights, f"checksum {found[:8]}", f"{str(wanted)[:8]}, as {card.name} says", REMEDY)
    return about


def check_tokenizer(folder: Path) -> None:
    """Raises `InputError` where the CLIP's words are missing or no JSON."""
    path = folder / "tokenizer" / "tokenizer.json"
    try:
        read_json(path)
    except InputError as error:
        raise InputError(path, one_line(error), "the words of the toys' CLIP", REMEDY) from error


def read_network(folder: Path, name: str) -> "dict[str, Tensor]":
    """The checked network's weights in float32."""
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(folder / f"{name}.safetensors").items()}


def version(about: Mapping[str, Any]) -> str:
    """Eight digits that change with the weights."""
    return str(about["sha256"])[:8]
