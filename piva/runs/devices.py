"""Whether a device is there, without torch where the operating system already knows that it is not."""

import ctypes
import sys
from importlib.metadata import version

from piva.errors import InputError

DRIVERS = ("libcuda.so.1", "nvcuda.dll")  # what NVIDIA's driver installs, on Linux and on Windows


def check_device(device: str) -> None:
    """Raise `InputError` for a device that is not there. Imports torch only where a GPU may be."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        count = _gpus() if has_driver() else 0
        if int(index or 0) < count:
            return
        found = f"{count or 'no'} CUDA device{'s' if count > 1 else ''} on this machine"
    elif kind == "mps":
        if sys.platform == "darwin" and _has_mps():
            return
        found = "no GPU of Apple's that this torch can use"
    else:
        return
    raise InputError(f"device={device}", found, "one that exists, counted from 0", "use device=cpu")


def has_driver() -> bool:
    """Return whether NVIDIA's driver can be loaded; True for a torch that is built for AMD's."""
    if "rocm" in version("torch"):
        return True
    for name in DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()
