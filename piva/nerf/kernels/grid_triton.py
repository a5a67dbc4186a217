"""The hash grid's encoding in Triton, which comes with torch: a GPU kernel without a compiler or the CUDA
toolkit.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from piva.nerf.kernels.layout import PRIMES, Layout

BLOCK = 256  # points a program
PRIME_Y, PRIME_Z = tl.constexpr(PRIMES[1]), tl.constexpr(PRIMES[2])


def encode(
    params: Float[Tensor, "size"], x: Float[Tensor, "m 3"], layout: Layout
) -> Float[Tensor, "m width"]:
    """Return what `grid_torch.encode` does, for float32 on a GPU; differentiable, once, in `params` alone.

    Gradients are added in no fixed order: they differ in the last digits from run to run.
    """
    features: Tensor = _Encode.apply(params, x.detach(), layout)
    return features


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, params: Tensor, x: Tensor, layout: Layout) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        ctx.layout = layout
        features = params.new_empty((len(x), layout.width))
        _run(_forward, params.detach(), x, layout, features)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        grad_params = grad.new_zeros(ctx.layout.size)
        _run(_backward, grad.contiguous(), x, ctx.layout, grad_params)
        return grad_params, None, None


def _run(kernel: Any, given: Tensor, x: Tensor, layout: Layout, out: Tensor) -> None:
    """Launch once per level: each level's numbers are then plain arguments.

    No kernel may call an argument `params` or `options`: the code that Triton 3.6 makes to launch it has
    variables of these names.
    """
    if len(x) == 0:
        return
    with torch.cuda.device_of(x):  # Triton launches on the current device, whatever that of its arguments
        for index, (scale, resolution, rows, offset, hashed) in enumerate(layout.table):
            kernel[(triton.cdiv(len(x), BLOCK),)](
                given, x, out, len(x), scale, resolution, rows, offset * layout.features,
                index * layout.features, layout.width, hashed, layout.features, BLOCK,
            )  # fmt: skip


@triton.jit
@no_type_check
def _forward(
    values, x, out, count, scale, resolution, rows, offset, first, width,
    HASHED: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute one level's features; its values begin at `offset`, its features at `first` in a row of
    `width`.
    """
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = point < count
    cx, cy, cz, u, v, w = _place(x, point, there, scale)
    for f in tl.static_range(FEATURES):
        total = tl.zeros((BLOCK,), tl.float32)
        for corner in tl.static_range(8):
            row, weight = _node(cx, cy, cz, u, v, w, resolution, rows, corner, HASHED)
            total += weight * tl.load(values + offset + row * FEATURES + f, mask=there, other=0.0)
        tl.store(out + point * width + first + f, total, mask=there)


@triton.jit
@no_type_check
def _backward(
    grad, x, out, count, scale, resolution, rows, offset, first, width,
    HASHED: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = point < count
    cx, cy, cz, u, v, w = _place(x, point, there, scale)
    for f in tl.static_range(FEATURES):
        slope = tl.load(grad + point * width + first + f, mask=there, other=0.0)
        for corner in tl.static_range(8):
            row, weight = _node(cx, cy, cz, u, v, w, resolution, rows, corner, HASHED)
            tl.atomic_add(out + offset + row * FEATURES + f, weight * slope, mask=there)


@triton.jit
@no_type_check
def _place(x, point, there, scale):
    """Return the cells of points along each axis, and the fractions of the way to the next."""
    px = tl.load(x + point * 3, mask=there, other=0.0) * scale + 0.5
    py = tl.load(x + point * 3 + 1, mask=there, other=0.0) * scale + 0.5
    pz = tl.load(x + point * 3 + 2, mask=there, other=0.0) * scale + 0.5
    fx, fy, fz = tl.floor(px), tl.floor(py), tl.floor(pz)
    cx, cy, cz = fx.to(tl.int32).to(tl.uint32), fy.to(tl.int32).to(tl.uint32), fz.to(tl.int32).to(tl.uint32)
    return cx, cy, cz, px - fx, py - fy, pz - fz


@triton.jit
@no_type_check
def _node(cx, cy, cz, u, v, w, resolution, rows, CORNER: tl.constexpr, HASHED: tl.constexpr):
    """Return row and weight of one of the eight nodes around points."""
    x, y, z = cx + (CORNER & 1), cy + ((CORNER >> 1) & 1), cz + (CORNER >> 2)
    if HASHED:  # noqa: SIM108 - decided when the kernel is compiled
        index = x ^ (y * PRIME_Y) ^ (z * PRIME_Z)
    else:
        index = x + y * resolution + z * (resolution * resolution)
    a = u if CORNER & 1 else 1 - u
    b = v if (CORNER >> 1) & 1 else 1 - v
    c = w if CORNER >> 2 else 1 - w
    return (index.to(tl.uint32) % rows.to(tl.uint32)).to(tl.int64), a * b * c
