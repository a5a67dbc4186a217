"""Fitting a field to posed views: start uniform in the visual hull, refine in stages, empty what no view has
seen.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from math import ceil, sqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from piva.cameras.lens import Lens
from piva.cameras.rays import Lenses, mixed_rays
from piva.errors import InputError
from piva.nerf.field import Field, Grouped
from piva.nerf.occupancy import Occupancy
from piva.nerf.render import Rendered, render, render_image
from piva.nerf.settings import Box, Fit

Views = Float[Tensor, "n h w 4"] | UInt8[Tensor, "n h w 4"]
REMEDY = "lower learning rates (field.lr_...) or another field.threshold may help"


class Fitted(NamedTuple):
    """A field, where it is not empty, and what lies behind it: a `piva.nerf.scenes.Scene`."""

    field: Field
    occupancy: Occupancy
    background: Float[Tensor, "3"] | None  # of views without alpha; with alpha any colour will do

    def view(
        self,
        fit: Fit,
        c2w: Float[Tensor, "4 4"],
        lens: Lens,
        background: Float[Tensor, "3"],
        near: float = 0.0,
    ) -> Rendered:
        camera = c2w, lens, background
        return render_image(self.field, self.occupancy, *camera, fit.step, near=near, cone=fit.cone)

    def refresh(
        self, fit: Fit, progress: float, generator: torch.Generator | None, grow: int
    ) -> Bool[Tensor, "2"]:
        """Look anew where the field is not empty, with room to grow by so many cells."""
        self.occupancy.refresh(self.field.density, fit.threshold, dilate=grow)
        return torch.stack([self.occupancy.occs.isfinite().all(), self.occupancy.occupied.any()])

    def opened(self, fit: Fit) -> "Fitted":
        return copy.deepcopy(self)

    def tight(self, fit: Fit) -> "Fitted":
        """Return the scene as a fit ends, without room to grow nor what is too thin to count, a copy:
        rendering must not change the edit.
        """
        field, occupancy = self.field.pruned(_thin(fit)), copy.deepcopy(self.occupancy)
        occupancy.refresh(field.density, fit.threshold)
        return self._replace(field=field, occupancy=occupancy)

    def tensors(self) -> dict[str, Tensor]:
        return {**self.field.state_dict(), "occupied": self.occupancy.occupied}

    def checkpoint(self) -> dict[str, Any]:
        return {"field": self.field.state_dict(), "occupancy": self.occupancy.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.field.load_state_dict(saved["field"])
        self.occupancy.load_state_dict(saved["occupancy"])


class Evidence(NamedTuple):
    """What the views say before any fitting."""

    hull: Bool[Tensor, "r r r"]  # cells that may hold something
    pixels: Int[Tensor, "m"]  # worth rendering, numbered through all views
    background: Float[Tensor, "3"] | None


def fit(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    lens: Lens | Sequence[Lens],
    settings: Fit,
    generator: torch.Generator,
    progress: Callable[[int, int], None] = lambda _step, _total: None,
    *,
    keep: Bool[Tensor, "n h w"] | None = None,
    near: float = 0.0,
) -> Fitted:
    """Fit a field to views with straight alpha; float views are in [0, 1]. They have one lens, or one each.

    Pixels outside `keep` are ignored; nothing is nearer to a camera than `near`. With alpha, rays are
    compared in front of random colours, so that empty space has to be empty. Views that are opaque everywhere
    are assumed to stand before one colour, the median of their borders, and have no hull to start from.

    Raises:
        InputError: no views, nothing but transparent pixels, silhouettes that have nothing in common inside
            the box, or a threshold that would empty the field before it is fitted.
        FloatingPointError: a field that is not finite, or empty, when the occupancy grid is refreshed.
    """
    lenses = Lenses.of(lens, len(views), c2w.device)
    evidence = gather(views, c2w, lenses.distinct, settings, keep)
    pixels = evidence.pixels if keep is None else evidence.pixels[keep.flatten()[evidence.pixels]]
    if len(pixels) == 0:
        wanted = "masks that are white where to look"
        raise InputError("views", "masks that leave no pixel to look at", wanted)
    occupancy = Occupancy(settings.radius, settings.occupancy, settings.levels).to(c2w.device)
    occupancy.occupy(evidence.hull)
    field = settings.initial_field(generator)
    with torch.no_grad():
        initial = float(field.density(torch.zeros((1, 3), device=c2w.device)))
    if settings.threshold >= initial:
        wanted = f"less than {initial:.2f}, the density that a fit starts from"
        raise InputError("threshold", f"{settings.threshold}", wanted)
    done, total = 0, sum(settings.stages)
    for stage, steps in enumerate(settings.stages):
        field = settings.refine(field, stage)
        optimiser = adam(field, settings.rates)
        last = done + steps == total
        decay = settings.lr_end ** (1 / steps) if last else 1.0
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, decay)
        for _ in range(steps):
            rays_o, rays_d, rgba = draw_rays(views, c2w, lenses, pixels, settings.rays, generator)
            background = evidence.background
            if background is None:
                background = torch.rand((len(rgba), 3), generator=generator, device=generator.device).to(rgba)
            wanted_rgb = rgba[:, :3] * rgba[:, 3:] + (1 - rgba[:, 3:]) * background
            optimiser.zero_grad()
            rendered = render(
                field, occupancy, rays_o, rays_d, background, settings.step, generator, near, settings.cone
            )
            loss = F.mse_loss(rendered.rgb, wanted_rgb)
            if settings.sparsity:
                x = torch.rand((settings.rays, 3), generator=generator, device=generator.device)
                loss = loss + settings.sparsity * field.density((2 * x - 1) * settings.radius).mean()
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
    field.prune_unseen(optimiser, occupancy.occupied, _thin(settings))
    occupancy.refresh(field.density, settings.threshold)
    _check_alive(loss, occupancy, done)
    return Fitted(field, occupancy, evidence.background)


def _thin(settings: Fit) -> float:
    """Return the density up to which nothing counts anywhere: the threshold of the outermost level."""
    return settings.threshold / 2.0 ** (settings.levels - 1)


def fitted_of(settings: Fit, tensors: Mapping[str, Tensor]) -> Fitted:
    """Return the scene of these tensors. Raises `KeyError` for one that is not there."""
    field, occupied = settings.restore(tensors), tensors["occupied"]
    occupancy = Occupancy(settings.radius, settings.occupancy, settings.levels).to(occupied.device)
    occupancy.occupy(occupied)
    return Fitted(field, occupancy, tensors.get("background"))


def adam(field: Grouped, rates: Mapping[str, float]) -> torch.optim.Adam:
    """Return the optimiser of fits and edits, with a learning rate per parameter group of the field."""
    groups = [{"params": params, "lr": rates[name]} for name, params in field.parameter_groups().items()]
    # eps: most voxels, or rows of a hash grid, meet few rays and have tiny gradients (Instant-NGP, Section
    # 4).
    return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)


def _check_alive(loss: Tensor, occupancy: Occupancy, step: int) -> None:
    finite, occupied = torch.stack(
        [loss.isfinite(), occupancy.occupied.any()]
    ).tolist()  # waits once for both
    if not finite:
        raise FloatingPointError(f"fit, step {step}: the field is not finite any more; {REMEDY}")
    if not occupied:
        raise FloatingPointError(f"fit, step {step}: the field is empty; {REMEDY}")


def gather(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    lenses: Sequence[Lens],
    settings: Box,
    keep: Bool[Tensor, "n h w"] | None,
) -> Evidence:
    """Return the visual hull and the pixels near a silhouette; of opaque views the whole box, all pixels and
    the background.

    Only views by one pinhole of a bounded scene have a hull: others too start from the whole box and use all
    pixels.
    """
    if len(views) == 0:
        raise InputError("views", "none", "at least one")
    alpha = views[..., 3].float()
    if not bool(alpha.any()):
        raise InputError("views", "nothing but transparent pixels", "an object with alpha above 0")
    opaque = bool((views[..., 3] == (1 if views.is_floating_point() else 255)).all())
    lens, *others = lenses
    if opaque or others or not lens.is_pinhole or settings.levels > 1:
        everywhere = torch.ones((settings.occupancy,) * 3, dtype=torch.bool, device=views.device)
        every = torch.arange(alpha.numel(), device=views.device)
        return Evidence(everywhere, every, border_colour(views, keep) if opaque else None)
    # A cell may hold something although its centre misses the silhouette, by half its diagonal at most.
    half_diagonal = sqrt(3) * settings.radius / settings.occupancy
    nearest = max(float(c2w[:, :3, 3].norm(dim=1).min()), settings.radius)
    silhouettes = widened(alpha, ceil(lens.fx * half_diagonal / nearest))
    hull = visual_hull(silhouettes, c2w, lens, settings.occupancy, settings.radius)
    if not bool(hull.any()):
        wanted = f"an object inside [-{settings.radius}, {settings.radius}]^3"
        remedy = "check the axes of the cameras, the focal length and the radius"
        raise InputError("views", "silhouettes that have nothing in common", wanted, remedy)
    cell = ((c2w[:, :3, 3] / settings.radius + 1) / 2 * settings.occupancy).long()
    inside = ((cell >= 0) & (cell < settings.occupancy)).all(dim=1)
    inside[inside.clone()] = hull[tuple(cell[inside].T)]
    if bool(inside.any()):
        found = f"{int(inside.sum())} of {len(c2w)} cameras inside the object"
        remedy = (
            "check the scale of the poses; a scene seen from within has pictures without alpha (dataset=in2n)"
        )
        raise InputError("views", found, "cameras around it", remedy)
    return Evidence(hull, torch.nonzero(silhouettes.flatten())[:, 0], None)


def draw_rays(
    views: Views,
    c2w: Float[Tensor, "n 4 4"],
    lenses: Lenses,
    pixels: Int[Tensor, "m"],
    count: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"], Float[Tensor, "b 4"]]:
    """Return origins, directions and RGBA in [0, 1] of `count` of `pixels`, drawn with replacement."""
    draw = torch.randint(len(pixels), (count,), generator=generator, device=generator.device)
    pixel = pixels.index_select(0, draw.to(pixels.device))
    _, height, width, _ = views.shape
    row, u = pixel // width, pixel % width
    view, v = row // height, row % height
    rays_o, rays_d = mixed_rays(c2w.index_select(0, view), u, v, lenses.which.index_select(0, view), lenses)
    return rays_o, rays_d, unit(views.reshape(-1, 4).index_select(0, pixel))


def unit(x: Tensor) -> Tensor:
    """Return bytes as floats in [0, 1], and floats unchanged."""
    return x if x.is_floating_point() else x.float() / 255


def border_colour(views: Views, keep: Bool[Tensor, "n h w"] | None = None) -> Float[Tensor, "3"]:
    """Return the median colour of the outermost pixels of all views, of those in `keep` if there are any."""
    border = torch.cat([line.reshape(-1, 4) for line in _borders(views)])
    if keep is not None:
        kept = torch.cat([line.flatten() for line in _borders(keep)])
        border = border[kept] if bool(kept.any()) else border
    return unit(border[:, :3]).median(dim=0).values


def _borders(images: Tensor) -> list[Tensor]:
    return [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]


def visual_hull(
    alpha: Float[Tensor, "n h w"], c2w: Float[Tensor, "n 4 4"], lens: Lens, resolution: int, radius: float
) -> Bool[Tensor, "r r r"]:
    """Return the cells of [-radius, radius]^3, [x, y, z], whose centre a view frames and none sees at alpha
    0.

    A view says nothing about what lies outside its frame or behind it. Parts thinner than a cell or a pixel
    can slip between centres: widen the silhouettes (`widened`) where the hull must contain the object.
    """
    centre = (torch.arange(resolution, device=alpha.device) + 0.5) * (2 * radius / resolution) - radius
    points = torch.cartesian_prod(centre, centre, centre)
    left = torch.arange(len(points), device=alpha.device)
    seen = torch.zeros(len(points), dtype=torch.bool, device=alpha.device)
    for silhouette, pose in zip(alpha > 0, c2w, strict=True):
        # Each view looks only at what the others have left: 20 times less work than looking at every cell.
        framed, filled = _project(points.index_select(0, left), silhouette, pose, lens)
        seen[left[framed]] = True
        left = left[~framed | filled]
    return torch.zeros_like(seen).index_fill(0, left, True).logical_and(seen).view((resolution,) * 3)


def widened(alpha: Float[Tensor, "n h w"], pixels: int) -> Float[Tensor, "n h w"]:
    """Return the highest alpha at most `pixels` rows and columns away."""
    rows = F.max_pool2d(alpha[:, None], (2 * pixels + 1, 1), stride=1, padding=(pixels, 0))
    return F.max_pool2d(rows, (1, 2 * pixels + 1), stride=1, padding=(0, pixels))[:, 0]


def _project(
    points: Float[Tensor, "m 3"], silhouette: Bool[Tensor, "h w"], c2w: Float[Tensor, "4 4"], lens: Lens
) -> tuple[Bool[Tensor, "m"], Bool[Tensor, "m"]]:
    """Return which points a pinhole view frames, and which of those fall on its silhouette."""
    x, y, z = ((points - c2w[:3, 3]) @ c2w[:3, :3]).unbind(dim=1)  # camera axes: in front means z < 0
    depth = torch.where(z < 0, -z, torch.inf)
    u = torch.floor(lens.cx + lens.fx * x / depth).long()
    v = torch.floor(lens.cy - lens.fy * y / depth).long()
    framed = (z < 0) & (u >= 0) & (u < lens.width) & (v >= 0) & (v < lens.height)
    index = v.clamp(0, lens.height - 1) * lens.width + u.clamp(0, lens.width - 1)
    return framed, framed & silhouette.flatten().index_select(0, index)
