"""Run-length coded masks as PIE-Bench has them: start, length, start, length, ... over the rows one after the other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def decode(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """(height, width), true in the runs; a run past the end is cut. Raises `ValueError` for odd or negative numbers."""
    pairs = np.asarray(runs, np.int64)
    if pairs.ndim != 1 or pairs.size % 2 or (pairs < 0).any():
        raise ValueError("runs must be pairs of start and length, none of them negative")
    starts, ends = np.minimum((pairs[::2], pairs[::2] + pairs[1::2]), height * width)
    steps = np.zeros(height * width + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return (np.cumsum(steps[:-1]) > 0).reshape(height, width)


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """The runs of true pixels, shortest form: `decode(encode(mask), *mask.shape)` is `mask`."""
    padded = np.concatenate([[False], mask.ravel(), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded)).reshape(-1, 2)
    return [int(number) for start, end in edges for number in (start, end - start)]
