"""Space carving: emptying the rays of pixels that an edit wants to show what is behind the object.

Colours alone cannot: where two walls of a ray are opaque, either may go and the picture is the same, so that
neither has a gradient. Optical depth adds up along the ray, and each sample's has one.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d

from piva.cameras.lens import Lens
from piva.cameras.rays import image_rays
from piva.nerf.field import Field
from piva.nerf.occupancy import Occupancy

CONTRAST = 0.15  # least distance between two backgrounds, of the sqrt(3) there are
BLUR = 5  # pixels a side over which shares are averaged; of 64x64 pictures, decoded, single ones are wrong
LEAST = 0.07  # by which the share must rise; less is what they are wrong by
UNEXPLAINED = 0.5  # the most of a change that letting light through does not explain; the rest is paint
THERE = 0.1  # density of what belongs to the original; between empty nodes it is 0 to rounding
MOST = 0.98  # no ray is asked to be emptier


class Gone(NamedTuple):
    """The pixels of a view that are to vanish."""

    pixels: Int[Tensor, "n"]  # numbered row by row
    share: Float[Tensor, "n"]  # of the light behind the object that is to come through each


def see_through(
    pictures: Float[Tensor, "2 3 h w"], backgrounds: Float[Tensor, "2 3"]
) -> Float[Tensor, "h w"]:
    """Return the share of the light from behind that comes through each pixel of one view before two
    backgrounds: how much they differ in it, as a part of how much they differ (triangulation matting, Smith
    and Blinn 1996).
    """
    (one, other), between = pictures, backgrounds[0] - backgrounds[1]
    share: Tensor = ((one - other) * between[:, None, None]).sum(0) / between.square().sum()
    return share


def vanishing(
    before: Float[Tensor, "2 3 h w"],
    wanted: Float[Tensor, "2 3 h w"],
    backgrounds: Float[Tensor, "2 3"],
) -> Gone:
    """Return the pixels of one view before two backgrounds that are to let more of them through, and the
    share they are then to let through.

    A pixel counts only where the share rises by LEAST and that explains enough of its change. What is
    painted in the colour of one background shows before the other, and a colour that is tinted by its
    background still is paint if that is most of its change. Waits for the device.
    """
    shares = torch.stack([see_through(each, backgrounds) for each in (before, wanted)])
    was, share = _blurred(shares)
    more = (share - was) / (1 - was).clamp(min=1 - MOST)
    way, change = backgrounds[:, :, None, None] - before, wanted - before
    energies = torch.stack([change - more * way, change]).square().sum((1, 2))
    unexplained, whole = _blurred(energies)
    differ = (backgrounds[0] - backgrounds[1]).norm() > CONTRAST
    goes = differ & (share > was + LEAST) & (unexplained < UNEXPLAINED * whole)
    pixels = torch.nonzero(goes.flatten())[:, 0]
    return Gone(pixels, share.flatten()[pixels].clamp(max=MOST))


def _blurred(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    return avg_pool2d(maps, BLUR, 1, BLUR // 2, count_include_pad=False)


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
