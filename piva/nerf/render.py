"""Rendering a field: march through the occupied cells, ask the field at the midpoints, composite."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from piva.nerf.cameras import Intrinsics
from piva.nerf.composite import composite, visible
from piva.nerf.field import Field
from piva.nerf.occupancy import Occupancy
from piva.nerf.rays import image_rays

LEAST_LIGHT = 1e-3  # samples that less of the light reaches are dropped: a quarter of the time at 128x128


class Rendered(NamedTuple):
    """Of n rays, or of h x w pixels."""

    rgb: Float[Tensor, "*size 3"]  # with the background behind it
    opacity: Float[Tensor, "*size"]  # in [0, 1]; differentiable, like rgb
    depth: Float[Tensor, "*size"]  # mean distance along the ray, 0 where nothing is met; not differentiable


def render(
    field: Field,
    occupancy: Occupancy,
    rays_o: Float[Tensor, "n 3"],
    rays_d: Float[Tensor, "n 3"],
    background: Float[Tensor, "#n 3"] | Float[Tensor, "3"],
    step: float,
    generator: torch.Generator | None = None,
    near: float = 0.0,
) -> Rendered:
    """Render rays of unit direction in samples of length `step`; differentiable in the field's parameters.

    Rays start at the distance `near`. `background` is one colour, or one a ray. With a generator each ray's samples are shifted
    by a random part of a step, which keeps a fit from carving the lattice into the field.
    """
    n = len(rays_o)
    with torch.no_grad():
        if generator is None:
            start = torch.full_like(rays_o[:, 0], near)
        else:
            start = near + step * torch.rand(n, generator=generator, device=generator.device).to(rays_o)
        ray_indices, t_starts, t_ends = occupancy.sample(rays_o, rays_d, start, step)
        x = _positions(rays_o, rays_d, ray_indices, t_starts, t_ends)
        kept = visible(field.density(x), ray_indices, t_ends - t_starts, n, LEAST_LIGHT)
        ray_indices, t_starts, t_ends, x = (v.index_select(0, kept) for v in (ray_indices, t_starts, t_ends, x))
    sigmas, colours = field(x)
    rgb, opacity, depth = composite(sigmas, colours, ray_indices, t_starts, t_ends, n)
    return Rendered(rgb + (1 - opacity[:, None]) * background, opacity, depth)


def render_image(
    field: Field,
    occupancy: Occupancy,
    c2w: Float[Tensor, "4 4"],
    intrinsics: Intrinsics,
    background: Float[Tensor, "3"],
    step: float,
    generator: torch.Generator | None = None,
    near: float = 0.0,
) -> Rendered:
    """Render a whole view: `rgb` (h, w, 3), `opacity` and `depth` (h, w). Arguments as in `render`."""
    flat = render(field, occupancy, *image_rays(c2w, intrinsics), background, step, generator, near)
    return Rendered(*(v.view(intrinsics.height, intrinsics.width, *v.shape[1:]) for v in flat))


def _positions(rays_o: Tensor, rays_d: Tensor, ray_indices: Tensor, t_starts: Tensor, t_ends: Tensor) -> Tensor:
    """The midpoints of the samples (m, 3)."""
    t = (t_starts + t_ends)[:, None] / 2
    return torch.addcmul(rays_o.index_select(0, ray_indices), rays_d.index_select(0, ray_indices), t)
