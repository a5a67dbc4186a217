"""The hash grid's encoding compiled for the CPU by numba at first use, then cached on disk.

Threads never write to the same place: forward they share the points, backward the levels. There are as many
as torch uses.
"""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from piva.nerf.kernels.layout import PRIMES, Layout
from piva.nerf.kernels.threads import run

CHUNK = 2048  # points of one level at once: the rows they meet stay in the cache
HALF, ONE, STRIDE_X = np.float32(0.5), np.float32(1), np.uint64(1)  # typed, or numba computes in float64


def encode(
    params: Float[Tensor, "size"], x: Float[Tensor, "m 3"], layout: Layout
) -> Float[Tensor, "m width"]:
    """Return what `grid_torch.encode` does, in float32 on the CPU; differentiable once, in `params` only."""
    features: Tensor = _Encode.apply(params, x.detach(), layout)
    return features


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, params: Tensor, x: Tensor, layout: Layout) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        ctx.layout = layout
        features = params.new_empty((len(x), layout.width))
        _run(_forward, params.detach().view(-1, layout.features), x, layout, features)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        grad_params = grad.new_zeros((ctx.layout.size // ctx.layout.features, ctx.layout.features))
        _run(_backward, grad.contiguous(), x, ctx.layout, grad_params)
        return grad_params.flatten(), None, None


def _run(kernel: Any, given: Tensor, x: Tensor, layout: Layout, out: Tensor) -> None:
    run(kernel, given.numpy(), x.numpy(), *_levels(layout), (0,) * layout.features, out.numpy())


def _levels(layout: Layout) -> tuple[NDArray[Any], ...]:
    """Return each level's scale, strides of y and z (their primes where hashed), rows, offset, and whether it
    is hashed.
    """
    scale, resolution, rows, offset, hashed = zip(*layout.table, strict=True)
    strides = [PRIMES[1:] if h else (r, r**2) for r, h in zip(resolution, hashed, strict=True)]
    return (
        np.array(scale, np.float32),
        *(np.array(v, np.uint64) for v in (strides, rows, offset)),
        np.array(hashed),
    )


# Below is numba's subset of Python. `features` is a tuple because numba knows its length when it compiles:
# 1.5 times faster.


@njit(parallel=True, cache=True)
@no_type_check
def _forward(table, x, scale, strides, rows, offset, hashed, features, out):
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        for level in range(len(scale)):
            first = level * len(features)
            for i in range(chunk * CHUNK, min(len(x), (chunk + 1) * CHUNK)):
                around = _around(
                    x[i], scale[level], strides[level], rows[level], offset[level], hashed[level]
                )
                for f in range(len(features)):
                    total = np.float32(0)
                    for row, weight in around:
                        total += weight * table[row, f]
                    out[i, first + f] = total


@njit(parallel=True, cache=True)
@no_type_check
def _backward(grad, x, scale, strides, rows, offset, hashed, features, out):
    for level in prange(len(scale)):
        first = level * len(features)
        for i in range(len(x)):
            for row, weight in _around(
                x[i], scale[level], strides[level], rows[level], offset[level], hashed[level]
            ):
                for f in range(len(features)):
                    out[row, f] += weight * grad[i, first + f]


@njit(inline="always")
@no_type_check
def _around(x, scale, strides, rows, offset, hashed):
    """Return row and weight of the eight nodes around a point."""
    x0, x1, u0, u1 = _axis(x[0], scale, STRIDE_X)
    y0, y1, v0, v1 = _axis(x[1], scale, strides[0])
    z0, z1, w0, w1 = _axis(x[2], scale, strides[1])
    return (
        (_row(x0, y0, z0, rows, offset, hashed), u0 * v0 * w0),
        (_row(x1, y0, z0, rows, offset, hashed), u1 * v0 * w0),
        (_row(x0, y1, z0, rows, offset, hashed), u0 * v1 * w0),
        (_row(x1, y1, z0, rows, offset, hashed), u1 * v1 * w0),
        (_row(x0, y0, z1, rows, offset, hashed), u0 * v0 * w1),
        (_row(x1, y0, z1, rows, offset, hashed), u1 * v0 * w1),
        (_row(x0, y1, z1, rows, offset, hashed), u0 * v1 * w1),
        (_row(x1, y1, z1, rows, offset, hashed), u1 * v1 * w1),
    )


@njit(inline="always")
@no_type_check
def _axis(x, scale, stride):
    """Return index * stride of the nodes before and behind a coordinate, and their weights."""
    place = x * scale + HALF
    cell = np.floor(place)
    part = place - cell
    before = np.uint64(np.int64(cell)) * stride
    return before, before + stride, ONE - part, part


@njit(inline="always")
@no_type_check
def _row(x, y, z, rows, offset, hashed):
    # Unsigned and always reduced: no position, not even one that is not a number, reaches beyond the level.
    if hashed:
        # rows are a power of two: the low bits are those of 32-bit products
        return offset + ((x ^ y ^ z) & (rows - STRIDE_X))
    index = x + y + z
    return offset + (index % rows if index >= rows else index)
