"""Fitting a voxel field to posed views: start from the visual hull, go from coarse to fine, empty whatever no view has seen."""

from collections.abc import Callable
from math import ceil, sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from piva.errors import InputError
from piva.nerf.cameras import Intrinsics
from piva.nerf.hull import visual_hull, widened
from piva.nerf.occupancy import Occupancy
from piva.nerf.rays import pixel_rays
from piva.nerf.render import render
from piva.nerf.settings import Fit
from piva.nerf.voxels import Voxels, uniform

START = -1.0  # raw density before anything is known: a fog dense enough for the occupancy grid to keep

Views = Float[Tensor, "n h w 4"] | UInt8[Tensor, "n h w 4"]


class Fitted(NamedTuple):
    """A field, where it is not empty, and what lies behind it."""

    field: Voxels
    occupancy: Occupancy
    background: Float[Tensor, "3"] | None  # of views without alpha; None if the views have alpha: any colour will do


class Evidence(NamedTuple):
    """What the views say before any fitting."""

    hull: Bool[Tensor, "r r r"]  # cells that may hold something
    pixels: Int[Tensor, "m"]  # worth rendering, numbered through all views
    background: Float[Tensor, "3"] | None


def fit(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    intrinsics: Intrinsics,
    settings: Fit,
    generator: torch.Generator,
    progress: Callable[[int, int], None] = lambda _step, _total: None,
) -> Fitted:
    """Fit a voxel field to views with straight alpha; float views are in [0, 1].

    With alpha, rays are compared in front of random colours, so that empty space has to be empty. Views that are opaque
    everywhere are taken to stand before one colour, the median of their borders, and have no hull to start from.

    Raises:
        InputError: no views, nothing but transparent pixels, silhouettes that have nothing in common inside the box, or a
            threshold that would empty the field before it is fitted.
    """
    evidence = gather(views, c2w, intrinsics, settings)
    occupancy = Occupancy(settings.radius, settings.occupancy).to(c2w.device)
    occupancy.occupy(evidence.hull)
    field = uniform(settings.resolutions[0], settings.radius, START, c2w.device)
    fog = float(field.node_density().max())
    if settings.threshold >= fog:
        raise InputError("threshold", f"{settings.threshold}", f"less than {fog:.2f}, the density that a fit starts from")
    done, total = 0, sum(settings.steps)
    for resolution, steps in zip(settings.resolutions, settings.steps, strict=True):
        field = field.upsample(resolution)
        optimiser = _adam(field, settings)
        finest = done + steps == total
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, settings.lr_end ** (1 / steps) if finest else 1.0)
        for _ in range(steps):
            rays_o, rays_d, rgba = draw_rays(views, c2w, intrinsics, evidence.pixels, settings.rays, generator)
            background = evidence.background
            if background is None:
                background = torch.rand(rgba[:, :3].shape, generator=generator, device=generator.device).to(rgba)
            wanted = rgba[:, :3] * rgba[:, 3:] + (1 - rgba[:, 3:]) * background
            optimiser.zero_grad()
            got = render(field, occupancy, rays_o, rays_d, background, settings.step, generator)
            torch.autograd.backward(F.mse_loss(got.rgb, wanted))
            optimiser.step()
            schedule.step()
            done += 1
            progress(done, total)
            if done % settings.refresh_every == 0:
                occupancy.refresh(field.density, settings.threshold, decay=settings.decay, within=evidence.hull)
    # Without this the fog of START appears wherever an edit opens the occupancy grid.
    unseen = optimiser.state[field.raw_density]["exp_avg_sq"][0, 0] == 0
    field.empty(unseen | (field.node_density() <= settings.threshold))
    occupancy.refresh(field.density, settings.threshold)
    return Fitted(field, occupancy, evidence.background)


def _adam(field: Voxels, settings: Fit) -> torch.optim.Adam:
    groups = [{"params": field.raw_density, "lr": settings.lr_density}, {"params": field.raw_colour, "lr": settings.lr_colour}]
    # eps: the gradient of a voxel that few rays meet is tiny (Instant-NGP, Sec. 4).
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)


def gather(views: Views, c2w: Float[Tensor, "n 4 4"], intrinsics: Intrinsics, settings: Fit) -> Evidence:
    """The visual hull and the pixels near a silhouette; for opaque views the whole box, all pixels and the background."""
    if len(views) == 0:
        raise InputError("views", "none", "at least one")
    alpha = views[..., 3].float()
    if not bool(alpha.any()):
        raise InputError("views", "nothing but transparent pixels", "an object with alpha above 0")
    size = (settings.occupancy,) * 3
    if bool((views[..., 3] == (1 if views.is_floating_point() else 255)).all()):
        everywhere = torch.ones(size, dtype=torch.bool, device=views.device)
        return Evidence(everywhere, torch.arange(alpha.numel(), device=views.device), border_colour(views))
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
    return Evidence(hull, torch.nonzero(silhouettes.flatten())[:, 0], None)


def draw_rays(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    intrinsics: Intrinsics,
    pixels: Int[Tensor, "m"],
    count: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"], Float[Tensor, "b 4"]]:
    """Origins, directions and RGBA in [0, 1] of `count` of `pixels`, drawn with replacement."""
    draw = torch.randint(len(pixels), (count,), generator=generator, device=generator.device).to(pixels.device)
    pixel = pixels.index_select(0, draw)
    row, u = pixel // intrinsics.width, pixel % intrinsics.width
    view, v = row // intrinsics.height, row % intrinsics.height
    rays_o, rays_d = pixel_rays(c2w.index_select(0, view), u, v, intrinsics)
    return rays_o, rays_d, unit(views.reshape(-1, 4).index_select(0, pixel))


def unit(x: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats as they are."""
    return x if x.is_floating_point() else x.float() / 255


def border_colour(views: Views) -> Float[Tensor, "3"]:
    """The median colour of the outermost pixels of all views."""
    border = [views[:, 0], views[:, -1], views[:, :, 0], views[:, :, -1]]
    return unit(torch.cat([line.reshape(-1, 4) for line in border])[:, :3]).median(dim=0).values
