"""A small network on disk: `<name>.safetensors` beside `<name>.json`, which holds its architecture and the weights' checksum.

Imports no torch before it must: a run checks its files first.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from piva.errors import InputError, one_line

if TYPE_CHECKING:
    from torch import Tensor

REMEDY = "install piva again, or train them anew: python -m piva.toys.training.metric_networks"


def write(folder: Path, name: str, architecture: Mapping[str, Any], state: "Mapping[str, Tensor]") -> None:
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


def check(folder: Path, name: str) -> dict[str, Any]:
    """The network's `architecture` and `sha256`. Raises `InputError` where a file is missing or is not what was written."""
    card, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    for path in (card, weights):
        if not path.is_file():
            raise InputError(path, "no such file", "a network of the toys' judges", REMEDY)
    try:
        about = json.loads(card.read_text())
        wanted = about["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            card,
            "no architecture and checksum",
            "a card written by piva.toys.training.metric_networks",
            REMEDY,
        ) from error
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != wanted:
        raise InputError(weights, f"checksum {found[:8]}", f"{str(wanted)[:8]}, as {card.name} says", REMEDY)
    return cast(dict[str, Any], about)


def check_tokenizer(folder: Path) -> None:
    """Raises `InputError` where the CLIP's words are missing or no JSON."""
    path = folder / "tokenizer" / "tokenizer.json"
    try:
        json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, one_line(error), "the words of the toys' CLIP", REMEDY) from error


def read(folder: Path, name: str) -> "dict[str, Tensor]":
    """The checked network's weights in float32."""
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(folder / f"{name}.safetensors").items()}


def version(about: Mapping[str, Any]) -> str:
    """Eight digits that change with the weights."""
    return str(about["sha256"])[:8]
