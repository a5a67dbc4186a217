"""From a render to the depth that depth networks are trained on."""

import torch
from jaxtyping import Float
from torch import Tensor

from piva.cameras.poses import Intrinsics
from piva.cameras.rays import image_rays
from piva.nerf.render import Rendered

SOLID = 0.5  # opacity from which on a pixel shows something: mist has no depth to speak of


def z_depth(rendered: Rendered, c2w: Float[Tensor, "4 4"], intrinsics: Intrinsics) -> Float[Tensor, "h w"]:
    """Depth along the camera's viewing axis, in scene units, of a view that this camera rendered.

    0 where less than half of the light is stopped, and beside or behind the camera, where a fisheye may look. Without a graph.
    """
    _, towards = image_rays(c2w, intrinsics)
    cosine = -(towards @ c2w[:3, 2]).view_as(rendered.depth)  # the camera looks along its -z
    depth = torch.where(rendered.opacity >= SOLID, rendered.depth * cosine, 0.0)
    return depth.clamp(min=0).detach()
