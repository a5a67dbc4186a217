"""What a result depends on beside its settings: the device, the versions, the commit."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from piva import __version__
from piva.errors import InputError

LIBRARIES = ("torch", "diffusers", "peft", "nerfacc", "torchmetrics", "lpips", "open_clip_torch", "timm")


def check_device(device: str) -> None:
    """Raise `InputError` for a GPU that is not there."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"device={device}", "no CUDA device on this machine", "one that exists", "use device=cpu"
        )


def provenance(device: str) -> dict[str, Any]:
    """Of summary.json: where its numbers come from."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {
        "piva": __version__,
        "commit": _commit(),
        **libraries,
        "python": sys.version.split()[0],
        "device": device,
    }


def _commit() -> str | None:
    """The checkout's commit, with a + if files differ from it; None outside a checkout."""
    try:
        words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
