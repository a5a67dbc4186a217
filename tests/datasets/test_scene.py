from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers.scenes import edit_json, nerfstudio, picture, synthetic
from PIL import Image

from piva.datasets.edit import Capture
from piva.datasets.scene import check_views, front_view, read_views
from piva.errors import InputError

AS_IT_IS = Capture(downscale=None, orientation="none", centre="none", scale=False, near=0.1)


def big(folder, **changes):
    """A capture of 33x32 pixels, which no halving divides."""
    nerfstudio(folder, w=33, h=32, cx=16.5, cy=16, **changes)
    for i, path in enumerate(sorted((folder / "images").iterdir())):
        picture(i, 33).crop((0, 0, 33, 32)).save(path)
    return folder


def smaller(folder, name, size):
    """The folder of small pictures that another program made, marked by their first pixel."""
    (folder / name).mkdir()
    for i, path in enumerate(sorted((folder / "images").iterdir())):
        Image.new("RGB", size, (i, 1, 2)).save(folder / name / path.name)


def test_both_formats_give_the_same_views(tmp_path):
    one, other = read_views(synthetic(tmp_path / "a")), read_views(nerfstudio(tmp_path / "b"))
    assert one.images.shape == (6, 16, 16, 4)
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.images[5], np.asarray(picture(5)))
    np.testing.assert_array_equal(one.c2w, other.c2w)
    for a, b in zip(one.lenses, other.lenses, strict=True):
        assert asdict(a) == pytest.approx(asdict(b))


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


@pytest.mark.parametrize(("size", "factor"), [(40, 1), (17, 1), (16, 2), (9, 2), (8, 4), (4, 8), (1, 8)])
def test_captures_are_read_as_small_as_the_run_needs_them(tmp_path, size, factor):
    views = read_views(big(tmp_path / "a"), AS_IT_IS, size)
    assert views.images.shape == (6, 32 // factor, 33 // factor, 4)
    (lens,) = set(views.lenses)
    assert (lens.width, lens.height) == (33 // factor, 32 // factor)
    assert (lens.cx / lens.width, lens.cy / lens.height) == (0.5, 0.5)
    assert lens.fx / lens.width == pytest.approx(read_views(tmp_path / "a").lenses[0].fx / 33)
    assert views.near == 0.1


def test_a_shrunk_pixel_is_the_mean_of_what_it_covers(tmp_path):
    folder = nerfstudio(tmp_path / "a")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB").save(
        folder / "images/0000.png"
    )
    views = read_views(folder, AS_IT_IS, 8)
    wanted = np.arange(256.0).reshape(8, 2, 8, 2).mean(axis=(1, 3))
    assert np.abs(views.images[0, ..., 0] - wanted).max() <= 0.5
    assert (views.images[0, ..., 3] == 255).all()


@pytest.mark.parametrize("size", [(16, 16), (17, 16)])
def test_a_folder_of_smaller_pictures_is_read_where_there_is_one(tmp_path, size):
    folder = big(tmp_path / "a")
    smaller(folder, "images_2", size)
    views = read_views(folder, replace(AS_IT_IS, downscale=2))
    assert views.images.shape == (6, size[1], size[0], 4)
    assert views.images[3, 0, 0].tolist() == [3, 1, 2, 255]
    assert (views.lenses[0].width, views.lenses[0].cx) == (size[0], size[0] / 2)
    assert read_views(folder, AS_IT_IS, 32).images.shape == (6, 32, 33, 4)


def test_what_is_wrong_in_a_folder_of_smaller_pictures_is_named(tmp_path):
    folder = big(tmp_path / "a")
    smaller(folder, "images_2", (16, 16))
    half = replace(AS_IT_IS, downscale=2)
    (folder / "images_2/0003.png").unlink()
    with pytest.raises(InputError, match=r"images_2/0003\.png: found no such file"):
        read_views(folder, half)
    picture(0, 12).save(folder / "images_2/0003.png")
    with pytest.raises(InputError, match=r"images_2/0003\.png: found 12x12 pixels, wanted 16x16"):
        read_views(folder, half)
    picture(0, 12).save(folder / "images_2/0000.png")
    with pytest.raises(InputError, match=r"images_2/0000\.png: found 12x12 pixels, wanted 16x16"):
        read_views(folder, half)
    for path in list((folder / "images_2").iterdir()):
        path.unlink()
    (folder / "images_2").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "images_2").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a path inside"):
        read_views(folder, half)


def masked(folder):
    (folder / "masks").mkdir()

    def name(data):
        for i, frame in enumerate(data["frames"]):
            mask = np.full((16, 16), 255, np.uint8)
            mask[i, 3:5] = 0
            Image.fromarray(mask).save(folder / f"masks/{i}.png")
            frame["mask_path"] = f"masks/{i}.png"

    edit_json(folder / "transforms.json", name)
    return folder


def test_masks_say_where_not_to_look(tmp_path):
    folder = masked(nerfstudio(tmp_path / "a"))
    whole, half = read_views(folder, AS_IT_IS), read_views(folder, replace(AS_IT_IS, downscale=2))
    assert [np.argwhere(~keep).tolist() for keep in whole.keep] == [[[i, 3], [i, 4]] for i in range(6)]
    assert [np.argwhere(~keep).tolist() for keep in half.keep] == [
        [[i // 2, 1], [i // 2, 2]] for i in range(6)
    ]  # half is not seen
    assert read_views(nerfstudio(tmp_path / "b")).keep is None


def test_a_mask_of_another_size_is_named(tmp_path):
    folder = masked(nerfstudio(tmp_path / "a"))
    Image.new("L", (16, 12), 255).save(folder / "masks/4.png")
    for read in (check_views, read_views):
        with pytest.raises(InputError, match=r"masks/4\.png: found 16x12 pixels, wanted 16x16"):
            read(folder)


def test_a_captures_world_can_be_undone(tmp_path):
    folder = nerfstudio(tmp_path / "a")
    plain = read_views(folder)
    views = read_views(folder, replace(AS_IT_IS, orientation=None, centre="poses", scale=True))
    np.testing.assert_array_equal(plain.world, np.eye(4))
    assert np.abs(views.c2w[:, :3, 3]).max() == pytest.approx(1)
    back = np.linalg.inv(views.world)
    places = np.concatenate([views.c2w[:, :3, 3], np.ones((6, 1))], axis=1) @ back.T
    np.testing.assert_allclose(places[:, :3], plain.c2w[:, :3, 3], atol=1e-5)


def test_a_file_can_ask_for_its_own_orientation(tmp_path):
    folder = nerfstudio(tmp_path / "a", orientation_override="none")
    for asked, turned in ((None, False), ("none", False), ("up", True)):
        world = read_views(folder, replace(AS_IT_IS, orientation=asked)).world
        assert bool(np.abs(world - np.eye(4)).max() > 1e-3) == turned
    edit_json(folder / "transforms.json", lambda data: data.update(orientation_override="pca"))
    with pytest.raises(
        InputError, match="orientation_override: found 'pca', wanted up or none; set dataset.orientation"
    ):
        check_views(folder, replace(AS_IT_IS, orientation=None))
    check_views(folder, AS_IT_IS)
