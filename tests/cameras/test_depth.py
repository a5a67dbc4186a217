from dataclasses import replace

import torch

from piva.cameras.depth import z_depth
from piva.cameras.lens import Lens
from piva.cameras.poses import orbit, pinhole
from piva.cameras.rays import image_rays
from piva.nerf.render import Rendered

C2W = torch.from_numpy(orbit(30, 20, 3.0))


def wall(lens: Lens, away: float) -> Rendered:
    """What a camera sees of a plane across its axis, at this depth: oblique rays are longer."""
    _, towards = image_rays(C2W, lens)
    depth = (away / (towards @ -C2W[:3, 2])).view(lens.height, lens.width)
    return Rendered(torch.zeros(*depth.shape, 3), torch.ones_like(depth), depth)


def test_a_plane_across_the_axis_has_one_depth_through_any_lens() -> None:
    for lens in (
        pinhole(70, 9),
        replace(pinhole(70, 9), k1=-0.2, p1=0.01),
        replace(pinhole(70, 9), fisheye=True, k1=0.1),
    ):
        seen = wall(lens, 2.5)
        assert seen.depth.max() > 2.8
        torch.testing.assert_close(z_depth(seen, C2W, lens), torch.full((9, 9), 2.5))


def test_mist_and_what_lies_behind_a_fisheye_have_none() -> None:
    lens = replace(pinhole(70, 9), fx=2.0, fy=2.0, fisheye=True)  # its corners look backwards
    seen = Rendered(torch.zeros(9, 9, 3), torch.ones(9, 9), torch.ones(9, 9))
    seen.opacity[4, 4] = 0.3
    depth = z_depth(seen, C2W, lens)
    assert depth[4, 4] == depth[0, 0] == 0
    assert depth[4, 5] > 0.8
