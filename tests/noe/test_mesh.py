import numpy as np
import trimesh
from PIL import Image

from piva.cameras.lens import Lens
from piva.cameras.poses import orbit
from piva.images import save_image
from piva.noe.mesh import MeshRenderer, Picture, Surface, differs


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


def picture(red=1.0, alpha=1.0, depth=2.0, part=0):
    rgba = np.array([[(red, 0, 0, alpha), (0, 0, 0, 0)]], np.float32)
    return Picture(rgba, np.array([[depth, 0]], np.float32), np.array([[part, -1]], np.int16))


def test_what_goes_into_files():
    view = picture(red=0.5, alpha=0.25, depth=1.2344, part=3)
    assert view.rgba_bytes().tolist() == [[[128, 0, 0, 64], [0, 0, 0, 0]]]
    # 255 (0.5 * 0.25 + 0.75) = 223.1
    assert view.rgb_bytes(np.ones(3)).tolist() == [[[223, 191, 191], [255, 255, 255]]]
    assert view.depth_units().tolist() == [[1234, 0]]
    assert view.part_ids().tolist() == [[4, 0]]


def test_views_differ_by_colour_depth_or_the_name_of_the_part():
    names = ["", "cup", "handle"]
    same = picture(depth=2.0002)
    assert not differs(picture(), same, names, names).any()
    for other in (picture(red=0.9), picture(depth=2.001), picture(part=1)):
        assert differs(picture(), other, names, names).tolist() == [[True, False]]
    assert differs(picture(), picture(), names, ["", "vase"]).tolist() == [[True, False]]
    assert not differs(picture(), picture(part=1), names, ["", "brim", "cup"]).any()


def test_masks_are_saved_as_black_and_white(tmp_path):
    save_image(tmp_path / "mask.png", np.array([[True, False]]))
    assert np.asarray(Image.open(tmp_path / "mask.png")).tolist() == [[255, 0]]
