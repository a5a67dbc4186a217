"""What a result depends on beside its settings: the device, the versions, the commit; and a GPU's memory."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from piva import __version__

LIBRARIES = ("torch", "diffusers", "peft", "nerfacc", "torchmetrics", "lpips", "open_clip_torch", "timm")
DRIVER = Path("/proc/driver/nvidia/version")  # of Linux


def provenance(device: str) -> dict[str, Any]:
    """Return where numbers come from. The commit ends in + if files differ from it, None without one.

    `gpu`, `cuda` (the version that torch was built for) and `driver` are None on another device.
    """
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        commit = None
    libraries = {name: version(name) for name in LIBRARIES}
    python = sys.version.split()[0]
    on_cuda = device.startswith("cuda")
    gpu = {
        "gpu": torch.cuda.get_device_name(device) if on_cuda else None,
        "cuda": torch.version.cuda if on_cuda else None,
        "driver": nvidia_driver(DRIVER) if on_cuda else None,
    }
    return {"piva": __version__, "commit": commit, **libraries, "python": python, "device": device, **gpu}


def nvidia_driver(path: Path) -> str | None:
    """Return the version in the kernel module's own words, None where it has none."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", path.read_text())
    except OSError:
        return None
    return found[0] if found else None


def forget_peak(device: str) -> None:
    """Begin to measure what `peak_gpu_gb` returns."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_gpu_gb(device: str) -> float | None:
    """Return the most memory that tensors took at once on this GPU, in GB; None on another device."""
    return round(torch.cuda.max_memory_allocated(device) / 1e9, 2) if device.startswith("cuda") else None
