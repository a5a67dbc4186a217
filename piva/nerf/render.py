"""Rendering a field: march through the occupied cells, query the field at the midpoints, composite."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from piva.cameras.lens import Lens
from piva.cameras.rays import image_rays
from piva.nerf.composite import composite, visible
from piva.nerf.field import Field
from piva.nerf.occupancy import Occupancy

RAYS = 1 << 16  # rendered at once: 256x256 in one piece, 512x512 in four
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
    cone: float = 0.0,
) -> Rendered:
    """Render rays of unit direction in samples of length `step`; differentiable in the field's parameters.

    Rays start at the distance `near`. `background` is one colour, or one a ray. With a generator each ray's
    samples are shifted by a random part of a step, which keeps a fit from carving the lattice into the field.
    From the distance step / cone on samples are as long as cone times their distance.

    More than RAYS rays are rendered RAYS at a time, and the graph of each part is built again when its turn
    comes in the backward pass (deferred back-propagation, Zhang et al. 2022): the memory is that of one part,
    values are those of one piece, and so are gradients, to the rounding of their sums.
    """
    rays_o = rays_o.contiguous()  # one origin expanded to all rays is 16 times slower to pick from
    start = torch.full_like(rays_o[:, 0], near)
    if generator is not None:
        shift = torch.rand(len(rays_o), generator=generator, device=generator.device)
        start = start + step * shift.to(rays_o)
    if len(rays_o) <= RAYS:
        samples = _samples(field, occupancy, rays_o, rays_d, start, step, cone)
        rgb, opacity, depth = _shade(field, rays_o, rays_d, *samples)
    else:
        parts = []
        for o, d, near_part in zip(*(v.split(RAYS) for v in (rays_o, rays_d, start)), strict=True):
            samples = _samples(field, occupancy, o, d, near_part, step, cone)
            arguments = (field, o, d, *samples)
            parts.append(checkpoint(_shade, *arguments, use_reentrant=False, preserve_rng_state=False))
        rgb, opacity, depth = (torch.cat(v) for v in zip(*parts, strict=True))
    return Rendered(rgb + (1 - opacity[:, None]) * background, opacity, depth)


def render_image(
    field: Field,
    occupancy: Occupancy,
    c2w: Float[Tensor, "4 4"],
    lens: Lens,
    background: Float[Tensor, "3"],
    step: float,
    generator: torch.Generator | None = None,
    near: float = 0.0,
    cone: float = 0.0,
) -> Rendered:
    """Render a whole view: `rgb` (h, w, 3), `opacity` and `depth` (h, w). Arguments as in `render`."""
    flat = render(field, occupancy, *image_rays(c2w, lens), background, step, generator, near, cone)
    return Rendered(*(v.view(lens.height, lens.width, *v.shape[1:]) for v in flat))


@torch.no_grad()
def _samples(
    field: Field,
    occupancy: Occupancy,
    rays_o: Tensor,
    rays_d: Tensor,
    start: Tensor,
    step: float,
    cone: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the packed samples that light reaches: (ray_indices, t_starts, t_ends)."""
    ray_indices, t_starts, t_ends = occupancy.sample(rays_o, rays_d, start, step, cone)
    x = _positions(rays_o, rays_d, ray_indices, t_starts, t_ends)
    kept = visible(field.density(x), ray_indices, t_ends - t_starts, len(rays_o), LEAST_LIGHT)
    return ray_indices.index_select(0, kept), t_starts.index_select(0, kept), t_ends.index_select(0, kept)


def _shade(
    field: Field, rays_o: Tensor, rays_d: Tensor, ray_indices: Tensor, t_starts: Tensor, t_ends: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return premultiplied colour, opacity and depth of the rays."""
    sigmas, colours = field(_positions(rays_o, rays_d, ray_indices, t_starts, t_ends))
    return composite(sigmas, colours, ray_indices, t_starts, t_ends, len(rays_o))


def _positions(
    rays_o: Tensor, rays_d: Tensor, ray_indices: Tensor, t_starts: Tensor, t_ends: Tensor
) -> Tensor:
    """Return the midpoints of the samples (m, 3)."""
    t = (t_starts + t_ends)[:, None] / 2
    return torch.addcmul(rays_o.index_select(0, ray_indices), rays_d.index_select(0, ray_indices), t)
