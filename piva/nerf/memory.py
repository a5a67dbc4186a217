"""How much memory a scene takes, estimated before anything is made of it: rough, and on the low side.

Fields and grids are counted; a step's pictures are from one measurement, a toy's render and backward pass at 512x512 on a CPU.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from piva.errors import InputError

if TYPE_CHECKING:
    import torch

COPIES = 6  # of a field's numbers in an edit: original, edit, gradient, two moments of Adam, one in passing
CELL = 48  # bytes a cell of the occupancy grid while it is refreshed
PIXEL = 4000  # bytes a rendered pixel and its samples; of more than ONE_PIECE only what is kept of them
KEPT = 200
ONE_PIECE = 1 << 16


def estimate(*, numbers: int, cells: int, pictures: int, pixels: int) -> dict[str, int]:
    """Bytes by what they are for, of an edit of a scene.

    Args:
        numbers: parameters of the field.
        cells: of the occupancy grid, all levels.
        pictures: pixels of all pictures of the scene together.
        pixels: rendered in one step.
    """
    return {
        "the field": 4 * COPIES * numbers,
        "its occupancy grid": CELL * cells,
        "the scene's pictures": 4 * pictures,
        "a step's pictures": PIXEL * min(pixels, ONE_PIECE) + KEPT * pixels,
    }


def check_fits(parts: Mapping[str, int], keys: Mapping[str, str], device: "torch.device") -> None:
    """Raise `InputError` if these bytes are more than the device has free; `keys` says which settings each part depends on."""
    needed, free = sum(parts.values()), _free(device)
    if needed > free:
        largest = max(parts, key=lambda name: parts[name])
        found = f"about {needed / 1e9:.1f} GB needed, {parts[largest] / 1e9:.1f} GB of them for {largest}"
        raise InputError(
            keys[largest], found, f"at most {free / 1e9:.1f} GB, what {device} has free", "make it smaller"
        )


def _free(device: "torch.device") -> int:
    """Bytes that can still be had on the device; for the CPU without swapping, as far as the system says."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
