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
        found = "no CUDA device on this machine"
        raise InputError(f"device={device}", found, "one that exists", "use device=cpu")


def provenance(device: str) -> dict[str, Any]:
    """Return where numbers come from. The commit ends in + if files differ from it, None without one."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        commit = None
    libraries = {name: version(name) for name in LIBRARIES}
    python = sys.version.split()[0]
    return {"piva": __version__, "commit": commit, **libraries, "python": python, "device": device}
