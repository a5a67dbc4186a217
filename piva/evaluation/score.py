"""Read pairs of pictures and measure them, many at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from piva.evaluation.pairs import Pair
from piva.images import read_rgb
from piva.metrics.comparison import Comparison
from piva.metrics.measure import measure_all
from piva.metrics.perceptual import MetricNetworks
from piva.runs.run import TEXTS
from piva.tasks.image import read_truth

TOGETHER = 16  # edits of one picture measured at once


def score(pairs: Sequence[Pair], networks: MetricNetworks | None, device: str) -> list[dict[str, Any]]:
    """Return a row of metrics.csv for each pair, in their order."""
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(pairs), desc="measuring", unit="edit", disable=None) as bar:
        for alike in _alike(pairs):
            edits = [pair.edit for pair in alike]
            values = measure_all([_open(pair, device) for pair in alike], edits, networks)
            for edit, row in zip(edits, values, strict=True):
                rows.append({key: getattr(edit, key) for key in TEXTS} | row)
            bar.update(len(alike))
    return rows


def _alike(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Yield neighbours that can be measured at once."""
    kept: list[Pair] = []
    for pair in pairs:
        if kept and (len(kept) == TOGETHER or _kind(pair) != _kind(kept[0])):
            yield kept
            kept = []
        kept.append(pair)
    if kept:
        yield kept


def _kind(pair: Pair) -> tuple[object, ...]:
    return (pair.size, len(pair.before), pair.edit.mask is None, pair.edit.truth is None)


def _open(pair: Pair, device: str) -> Comparison:
    sides = (pair.before, pair.after)
    before, after = (torch.stack([_picture(p, pair.size) for p in side]).to(device) for side in sides)
    truth, mask = read_truth(pair.edit, before)
    known: dict[str, Any] = {"truth": truth, "truth_before": before, "truth_after": after}
    return Comparison(before=before, after=after, truth_mask=mask, **(known if truth is not None else {}))


def _picture(path: Path, size: tuple[int, int]) -> Tensor:
    """Return (3, h, w) in [0, 1]; of a strip of pictures the last, as PnPInversion's evaluation takes it."""
    width, height = size
    return torch.from_numpy(read_rgb(path)[-height:, -width:].copy()).permute(2, 0, 1)
