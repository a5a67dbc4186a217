"""A texture for a mesh without one: every triangle has a patch of its own, two of them in a tile, the tiles in rows.

A patch of `n` texels a side has its triangle's corners at the texels (0, 0), (n - 1, 0) and (0, n - 1), and one more diagonal of
texels beyond the long side, which bilinear sampling reaches. Two such patches, one turned about, fill a tile of n + 2 by n + 1.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Layout(NamedTuple):
    """Where the patches of m triangles lie."""

    weights: NDArray[
        np.float32
    ]  # (t, 3): of a triangle's corners at each texel of a patch; negative beyond the long side
    columns: NDArray[np.int64]  # (m, t): where those texels are in the texture
    rows: NDArray[np.int64]
    size: tuple[int, int]  # (h, w) of the texture
    uv: NDArray[np.float32]  # (m, 3, 2): of the corners, v down


def layout(triangles: int, n: int) -> Layout:
    """The texture of so many triangles, about square; `n` >= 2."""
    i, j = (index.ravel() for index in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    i, j = i[i + j <= n], j[i + j <= n]
    weights = np.stack([n - 1 - i - j, i, j], axis=1) / (n - 1)
    width, height = n + 2, n + 1  # of a tile
    tiles = (triangles + 1) // 2
    across = max(1, round(np.sqrt(tiles * height / width)))
    tile = np.arange(triangles) // 2
    left, top = (tile % across * width)[:, None], (tile // across * height)[:, None]
    turned = (np.arange(triangles) % 2 == 1)[:, None]

    def place(x: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return left + np.where(turned, width - 1 - x, x), top + np.where(turned, height - 1 - y, y)

    columns, rows = place(i, j)
    size = (-(-tiles // across) * height, across * width)
    corners = np.stack(place(np.array([0, n - 1, 0]), np.array([0, 0, n - 1])), axis=-1) + 0.5
    return Layout(weights.astype(np.float32), columns, rows, size, (corners / size[::-1]).astype(np.float32))
