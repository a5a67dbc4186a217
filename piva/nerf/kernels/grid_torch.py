"""The hash grid's encoding in plain torch, for every device and precision: the reference implementation of
the others.
"""

from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from piva.nerf.kernels.layout import PRIMES, Layout, Level


def encode(
    params: Float[Tensor, "size"], x: Float[Tensor, "m 3"], layout: Layout
) -> Float[Tensor, "m width"]:
    """Return features of points of the unit cube: per level the trilinear mean of the eight nodes around.

    Differentiable in `params` alone.
    """
    table = params.view(-1, layout.features)
    return torch.cat([_level(table, x.detach(), level) for level in layout.table], dim=1)


def _level(table: Float[Tensor, "rows f"], x: Float[Tensor, "m 3"], level: Level) -> Float[Tensor, "m f"]:
    place = (x * level.scale + 0.5).T.contiguous()
    cell = place.floor()
    (u, v, w), (i, j, k) = place - cell, cell.long()
    total = x.new_zeros((len(x), table.shape[1]))
    for a, b, c in product((0, 1), repeat=3):
        weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
        row = level.offset + row_of(i + a, j + b, k + c, level)
        total = total + weight[:, None] * table.index_select(0, row)
    return total


def row_of(i: Int[Tensor, "m"], j: Int[Tensor, "m"], k: Int[Tensor, "m"], level: Level) -> Int[Tensor, "m"]:
    """Return the row of node (i, j, k) in its level. At x = 1 a node can lie one beyond the last: hence the
    modulo.
    """
    if level.hashed:
        index = (i * PRIMES[0] ^ j * PRIMES[1] ^ k * PRIMES[2]) & 0xFFFFFFFF
    else:
        index = i + j * level.resolution + k * level.resolution**2
    return index % level.rows
