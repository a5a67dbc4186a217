import json
import math

import numpy as np
import pytest
from scenes import SIZE, edit_json, nerfstudio, picture, synthetic, write

from piva.datasets.transforms import read_transforms
from piva.errors import InputError


def rays(scene):
    """Origins and unit directions through all pixels, written out from the definition."""
    x, y = np.meshgrid(np.arange(scene.width) + 0.5, np.arange(scene.height) + 0.5)
    camera = np.stack([(x - scene.cx) / scene.fx, -(y - scene.cy) / scene.fy, -np.ones_like(x)], axis=-1)
    directions = np.einsum("nij,hwj->nhwi", scene.c2w[:, :3, :3], camera / np.linalg.norm(camera, axis=-1, keepdims=True))
    return scene.c2w[:, :3, 3], directions


def test_a_scene_and_its_nerfstudio_twin_have_the_same_rays(tmp_path):
    one, other = read_transforms(synthetic(tmp_path / "a")), read_transforms(nerfstudio(tmp_path / "b"))
    for a, b in zip(rays(one), rays(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert (one.train, one.test) == (other.train, other.test) == ([0, 1, 2, 3], [4, 5])
    assert one.names[0] == "train/r_0.png"
    assert one.fx == pytest.approx(0.5 * SIZE / math.tan(0.5 * 0.6911112070083618))


def test_without_a_split_every_tenth_frame_in_name_order_is_held_out(tmp_path):
    folder = nerfstudio(tmp_path / "a", 24, 1, train_filenames=None, test_filenames=None)
    edit_json(folder / "transforms.json", lambda data: data["frames"].reverse())
    scene = read_transforms(folder)
    assert [scene.names[i] for i in scene.test] == ["images/0020.png", "images/0010.png", "images/0000.png"]
    assert sorted(scene.train + scene.test) == list(range(25))


def test_synthetic_without_a_test_file_holds_out_frames(tmp_path):
    folder = synthetic(tmp_path / "a")
    (folder / "transforms_test.json").unlink()
    assert read_transforms(folder).test == [0]


def test_one_named_side_of_the_split_leaves_the_rest_to_the_other(tmp_path):
    scene = read_transforms(nerfstudio(tmp_path / "a", test_filenames=["./images/0002.png"], train_filenames=None))
    assert (scene.test, scene.train) == ([2], [0, 1, 3, 4, 5])


def test_equal_intrinsics_a_frame_are_accepted_and_different_ones_refused(tmp_path):
    folder = nerfstudio(tmp_path / "a", fl_x=None, fl_y=None)
    edit_json(folder / "transforms.json", lambda data: [frame.update(fl_x=20.0) for frame in data["frames"]])
    assert read_transforms(folder).fx == read_transforms(folder).fy == 20
    edit_json(folder / "transforms.json", lambda data: data["frames"][3].update(fl_x=21.0))
    with pytest.raises(InputError, match="fl_x: found different values a frame"):
        read_transforms(folder)


BAD_NERFSTUDIO = {
    "no such folder or file": (lambda d: d.clear(), "frames: found nothing"),
    "no frames": (lambda d: d.update(frames=[]), "frames: found an empty list"),
    "frame is text": (lambda d: d["frames"].append("x"), r"frames\[6\]: found 'x', wanted an object"),
    "no path": (lambda d: d["frames"][1].pop("file_path"), r"frames\[1\]: file_path: found nothing"),
    "no matrix": (lambda d: d["frames"][1].pop("transform_matrix"), r"frames\[1\]: transform_matrix: found nothing"),
    "3x4": (lambda d: d["frames"][2]["transform_matrix"].pop(), r"frames\[2\]\.transform_matrix: found shape 3x4"),
    "ragged": (lambda d: d["frames"][2]["transform_matrix"][0].pop(), "ragged"),
    "words": (lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(0, "x"), "non-numeric"),
    "huge": (lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(0, 10**400), "non-numeric"),
    "nan": (lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(0, float("nan")), "not finite"),
    "missing image": (lambda d: d["frames"][0].update(file_path="images/9999.png"), "no image .*9999"),
    "escape": (lambda d: d["frames"][0].update(file_path="../outside.png"), "a path inside"),
    "absolute": (lambda d: d["frames"][0].update(file_path="/etc/passwd"), "a path inside"),
    "distortion": (lambda d: d.update(k1=0.02), "k1: found lens distortion 0.02.*not supported yet: undistort"),
    "distorted frame": (lambda d: d["frames"][0].update(p2=-1e-3), "p2: found lens distortion"),
    "fisheye": (lambda d: d.update(camera_model="OPENCV_FISHEYE"), "camera_model: .*undistort"),
    "no focal": (lambda d: d.pop("fl_x"), "fl_x: found nothing"),
    "negative focal": (lambda d: d.update(fl_x=-3), "fl_x: found -3.*positive"),
    "focal is text": (lambda d: d.update(fl_x="3"), "fl_x: found '3', wanted a finite number"),
    "unknown test frame": (lambda d: d.update(test_filenames=["a.png"]), "test_filenames: found 'a.png'"),
    "all frames test": (
        lambda d: d.update(test_filenames=d["train_filenames"] + d["test_filenames"], train_filenames=[]),
        "0 train",
    ),
}


@pytest.mark.parametrize("case", BAD_NERFSTUDIO)
def test_each_bad_key_has_its_one_line(tmp_path, case):
    change, message = BAD_NERFSTUDIO[case]
    folder = nerfstudio(tmp_path / "a")
    picture(0).save(tmp_path / "outside.png")
    edit_json(folder / "transforms.json", change)
    with pytest.raises(InputError, match=message) as error:
        read_transforms(folder)
    assert "transforms.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_images_reached_by_a_link_out_of_the_scene_are_refused(tmp_path):
    folder = nerfstudio(tmp_path / "a")
    picture(0).save(tmp_path / "outside.png")
    (folder / "images/0003.png").unlink()
    (folder / "images/0003.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(InputError, match="a path inside"):
        read_transforms(folder)


def test_folders_without_a_scene(tmp_path):
    with pytest.raises(InputError, match="neither"):
        read_transforms(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_transforms(tmp_path / "nowhere")


def test_synthetic_angle_is_checked(tmp_path):
    folder = synthetic(tmp_path / "a")
    test = json.loads((folder / "transforms_test.json").read_text())
    write(folder / "transforms_test.json", {**test, "camera_angle_x": 0.5})
    with pytest.raises(InputError, match=r"camera_angle_x: found 0\.5"):
        read_transforms(folder)
    (folder / "transforms_test.json").unlink()
    edit_json(folder / "transforms_train.json", lambda data: data.update(camera_angle_x=4))
    with pytest.raises(InputError, match="field of view"):
        read_transforms(folder)
