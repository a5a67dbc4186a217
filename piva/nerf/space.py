"""Where a point of the world lies in a field of finite size."""

from jaxtyping import Float
from torch import Tensor


def into_cube(x: Float[Tensor, "m 3"], radius: float, levels: int) -> Float[Tensor, "m 3"]:
    """Points of the world in [-1, 1]^3.

    With one level the box [-radius, radius]^3 fills the cube. With more, all of space does: the box takes the middle half,
    [-1/2, 1/2]^3, and what lies beyond is contracted around it, x -> (2 - 1/|x|) x/|x| / 2 with the largest coordinate for |x|
    in units of the radius: mip-NeRF 360's contraction (Barron et al. 2022, Eq. 10) in the norm that nerfacto takes, in which a
    box stays a box.
    """
    place = x / radius
    if levels == 1:
        return place
    away = place.abs().amax(dim=-1, keepdim=True).clamp(min=1)
    return place * (2 - 1 / away) / (2 * away)
