"""What a depth ControlNet looks at."""

import torch
from jaxtyping import Float
from torch import Tensor


def depth_hint(depth: Float[Tensor, "b h w"]) -> Float[Tensor, "b 1 h w"]:
    """Inverse depth, 1 at the nearest point of each picture's foreground and 0 at its farthest and where nothing was hit.

    This is how depth ControlNets of the Stable Diffusion family see MiDaS' relative inverse depth.

    Args:
        depth: along the viewing axis, in any unit; 0 = no hit.
    """
    hit = depth > 0
    inverse = torch.where(hit, 1 / depth.clamp(min=1e-6), 0.0)
    far = torch.where(hit, inverse, torch.inf).amin(dim=(1, 2), keepdim=True)
    near = inverse.amax(dim=(1, 2), keepdim=True)
    hint = torch.where(hit, (inverse - far) / (near - far).clamp(min=1e-6), 0.0)
    return hint[:, None]
