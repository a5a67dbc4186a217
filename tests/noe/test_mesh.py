import numpy as np
import trimesh

from piva.cameras.lens import Lens
from piva.cameras.poses import orbit
from piva.noe.mesh import MeshRenderer, Surface


def cube(colour):
    return Surface(
        "cube",
        trimesh.creation.box((1, 1, 1)),
        lambda points: np.broadcast_to(colour, points.shape),
        smooth=False,
    )


def test_depth_is_along_the_axis_and_misses_are_empty():
    view = MeshRenderer([cube(np.float32((0.2, 0.4, 0.6)))]).render(orbit(-90, 0, 3.0), 33, 33, 33.0)
    np.testing.assert_allclose(view.depth[10:23, 10:23], 2.5, atol=1e-5)  # the whole face, its corners too
    assert view.part[16, 16] == 0
    assert (view.rgba[0, 0].tolist(), view.depth[0, 0], view.part[0, 0]) == ([0, 0, 0, 0], 0, -1)


def test_pixels_average_the_rays_that_hit():
    """The edge x = 0.5 crosses column 22 of 33: (0.5 / 2.5) * 27.5 + 16.5 = 22.0, moved half a sample."""
    lens = Lens(width=33, height=33, fx=27.5, fy=27.5, cx=16.5 + 0.5, cy=16.5)
    view = MeshRenderer([cube(np.float32((0.5, 0.5, 0.5)))]).render_lens(orbit(-90, 0, 3.0), lens)
    assert view.rgba[16, 21:24, 3].tolist() == [1, 0.5, 0]
    np.testing.assert_allclose(view.rgba[16, 22, :3], view.rgba[16, 21, :3])  # straight alpha
