import numpy as np
from PIL import Image

from piva.images import save_image
from piva.noe.mesh import Picture, differs


def picture(red=1.0, alpha=1.0, depth=2.0, part=0):
    rgba = np.array([[(red, 0, 0, alpha), (0, 0, 0, 0)]], np.float32)
    return Picture(rgba, np.array([[depth, 0]], np.float32), np.array([[part, -1]], np.int16))


def test_what_goes_into_files():
    view = picture(red=0.5, alpha=0.25, depth=1.2344, part=3)
    assert view.rgba_bytes().tolist() == [[[128, 0, 0, 64], [0, 0, 0, 0]]]
    assert view.rgb_bytes(np.ones(3)).tolist() == [
        [[223, 191, 191], [255, 255, 255]]
    ]  # 255 (0.5 * 0.25 + 0.75) = 223.1
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
