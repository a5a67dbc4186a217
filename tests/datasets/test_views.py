import numpy as np
import pytest
from PIL import Image
from scenes import edit_json, nerfstudio, picture, synthetic

from piva.datasets.views import check_views, front_view, read_views
from piva.errors import InputError


def test_both_formats_give_the_same_views(tmp_path):
    one, other = read_views(synthetic(tmp_path / "a")), read_views(nerfstudio(tmp_path / "b"))
    assert one.images.shape == (6, 16, 16, 4)
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.images[5], np.asarray(picture(5)))
    np.testing.assert_array_equal(one.c2w, other.c2w)
    assert (one.fx, one.fy, one.cx, one.cy) == pytest.approx((other.fx, other.fy, other.cx, other.cy))


def test_check_accepts_what_can_be_read(tmp_path):
    for folder in (synthetic(tmp_path / "a"), nerfstudio(tmp_path / "b")):
        check_views(folder)


def test_jpegs_without_alpha_are_opaque(tmp_path):
    folder = nerfstudio(tmp_path / "a")
    for path in list((folder / "images").iterdir()):
        Image.open(path).convert("RGB").save(path.with_suffix(".jpg"))
        path.unlink()
    text = (folder / "transforms.json").read_text().replace(".png", ".jpg")
    (folder / "transforms.json").write_text(text)
    check_views(folder)
    assert (read_views(folder).images[..., 3] == 255).all()


def test_the_front_is_the_first_test_frame(tmp_path):
    assert front_view(nerfstudio(tmp_path / "a")) == tmp_path / "a/images/0004.png"


def test_truncated_image_is_named(tmp_path):
    folder = nerfstudio(tmp_path / "a")
    path = folder / "images/0002.png"
    path.write_bytes(path.read_bytes()[:-60])
    for read in (check_views, read_views):
        with pytest.raises(InputError, match=r"0002\.png: found an unreadable file"):
            read(folder)


def test_sizes_must_agree(tmp_path):
    folder = nerfstudio(tmp_path / "a")
    picture(0, 24).save(folder / "images/0002.png")
    for read in (check_views, read_views):
        with pytest.raises(InputError, match=r"0002\.png: found 24x24 pixels, wanted 16x16"):
            read(folder)
    edit_json(folder / "transforms.json", lambda data: data.update(w=32))
    with pytest.raises(InputError, match=r"0000\.png: found 16x16 pixels, wanted 32x16"):
        check_views(folder)
