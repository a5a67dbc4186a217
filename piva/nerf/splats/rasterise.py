"""Drawing 3D Gaussians (Kerbl et al. 2023), by gsplat on CUDA, by our kernels on CPUs."""

from functools import cache
from math import sqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from piva.cameras.lens import Lens
from piva.errors import InputError
from piva.nerf.kernels.threads import run

SH0 = 0.5 / sqrt(torch.pi)  # the constant spherical harmonic


class Gaussians(NamedTuple):
    """n Gaussians after their activations: what gsplat takes."""

    means: Float[Tensor, "n 3"]
    quats: Float[Tensor, "n 4"]  # wxyz, of any length
    scales: Float[Tensor, "n 3"]  # standard deviations along their axes
    opacities: Float[Tensor, "n"]  # in [0, 1]
    sh: Float[Tensor, "n k 3"]  # k = (degree + 1)^2 spherical harmonics of the colour, which 0.5 is added to


class Drawn(NamedTuple):
    """A picture of h x w pixels."""

    rgb: Float[Tensor, "h w 3"]  # premultiplied: what is behind shines through
    opacity: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]  # mean along the viewing axis, 0 where nothing is met; not differentiable


def rasterise(gaussians: Gaussians, w2c: Float[Tensor, "4 4"], lens: Lens, near: float = 0.01) -> Drawn:
    """Draw Gaussians that are further from the camera than `near`, differentiable once in all of them.

    `w2c` is the world to the axes of OpenCV's cameras: they look along z, with y down. Raises `InputError`
    for a lens with distortion.
    """
    if not lens.is_pinhole:
        wanted, remedy = (
            "a pinhole, as splats are drawn by",
            "undistort the pictures (ns-process-data, COLMAP)",
        )
        raise InputError("field=splats", "a lens with distortion, or a fisheye", wanted, remedy)
    colours = shade(gaussians.sh, gaussians.means, -w2c[:3, :3].T @ w2c[:3, 3])
    draw = _draw_by_gsplat if w2c.is_cuda and has_gsplat() else _draw
    rgb, opacity, depth = draw(gaussians, colours, w2c, lens, near)
    return Drawn(rgb, opacity, (depth / opacity.clamp(min=1e-10)).detach())


def shade(
    sh: Float[Tensor, "n k 3"], means: Float[Tensor, "n 3"], eye: Float[Tensor, "3"]
) -> Float[Tensor, "n 3"]:
    """Return the colours that Gaussians have from a point: max(0, sum_k sh_k Y_k(direction) + 0.5)."""
    if sh.shape[1] == 1:
        return (SH0 * sh[:, 0] + 0.5).clamp(min=0)
    directions = torch.nn.functional.normalize(means - eye, dim=1)
    basis = harmonics(directions, round(sqrt(sh.shape[1])) - 1)
    return (torch.einsum("nk,nkc->nc", basis, sh) + 0.5).clamp(min=0)


def harmonics(directions: Float[Tensor, "n 3"], degree: int) -> Float[Tensor, "n k"]:
    """Return the real spherical harmonics up to `degree` <= 3 of unit vectors, in the order and with the
    signs of Kerbl et al.
    """
    x, y, z = directions.unbind(dim=1)
    basis = [torch.full_like(x, SH0)]
    if degree > 0:
        basis += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree > 1:
        basis += [1.0925484305920792 * x * y, -1.0925484305920792 * y * z]
        basis += [0.31539156525252005 * (3 * z * z - 1), -1.0925484305920792 * x * z]
        basis += [0.5462742152960396 * (x * x - y * y)]
    if degree > 2:
        basis += [-0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z]
        basis += [-0.4570457994644658 * y * (5 * z * z - 1), 0.3731763325901154 * z * (5 * z * z - 3)]
        basis += [-0.4570457994644658 * x * (5 * z * z - 1), 1.445305721320277 * z * (x * x - y * y)]
        basis += [-0.5900435899266435 * x * (x * x - 3 * y * y)]
    return torch.stack(basis, dim=1)


def _draw(
    gaussians: Gaussians, colours: Tensor, w2c: Tensor, lens: Lens, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw on a CPU; another device's tensors are taken there and back."""
    there = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, colours)
    means, *others = (x.cpu().contiguous() for x in there)
    rgb, opacity, depth = _Rasterise.apply(means, *others, w2c.detach().cpu().double(), lens, near)
    return rgb.to(w2c.device), opacity.to(w2c.device), depth.to(w2c.device)


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colours: Tensor,
        w2c: Tensor,
        lens: Lens,
        near: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        from piva.nerf.splats import kernels

        arrays = [x.numpy() for x in (means, quats, scales, opacities)]
        view = (w2c[:3].numpy(), (lens.fx, lens.fy, lens.cx, lens.cy), (lens.width, lens.height))
        geometry, depths, boxes = run(kernels.project, *arrays, *view, near)
        seen = torch.from_numpy(depths)
        order = seen.argsort(stable=True)[: int(seen.isfinite().sum())].numpy()
        across, down = (-(-side // kernels.TILE) for side in view[2])
        starts, ids = kernels.bins(order, boxes, across, down)
        lists = (starts, ids)
        drawn = run(kernels.composite, geometry, colours.numpy(), depths, boxes, *lists, view[2])
        rgb, light, depth, last = (torch.from_numpy(x) for x in drawn)
        ctx.save_for_backward(means, quats, scales, colours, light, last)
        ctx.view, ctx.screen = view, (geometry, depths, boxes, *lists)
        ctx.mark_non_differentiable(depth)
        return rgb, 1 - light, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rgb: Tensor, grad_opacity: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        from piva.nerf.splats import kernels

        means, quats, scales, colours, light, last = (x.numpy() for x in ctx.saved_tensors)
        geometry, depths, boxes, starts, ids = ctx.screen
        pixels = (light, last, grad_rgb.contiguous().numpy(), grad_opacity.contiguous().numpy())
        pairs = run(kernels.composite_backward, geometry, colours, boxes, starts, ids, *pixels)
        grads = kernels.gather(ids, pairs, len(means))
        of_shapes = run(kernels.project_backward, means, quats, scales, *ctx.view, geometry, depths, grads)
        total = torch.from_numpy(grads)
        g_means, g_quats, g_scales = (torch.from_numpy(x) for x in of_shapes)
        return g_means, g_quats, g_scales, total[:, 5], total[:, 6:], None, None, None


@cache
def has_gsplat() -> bool:
    """Return whether gsplat can be imported; its kernels are compiled at its first call."""
    try:
        import gsplat  # noqa: F401
    except ImportError:
        return False
    return True


def _draw_by_gsplat(
    gaussians: Gaussians, colours: Tensor, w2c: Tensor, lens: Lens, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    from gsplat import rasterization

    k = w2c.new_tensor([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    means, quats, scales, opacities, _ = gaussians
    image, alpha, _ = rasterization(
        *(means, quats, scales, opacities, colours, w2c[None], k[None], lens.width, lens.height),
        near_plane=near,
        render_mode="RGB+D",
        packed=False,
    )
    return image[0, ..., :3], alpha[0, ..., 0], image[0, ..., 3]
