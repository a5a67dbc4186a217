"""Fitting a field to posed views: start from a fog in the visual hull, go on in stages, empty whatever no view has seen."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from piva.cameras.poses import Intrinsics
from piva.cameras.rays import mixed_rays
from piva.errors import InputError
from piva.nerf.field import Field
from piva.nerf.hull import visual_hull, widened
from piva.nerf.occupancy import Occupancy
from piva.nerf.render import render
from piva.nerf.settings import Fit

Views = Float[Tensor, "n h w 4"] | UInt8[Tensor, "n h w 4"]


class Fitted(NamedTuple):
    """A field, where it is not empty, and what lies behind it."""

    field: Field
    occupancy: Occupancy
    background: (
        Float[Tensor, "3"] | None
    )  # of views without alpha; None if the views have alpha: any colour will do


class Lenses(NamedTuple):
    """The lenses of some views: each different one, and which of them is whose."""

    different: list[Intrinsics]
    which: Int[Tensor, "n"]

    @staticmethod
    def of(lenses: Intrinsics | Sequence[Intrinsics], count: int, device: torch.device) -> "Lenses":
        each = [lenses] * count if isinstance(lenses, Intrinsics) else list(lenses)
        different = list(dict.fromkeys(each))
        index = {lens: i for i, lens in enumerate(different)}
        return Lenses(
            different, torch.tensor([index[lens] for lens in each], device=device, dtype=torch.long)
        )


class Evidence(NamedTuple):
    """What the views say before any fitting."""

    hull: Bool[Tensor, "r r r"]  # cells that may hold something
    pixels: Int[Tensor, "m"]  # worth rendering, numbered through all views
    background: Float[Tensor, "3"] | None


def fit(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    intrinsics: Intrinsics | Sequence[Intrinsics],
    settings: Fit,
    generator: torch.Generator,
    progress: Callable[[int, int], None] = lambda _step, _total: None,
    *,
    keep: Bool[Tensor, "n h w"] | None = None,
    near: float = 0.0,
) -> Fitted:
    """Fit a field to views with straight alpha; float views are in [0, 1].

    Views have one lens, or one each. Pixels outside `keep` are not looked at; nothing is nearer to a camera than `near`.

    With alpha, rays are compared in front of random colours, so that empty space has to be empty. Views that are opaque
    everywhere are taken to stand before one colour, the median of their borders, and have no hull to start from.

    Raises:
        InputError: no views, nothing but transparent pixels, silhouettes that have nothing in common inside the box, or a
            threshold that would empty the field before it is fitted.
        FloatingPointError: a field that is no longer finite, or empty; looked at whenever the occupancy grid is refreshed.
    """
    lenses = Lenses.of(intrinsics, len(views), c2w.device)
    evidence = gather(views, c2w, lenses.different, settings, keep)
    pixels = evidence.pixels if keep is None else evidence.pixels[keep.flatten()[evidence.pixels]]
    if len(pixels) == 0:
        raise InputError(
            "views", "masks that leave no pixel to look at", "masks that are white where to look"
        )
    occupancy = Occupancy(settings.radius, settings.occupancy, settings.levels).to(c2w.device)
    occupancy.occupy(evidence.hull)
    field = settings.start(generator)
    with torch.no_grad():
        fog = float(field.density(torch.zeros((1, 3), device=c2w.device)))
    if settings.threshold >= fog:
        raise InputError(
            "threshold", f"{settings.threshold}", f"less than {fog:.2f}, the density that a fit starts from"
        )
    done, total = 0, sum(settings.stages)
    for stage, steps in enumerate(settings.stages):
        field = settings.refine(field, stage)
        optimiser = adam(field, settings.rates)
        last = done + steps == total
        schedule = torch.optim.lr_scheduler.ExponentialLR(
            optimiser, settings.lr_end ** (1 / steps) if last else 1.0
        )
        for _ in range(steps):
            rays_o, rays_d, rgba = draw_rays(views, c2w, lenses, pixels, settings.rays, generator)
            background = evidence.background
            if background is None:
                background = torch.rand(rgba[:, :3].shape, generator=generator, device=generator.device).to(
                    rgba
                )
            wanted = rgba[:, :3] * rgba[:, 3:] + (1 - rgba[:, 3:]) * background
            optimiser.zero_grad()
            got = render(
                field, occupancy, rays_o, rays_d, background, settings.step, generator, near, settings.cone
            )
            loss = F.mse_loss(got.rgb, wanted)
            if settings.sparsity:
                loss = loss + settings.sparsity * _density_anywhere(field, settings, generator)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            done += 1
            progress(done, total)
            if done % settings.refresh_every == 0:
                occupancy.refresh(
                    field.density, settings.threshold, decay=settings.decay, within=evidence.hull
                )
                _check_alive(loss, occupancy, done)
    # What counts in the outermost level.
    field.settle(optimiser, settings.threshold / 2 ** (settings.levels - 1))
    occupancy.refresh(field.density, settings.threshold)
    _check_alive(loss, occupancy, done)
    return Fitted(field, occupancy, evidence.background)


def adam(field: Field, rates: Mapping[str, float]) -> torch.optim.Adam:
    """The optimiser of fits and edits, with a rate for each of the field's groups of parameters."""
    groups = [{"params": params, "lr": rates[name]} for name, params in field.groups().items()]
    # eps: most voxels, or rows of a hash grid, are met by few rays and their gradients are tiny (Instant-NGP, Section 4).
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)


def _density_anywhere(field: Field, settings: Fit, generator: torch.Generator) -> Tensor:
    """The mean density of as many random points of the box as there are rays."""
    x = torch.rand((settings.rays, 3), generator=generator, device=generator.device)
    return field.density((2 * x - 1) * settings.radius).mean()


def _check_alive(loss: Tensor, occupancy: Occupancy, step: int) -> None:
    remedy = "lower learning rates (field.lr_...) or another field.threshold may help"
    if not bool(loss.isfinite()):
        raise FloatingPointError(f"fit, step {step}: the field is not finite any more; {remedy}")
    if not bool(occupancy.occupied.any()):
        raise FloatingPointError(f"fit, step {step}: the field is empty; {remedy}")


def gather(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    lenses: Sequence[Intrinsics],
    settings: Fit,
    keep: Bool[Tensor, "n h w"] | None,
) -> Evidence:
    """The visual hull and the pixels near a silhouette; for opaque views the whole box, all pixels and the background.

    Only views by one pinhole of a bounded scene have a hull: others too start from the whole box and look at all pixels.
    """
    if len(views) == 0:
        raise InputError("views", "none", "at least one")
    alpha = views[..., 3].float()
    if not bool(alpha.any()):
        raise InputError("views", "nothing but transparent pixels", "an object with alpha above 0")
    size = (settings.occupancy,) * 3
    opaque = bool((views[..., 3] == (1 if views.is_floating_point() else 255)).all())
    intrinsics, *others = lenses
    if opaque or others or not intrinsics.straight or settings.levels > 1:
        everywhere = torch.ones(size, dtype=torch.bool, device=views.device)
        every = torch.arange(alpha.numel(), device=views.device)
        return Evidence(everywhere, every, border_colour(views, keep) if opaque else None)
    # A cell may hold something although its centre misses the silhouette, by half its diagonal at most.
    half_diagonal = sqrt(3) * settings.radius / settings.occupancy
    nearest = max(float(c2w[:, :3, 3].norm(dim=1).min()), settings.radius)
    silhouettes = widened(alpha, ceil(intrinsics.fx * half_diagonal / nearest))
    hull = visual_hull(silhouettes, c2w, intrinsics, settings.occupancy, settings.radius)
    if not bool(hull.any()):
        raise InputError(
            "views", "silhouettes that have nothing in common", f"an object inside [-{settings.radius}, {settings.radius}]^3",
            "check the axes of the cameras, the focal length and the radius",
        )  # fmt: skip
    place = ((c2w[:, :3, 3] / settings.radius + 1) / 2 * settings.occupancy).long()
    inside = ((place >= 0) & (place < settings.occupancy)).all(dim=1)
    inside[inside.clone()] = hull[tuple(place[inside].T)]
    if bool(inside.any()):
        raise InputError(
            "views", f"{int(inside.sum())} of {len(c2w)} cameras inside the object", "cameras around it",
            "check the scale of the poses; a scene that is seen from within has pictures without alpha (dataset=in2n)",
        )  # fmt: skip
    return Evidence(hull, torch.nonzero(silhouettes.flatten())[:, 0], None)


def draw_rays(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    lenses: Lenses,
    pixels: Int[Tensor, "m"],
    count: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"], Float[Tensor, "b 4"]]:
    """Origins, directions and RGBA in [0, 1] of `count` of `pixels`, drawn with replacement."""
    draw = torch.randint(len(pixels), (count,), generator=generator, device=generator.device).to(
        pixels.device
    )
    pixel = pixels.index_select(0, draw)
    _, height, width, _ = views.shape
    row, u = pixel // width, pixel % width
    view, v = row // height, row % height
    rays_o, rays_d = mixed_rays(c2w.index_select(0, view), u, v, lenses.which[view], lenses.different)
    return rays_o, rays_d, unit(views.reshape(-1, 4).index_select(0, pixel))


def unit(x: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats as they are."""
    return x if x.is_floating_point() else x.float() / 255


def border_colour(views: Views, keep: Bool[Tensor, "n h w"] | None = None) -> Float[Tensor, "3"]:
    """The median colour of the outermost pixels of all views, of those in `keep` if there are any."""
    border = torch.cat([line.reshape(-1, 4) for line in _borders(views)])
    if keep is not None:
        kept = torch.cat([line.flatten() for line in _borders(keep)])
        border = border[kept] if bool(kept.any()) else border
    return unit(border[:, :3]).median(dim=0).values


def _borders(images: Tensor) -> list[Tensor]:
    return [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
