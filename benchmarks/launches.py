"""Kernel launches of a step, counted on a CPU: `python -m benchmarks.launches`.

A U-Net with Stable Diffusion 2.1's layers, a tenth as wide, takes a step; every operator that torch
dispatches and that computes something, views and allocations apart, is counted as one launch. On a GPU some
operators take more than one kernel (group normalisation, fused attention's backward pass): `benchmarks.gpu`
counts those.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.sd_size import NARROW, opened, write_photos, write_random
from piva.optimise import take_step

SCORES: Sequence[tuple[str, ...]] = [
    ("score=dds", "reference=edit"),
    ("score=piva", "reference=edit"),
    ("score=piva", "reference=edit", "model.layers=decoder"),
]
FREE = {"detach", "alias", "empty", "empty_like", "empty_strided", "new_empty", "_unsafe_view", "lift_fresh"}


class Launches(TorchDispatchMode):
    """Counts the operators that would launch a kernel, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and name not in FREE:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def count(prior: Path, photos: Path, *overrides: str) -> Counter[str]:
    """Return the launches of a picture's second step: the first makes what later ones keep."""
    common = ("task=image", "dataset=noe", f"dataset.root={photos}", f"prior.path={prior}", "metrics=pixels")
    with opened(*common, "resolution=64", "edits=all", *overrides) as run:
        take_step(run.works, run.method, 3)
        with Launches() as launches:
            take_step(run.works, run.method, 3)
    return launches.counts


def main() -> None:
    """Print a table: a row a score and number of edits."""
    print("| step | edits | launches | the most frequent |\n|---|---|---|---|")
    with TemporaryDirectory() as folder:
        prior = write_random(Path(folder) / "sd", NARROW)
        for edits in (1, 8):
            photos = write_photos(Path(folder) / f"photos{edits}", edits, 64)
            for words in SCORES:
                counts = count(prior, photos, *words)
                most = ", ".join(f"{name} {n}" for name, n in counts.most_common(6))
                print(f"| {' '.join(words)} | {edits} | {counts.total()} | {most} |", flush=True)


if __name__ == "__main__":
    main()
