"""Volume rendering of packed samples: one fused operation with a hand-written backward pass (nerfacc's needs
CUDA).

Vocabulary: sample i of a ray has optical depth tau_i = sigma_i dt_i; the light that reaches it is T_i =
exp(-sum_{j<i} tau_j); its weight is w_i = T_i (1 - exp(-tau_i)). Samples are packed: sorted by ray, then by
distance (see march.py). Sums along the whole list are float64: in float32 the difference of two of them is
wrong by whole units after two million samples.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def composite(
    sigmas: Float[Tensor, "m"],
    colours: Float[Tensor, "m c"],
    ray_indices: Int[Tensor, "m"],
    t_starts: Float[Tensor, "m"],
    t_ends: Float[Tensor, "m"],
    n_rays: int,
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Return colour sum_i w_i c_i, opacity sum_i w_i and depth sum_i w_i t_i / sum_i w_i of each ray.

    Colours are premultiplied: put a background b behind them with colour + (1 - opacity) b. Depth is the mean
    distance of what the ray meets, 0 where it meets nothing. Differentiable, once, in `sigmas` and `colours`
    through colour and opacity; depth is not differentiable. A ray without samples gets zeros.
    """
    offsets = ray_offsets(ray_indices, n_rays)
    rgb, opacity, depth = _Composite.apply(sigmas, colours, ray_indices, t_starts, t_ends, offsets)
    return rgb, opacity, depth


def visible(
    sigmas: Float[Tensor, "m"],
    ray_indices: Int[Tensor, "m"],
    dt: Float[Tensor, "m"],
    n_rays: int,
    least: float,
) -> Int[Tensor, "k"]:
    """Return the indices of the samples that the share `least` of the light reaches: T_i >= least."""
    offsets = ray_offsets(ray_indices, n_rays)
    return torch.nonzero(_transmittance(sigmas.detach() * dt, ray_indices, offsets) >= least)[:, 0]


def ray_offsets(ray_indices: Int[Tensor, "m"], n_rays: int) -> Int[Tensor, "n_plus_1"]:
    """Return where each ray's samples begin in the packed list; ray r owns [offsets[r], offsets[r + 1])."""
    return torch.searchsorted(ray_indices, torch.arange(n_rays + 1, device=ray_indices.device))


class _Composite(torch.autograd.Function):
    """Forward as in `composite`. With w_i = T_i - T_{i+1} and g_i = dL/dw_i the backward pass is

    dL/dtau_i = g_i T_{i+1} - sum_{j>i} g_j w_j,     dL/dc_i = w_i dL/dcolour.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sigmas: Tensor,
        colours: Tensor,
        ray_indices: Tensor,
        t_starts: Tensor,
        t_ends: Tensor,
        offsets: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dt = t_ends - t_starts
        tau = sigmas * dt
        reaching = _transmittance(tau, ray_indices, offsets)
        weights = -torch.expm1(-tau) * reaching
        ctx.save_for_backward(colours, ray_indices, dt, offsets, weights, reaching - weights)

        sums = torch.stack([weights, weights * (t_starts + t_ends) / 2], dim=1)
        terms = torch.cat([weights[:, None] * colours, sums], dim=1)
        total = torch.segment_reduce(terms, "sum", offsets=offsets, initial=0)
        rgb, opacity = total[:, :-2], total[:, -2]
        depth = total[:, -1] / opacity.clamp(min=torch.finfo(opacity.dtype).tiny)
        ctx.mark_non_differentiable(depth)
        return rgb, opacity, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rgb: Tensor, grad_opacity: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        colours, ray_indices, dt, offsets, weights, leaving = ctx.saved_tensors
        grad_rgb, grad_opacity = (grad.index_select(0, ray_indices) for grad in (grad_rgb, grad_opacity))
        grad_weights = (grad_rgb * colours).sum(dim=1) + grad_opacity
        running = _running_sum(grad_weights * weights)  # over the whole list, one longer than it
        behind = running.index_select(0, offsets[1:]).index_select(0, ray_indices) - running[1:]
        grad_tau = grad_weights * leaving - behind.to(weights.dtype)
        return grad_tau * dt, grad_rgb * weights[:, None], None, None, None, None


def _transmittance(tau: Tensor, ray_indices: Tensor, offsets: Tensor) -> Tensor:
    """Return T_i = exp(-sum of tau over the earlier samples of the same ray)."""
    running = _running_sum(tau)
    before = running[:-1] - running.index_select(0, offsets[:-1]).index_select(0, ray_indices)
    return torch.exp(-before).to(tau.dtype)


def _running_sum(x: Tensor) -> Tensor:
    """Return the float64 sums of x[:i], for i = 0 ... len(x)."""
    return torch.nn.functional.pad(x.cumsum(0, dtype=torch.float64), (1, 0))
