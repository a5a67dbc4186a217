"""Space carving: emptying the rays of pixels that an edit wants to show what is behind the object.

Colours alone cannot: where two walls of a ray are opaque, either may go and the picture is the same, so that
neither has a gradient. Optical depth adds up along the ray, and each sample's has one.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from piva.cameras.lens import Lens
from piva.cameras.rays import image_rays
from piva.nerf.field import Field
from piva.nerf.occupancy import Occupancy

CONTRAST = 0.3  # least distance of a colour from the background's, of the sqrt(3) there are
ALONG = 0.95  # least cosine between a pixel's change and the way to the background
LEAST = 0.2  # of that way; less is what decoded latents are wrong by
THERE = 0.1  # density of what belongs to the original; between empty nodes it is 0 to rounding
MOST = 0.98  # no ray is asked to be emptier


class Gone(NamedTuple):
    """The pixels of a view that are to vanish."""

    pixels: Int[Tensor, "n"]  # numbered row by row
    share: Float[Tensor, "n"]  # of the light behind the object that is to come through each


def vanishing(
    before: Float[Tensor, "3 h w"],
    wanted: Float[Tensor, "3 h w"],
    background: Float[Tensor, "3"],
) -> Gone:
    """Return the pixels that are asked to go toward the background, and how far: the rest are of its colour
    already, or go elsewhere. Waits for the device.
    """
    way, change = (background[:, None, None] - before).flatten(1), (wanted - before).flatten(1)
    length, moved, along = way.square().sum(0), change.square().sum(0), (way * change).sum(0)
    share = along / length.clamp(min=CONTRAST**2)
    goes = (length > CONTRAST**2) & (along > ALONG * (length * moved).sqrt()) & (share > LEAST)
    pixels = torch.nonzero(goes)[:, 0]
    return Gone(pixels, share[pixels].clamp(max=MOST))


def excess_depth(
    field: Field,
    original: Field,
    occupancy: Occupancy,
    camera: tuple[Float[Tensor, "4 4"], Lens],
    gone: Gone,
    step: float,
    near: float = 0.0,
    cone: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the sum over rays of the optical depth beyond -log(share), with which this share of the light
    from behind comes through; differentiable in the field's parameters.

    Rays are marched as in `piva.nerf.render.render`, but to their end: what is hidden counts. Only where the
    `original` is: views disagree about what is new, and of two wishes, more and less of it, carving would
    grant the second alone.
    """
    with torch.no_grad():
        rays_o, rays_d = (rays[gone.pixels].contiguous() for rays in image_rays(*camera))
        start = torch.full_like(rays_o[:, 0], near)
        of, t_starts, t_ends = occupancy.sample(rays_o, rays_d, start, step, cone)
        t = (t_starts + t_ends)[:, None] / 2
        x = torch.addcmul(rays_o.index_select(0, of), rays_d.index_select(0, of), t)
        length = torch.where(original.density(x) > THERE, t_ends - t_starts, 0.0)
    depth = torch.zeros_like(gone.share).index_add(0, of, field.density(x) * length)
    return (depth + gone.share.log()).relu().sum()
