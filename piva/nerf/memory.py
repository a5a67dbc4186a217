"""A rough lower estimate of the memory that editing a scene takes, before anything is allocated.

Fields and grids are counted; a step's pictures are from one measurement, a toy's render and backward pass at
512x512 on a CPU.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from piva.errors import InputError

if TYPE_CHECKING:
    import torch

COPIES = 6  # of a field's parameters in an edit: original, edit, gradient, two moments of Adam, a temporary
CELL = 48  # bytes a cell of the occupancy grid while it is refreshed
PIXEL = 4000  # bytes of a rendered pixel and its samples, for at most ONE_PIECE pixels at a time
KEPT = 200  # bytes that stay of each pixel
ONE_PIECE = 1 << 16


def estimate(*, num_parameters: int, cells: int, pictures: int, pixels: int) -> dict[str, int]:
    """Return bytes by purpose, of an edit of a scene.

    `cells` are those of all levels of the occupancy grid, `pictures` the pixels of all pictures of the scene
    together, `pixels` are rendered in one step.
    """
    return {
        "the field": 4 * COPIES * num_parameters,
        "its occupancy grid": CELL * cells,
        "the scene's pictures": 4 * pictures,
        "a step's pictures": PIXEL * min(pixels, ONE_PIECE) + KEPT * pixels,
    }


def check_fits(parts: Mapping[str, int], keys: Mapping[str, str], device: "torch.device") -> None:
    """Raise `InputError` if these bytes are more than the device has free; `keys` says which settings each
    part depends on.
    """
    needed, free = sum(parts.values()), free_bytes(device)
    if needed > free:
        largest = max(parts, key=lambda name: parts[name])
        found = f"about {needed / 1e9:.1f} GB needed, {parts[largest] / 1e9:.1f} GB of them for {largest}"
        wanted = f"at most {free / 1e9:.1f} GB, what {device} has free"
        raise InputError(keys[largest], found, wanted, "make it smaller")


def free_bytes(device: "torch.device") -> int:
    """Return the free bytes of the device; of the CPU without swapping, as far as the system says."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
