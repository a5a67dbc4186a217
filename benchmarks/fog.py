"""How much of what was empty an edit fills: `python -m benchmarks.fog RUN [RUN ...]`, runs of voxels.

A node has risen if the original lets all light through its cell (opacity below VISIBLE) and the edit does
not. Of an edit that changes no shape each is fog; of another, part of them are what was asked for. Half: so
many let between a tenth and nine tenths of the light through, which nothing solid does.
"""

import sys
from pathlib import Path

import torch

from piva.export.edits import find
from piva.export.stored import Stored, read_edit
from piva.nerf.voxels import Voxels

VISIBLE = 1 / 255  # the least opacity that a picture of 8 bits can show


def opacity(stored: Stored) -> torch.Tensor:
    """Return the part of the light (r, r, r) that a cell at each node keeps, straight along an axis."""
    field = stored.fitted.field
    if not isinstance(field, Voxels):
        sys.exit(f"piva: found a field of {type(field).__name__}, wanted voxels, which have nodes")
    density = field.node_density()
    return 1 - torch.exp(-density * 2 * field.radius / (density.shape[0] - 1))


def risen(edit: Stored, original: Stored) -> tuple[float, float]:
    """Return the parts of all nodes that have risen, and that have risen half."""
    before, after = opacity(original), opacity(edit)
    up = (before < VISIBLE) & (after >= VISIBLE)
    half = up & (after > 0.1) & (after < 0.9)
    return float(up.double().mean()), float(half.double().mean())


def main(*argv: str) -> None:
    for run in argv:
        for scene in find(Path(run)):
            edit, original = read_edit(scene, "cpu")
            if original is None:
                sys.exit(f"piva: {scene.state}: found no original's field, wanted one to compare with")
            up, half = risen(edit, original)
            print(f"{run} {scene.id}: risen {up:.3%}, half {half:.3%} of the nodes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
