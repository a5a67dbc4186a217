"""Where the rows of a hash grid lie: tiny-cuda-nn's layout, number for number, so that its parameters can be
read and written.

All levels lie one behind the other in one flat vector of float32, each as (rows, features). Level l has nodes
at spacing 1 / scale; its nodes have a row each as long as they fit into 2^log2_rows rows, and share rows by a
spatial hash beyond.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

PRIMES = (1, 2654435761, 805459861)  # of the spatial hash, one an axis: xor of index * prime in 32 bits


class Level(NamedTuple):
    """One level of a grid."""

    scale: float  # a point x of the unit cube lies at x * scale + 0.5, in cells
    resolution: int  # nodes along a side, of a level without a hash
    rows: int
    offset: int  # rows before it
    hashed: bool


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The five numbers that decide a grid, under tiny-cuda-nn's names: n_levels, n_features_per_level,
    log2_hashmap_size, base_resolution, per_level_scale.
    """

    levels: int
    features: int
    log2_rows: int
    base: int
    growth: float

    @cached_property
    def table(self) -> tuple[Level, ...]:
        """Return all levels, coarse to fine. Scales are float32 as there: rounding decides a level's
        resolution.
        """
        made: list[Level] = []
        offset = 0
        for index in range(self.levels):
            step = np.float32(index) * np.log2(np.float32(self.growth))
            scale = np.exp2(step) * np.float32(self.base) - np.float32(1)
            resolution = int(np.ceil(scale)) + 1
            nodes = resolution**3
            rows = min((nodes + 7) // 8 * 8, 2**self.log2_rows)
            made.append(Level(float(scale), resolution, rows, offset, nodes > rows))
            offset += rows
        return tuple(made)

    @property
    def size(self) -> int:
        """Return the number of parameters."""
        last = self.table[-1]
        return (last.offset + last.rows) * self.features

    @property
    def width(self) -> int:
        """Return the number of features of a point; those of the coarsest level come first."""
        return self.levels * self.features
