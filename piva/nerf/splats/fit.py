"""Fitting splats to posed views: begin on the visual hull, descend L1 and SSIM a view at a time, move what
fades to where more is needed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from piva.cameras.lens import Lens
from piva.cameras.rays import Lenses
from piva.nerf.fit import REMEDY, Views, adam, gather, unit
from piva.nerf.occupancy import dilated
from piva.nerf.splats.scene import SplatScene
from piva.nerf.splats.splats import Splats

if TYPE_CHECKING:
    from piva.nerf.splats.settings import SplatFit

OPACITY = 0.3  # of a splat before the fit
CHECK_EVERY = 50  # steps between looks whether the loss is finite, for which a GPU is waited for


def fit_splats(
    settings: "SplatFit",
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    lens: Lens | Sequence[Lens],
    generator: torch.Generator,
    progress: Callable[[int, int], None] = lambda _step, _total: None,
    *,
    keep: Bool[Tensor, "n h w"] | None = None,
    near: float = 0.0,
    begin: Splats | None = None,
) -> SplatScene:
    """Fit splats to views with straight alpha; arguments and errors are those of `piva.nerf.fit.fit`.

    They start from `begin`, which is changed; without it on the views' hull. With alpha, views are compared
    in front of random colours, so that empty space has to be empty.
    """
    lenses = Lenses.of(lens, len(views), c2w.device)
    evidence = gather(views, c2w, lenses.distinct, settings, keep)
    field = initial_splats(evidence.hull, settings, generator) if begin is None else begin
    scene = SplatScene(field, evidence.background)
    optimiser = adam(field, settings.rates)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, settings.lr_end ** (1 / settings.steps))
    for step in range(settings.steps):
        if step % len(views) == 0:
            turns = torch.randperm(len(views), generator=generator, device=generator.device).tolist()
        index = turns[step % len(views)]
        rgba = unit(views[index])
        background = evidence.background
        if background is None:
            background = torch.rand(3, generator=generator, device=generator.device).to(rgba)
        wanted = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:]) * background
        seen = scene.view(
            settings, c2w[index], lenses.distinct[int(lenses.which[index])], background, near
        ).rgb
        if keep is not None:
            seen = torch.where(keep[index, ..., None], seen, wanted)
        loss = difference(seen, wanted, settings.ssim)
        loss = loss + settings.opacity_cost * field.opacities.sigmoid().mean()
        loss = loss + settings.scale_cost * field.scales.exp().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        decay.step()
        done = step + 1
        if done < settings.relocate_until * settings.steps:
            if done % settings.relocate_every == 0:
                field.relocate(generator)
            if settings.noise:
                field.shake(settings.noise * optimiser.param_groups[0]["lr"], generator)
        if done % CHECK_EVERY == 0 and not bool(loss.isfinite()):
            raise FloatingPointError(f"fit, step {done}: the splats are not finite any more; {REMEDY}")
        progress(done, settings.steps)
    return scene.tight(settings)


def initial_splats(hull: Bool[Tensor, "r r r"], settings: "SplatFit", generator: torch.Generator) -> Splats:
    """Return grey splats at random in the hull's outer cells, so large that they just meet."""
    outer = (hull & dilated(~hull, 1)).nonzero() if not bool(hull.all()) else hull.nonzero()
    outer = outer if len(outer) else hull.nonzero()
    device, count, cell = hull.device, settings.splats, 2 * settings.radius / len(hull)
    where = torch.randint(len(outer), (count,), generator=generator, device=generator.device).to(device)
    within = torch.rand((count, 3), generator=generator, device=generator.device).to(device)
    means = (outer[where] + within) * cell - settings.radius
    apart = cell * min(1.0, (len(outer) / count) ** 0.5)
    return Splats(
        means,
        means.new_full((count, 3), apart / 2).log(),
        means.new_tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.logit(means.new_full((count,), OPACITY)),
        means.new_zeros((count, 1, 3)),
        means.new_zeros((count, (settings.degree + 1) ** 2 - 1, 3)),
        torch.eye(4, device=device),
    )


def difference(a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"], part: float) -> Float[Tensor, ""]:
    """Return (1 - part) |a - b| + part (1 - SSIM(a, b)), the mean over a picture: Kerbl et al.'s loss."""
    l1 = (a - b).abs().mean()
    return l1 if part == 0 else (1 - part) * l1 + part * (1 - ssim(a, b))


def ssim(a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"]) -> Float[Tensor, ""]:
    """Return the mean structural similarity by Gaussian windows of 11 pixels, sigma 1.5, for data in
    [0, 1]; differentiable in `a`.
    """
    x, y = a.movedim(-1, 0), b.detach().movedim(-1, 0)
    mx, xx, xy = _Blur.apply(torch.cat([x, x * x, x * y])).split(3)
    my, yy = _blur(torch.cat([y, y * y])).split(3)
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    index: Tensor = similar / ((mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2))
    return index.mean()


class _Blur(torch.autograd.Function):
    """Blurring backward is blurring what is padded: a fifth of the time that torch takes for it on a CPU."""

    @staticmethod
    def forward(_: Any, maps: Tensor) -> Tensor:
        return _blur(maps)

    @staticmethod
    @once_differentiable
    def backward(_: Any, grad: Tensor) -> Tensor:
        return _blur(F.pad(grad, (10, 10, 10, 10)))


def _blur(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n y x"]:
    """Return the means under the window where all of it is in the picture: rows first, then columns."""
    line = torch.arange(-5, 6, device=maps.device, dtype=maps.dtype).square().div(-2 * 1.5**2).softmax(0)
    return F.conv2d(F.conv2d(maps[:, None], line.view(1, 1, 11, 1)), line.view(1, 1, 1, 11))[:, 0]
