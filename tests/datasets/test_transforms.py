import json
import math

import numpy as np
import pytest
from helpers.scenes import SIZE, edit_json, nerfstudio, picture, synthetic, write

from piva.cameras.lens import Lens
from piva.datasets.transforms import read_lenses, read_transforms
from piva.errors import InputError


def rays(scene):
    """Origins and unit directions through all pixels, written out from the definition."""
    lens = scene.lenses[0]
    assert lens.is_pinhole
    assert set(scene.lenses) == {lens}
    x, y = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    camera = np.stack([(x - lens.cx) / lens.fx, -(y - lens.cy) / lens.fy, -np.ones_like(x)], axis=-1)
    directions = np.einsum(
        "nij,hwj->nhwi", scene.c2w[:, :3, :3], camera / np.linalg.norm(camera, axis=-1, keepdims=True)
    )
    return scene.c2w[:, :3, 3], directions


def test_a_scene_in_both_formats_has_the_same_rays(tmp_path):
    one, other = read_transforms(synthetic(tmp_path / "a")), read_transforms(nerfstudio(tmp_path / "b"))
    for a, b in zip(rays(one), rays(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert (one.train, one.test) == (other.train, other.test) == ([0, 1, 2, 3], [4, 5])
    assert one.names[0] == "train/r_0.png"
    assert one.lenses[0].fx == pytest.approx(0.5 * SIZE / math.tan(0.5 * 0.6911112070083618))


def test_without_a_split_nine_tenths_in_name_order_are_for_training_as_in_nerfstudio(tmp_path):
    """Its fraction split: 90 % rounded up, spread evenly by truncated linspace; the others are for
    evaluation.
    """
    folder = nerfstudio(tmp_path / "a", 24, 1, train_filenames=None, test_filenames=None)
    edit_json(folder / "transforms.json", lambda data: data["frames"].reverse())
    scene = read_transforms(folder)
    chosen = {int(i * 24 / 22) for i in range(23)}  # 23 of 25
    assert [scene.names[i] for i in scene.test] == [
        f"images/{i:04d}.png" for i in range(25) if i not in chosen
    ]
    assert [scene.names[i] for i in scene.train] == [f"images/{i:04d}.png" for i in sorted(chosen)]


def test_a_short_capture_without_a_split_keeps_a_frame_for_evaluation(tmp_path):
    scene = read_transforms(nerfstudio(tmp_path / "a", 4, 1, train_filenames=None, test_filenames=None))
    assert (len(scene.train), len(scene.test)) == (4, 1)


def test_synthetic_without_a_test_file_holds_out_frames(tmp_path):
    folder = synthetic(tmp_path / "a")
    (folder / "transforms_test.json").unlink()
    assert read_transforms(folder).test == [0]


def test_one_named_side_of_the_split_leaves_the_rest_to_the_other(tmp_path):
    scene = read_transforms(
        nerfstudio(tmp_path / "a", test_filenames=["./images/0002.png"], train_filenames=None)
    )
    assert (scene.test, scene.train) == ([2], [0, 1, 3, 4, 5])


BAD_NERFSTUDIO = {
    "no such folder or file": (lambda d: d.clear(), "frames: found nothing"),
    "no frames": (lambda d: d.update(frames=[]), "frames: found an empty list"),
    "frame is text": (lambda d: d["frames"].append("x"), r"frames\[6\]: found 'x', wanted an object"),
    "no path": (lambda d: d["frames"][1].pop("file_path"), r"frames\[1\]: file_path: found nothing"),
    "no matrix": (
        lambda d: d["frames"][1].pop("transform_matrix"),
        r"frames\[1\]: transform_matrix: found nothing",
    ),
    "3x4": (
        lambda d: d["frames"][2]["transform_matrix"].pop(),
        r"frames\[2\]\.transform_matrix: found shape 3x4",
    ),
    "ragged": (lambda d: d["frames"][2]["transform_matrix"][0].pop(), "ragged"),
    "words": (lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(0, "x"), "non-numeric"),
    "huge": (lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(0, 10**400), "non-numeric"),
    "nan": (lambda d: d["frames"][2]["transform_matrix"][0].__setitem__(0, float("nan")), "not finite"),
    "missing image": (lambda d: d["frames"][0].update(file_path="images/9999.png"), "no image .*9999"),
    "escape": (lambda d: d["frames"][0].update(file_path="../outside.png"), "a path inside"),
    "absolute": (lambda d: d["frames"][0].update(file_path="/etc/passwd"), "a path inside"),
    "mirrored": (
        lambda d: _row(d, 2, 0, -1),
        r"frames\[2\]\.transform_matrix: found a matrix that .*mirrors",
    ),
    "scaled": (
        lambda d: [_row(d, 2, row, 2) for row in range(3)],
        r"frames\[2\]\.transform_matrix: found a matrix that scales",
    ),
    "last row": (
        lambda d: d["frames"][2]["transform_matrix"][3].__setitem__(0, 1),
        r"frames\[2\]\.transform_matrix: found a",
    ),
    "some masks": (
        lambda d: d["frames"][0].update(mask_path="images/0000.png"),
        r"frames\[1\]: mask_path: found nothing",
    ),
    "missing mask": (
        lambda d: _masks(d, "masks/none.png"),
        r"frames\[0\]\.mask_path: found no image .*masks/none\.png",
    ),
    "mask outside": (lambda d: _masks(d, "../outside.png"), r"frames\[0\]\.mask_path: .*a path inside"),
    "unknown test frame": (lambda d: d.update(test_filenames=["a.png"]), "test_filenames: found 'a.png'"),
    "all frames test": (
        lambda d: d.update(test_filenames=d["train_filenames"] + d["test_filenames"], train_filenames=[]),
        "0 train",
    ),
}


def _row(data, frame, row, factor):
    axes = data["frames"][frame]["transform_matrix"]
    axes[row] = [factor * value for value in axes[row][:3]] + axes[row][3:]


def _masks(data, name):
    for frame in data["frames"]:
        frame["mask_path"] = name


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


def test_a_frame_may_keep_the_extension_its_picture_had_before(tmp_path):
    folder = nerfstudio(tmp_path / "a")

    def rename(data):
        data["frames"][3]["file_path"] = data["train_filenames"][3] = "images/0003.jpg"

    edit_json(folder / "transforms.json", rename)
    scene = read_transforms(folder)
    assert (scene.names[3], scene.train) == ("images/0003.png", [0, 1, 2, 3])


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


WHOLE = {"w": 64, "h": 48, "fl_x": 50.0, "fl_y": 49.0, "cx": 33.0, "cy": 23.0}
BENT = {"k1": -0.1, "k2": 0.03, "k3": -0.01, "k4": 0.002, "p1": 0.002, "p2": -0.001}


def read_frames(tmp_path, frames, **top):
    return read_lenses(tmp_path / "transforms.json", {**top, "frames": frames}, (64, 48))


def lens(**changes):
    return Lens(**{"width": 64, "height": 48, "fx": 50.0, "fy": 49.0, "cx": 33.0, "cy": 23.0, **changes})


@pytest.mark.parametrize("model", ["OPENCV", "PINHOLE", "PERSPECTIVE", None])
def test_top_level_and_frames_mean_the_same(tmp_path, model):
    named = {"camera_model": model} if model else {}
    top = read_frames(tmp_path, [{}, {}], **WHOLE, **BENT, **named)
    each = read_frames(tmp_path, [{**WHOLE, **BENT}] * 2, **named)
    assert top == each == [lens(**BENT)] * 2


def test_each_frame_can_have_its_own(tmp_path):
    got = read_frames(
        tmp_path, [{"fl_x": 50.0, "k1": 0.01}, {"fl_x": 51.5}], w=64, h=48, fl_y=49.0, cx=33.0, cy=23.0
    )
    assert got == [lens(k1=0.01), lens(fx=51.5)]


def test_what_is_left_out_is_a_pinhole_with_its_axis_in_the_middle(tmp_path):
    assert read_frames(tmp_path, [{}], fl_x=20.0) == [lens(fx=20, fy=20, cx=32, cy=24)]
    assert read_frames(tmp_path, [{}], camera_angle_x=2 * 0.5404195002705842)[0].fx == pytest.approx(
        32 / 0.6
    )  # tan 0.54... = 0.6


def test_a_fisheye_has_no_tangential_part(tmp_path):
    got = read_frames(tmp_path, [{}], camera_model="OPENCV_FISHEYE", **WHOLE, **BENT)
    assert got == [lens(**{**BENT, "p1": 0, "p2": 0}, fisheye=True)]


@pytest.mark.parametrize(
    ("frames", "top", "message"),
    [
        (
            [{}],
            {"camera_model": "EQUIRECTANGULAR"},
            "camera_model: found 'EQUIRECTANGULAR', wanted one of OPENCV, .*undistort",
        ),
        ([{"camera_model": 3}], {}, "camera_model: found 3"),
        ([{}], {"w": 64}, r"fl_x: found nothing, wanted a focal length"),
        ([{}], {"fl_x": -3}, "fl_x: found -3, wanted a positive number"),
        ([{"fl_x": "3"}], {}, r"frames\[0\]\.fl_x: found '3', wanted a finite number"),
        ([{}], {"fl_x": 50, "k1": float("nan")}, "k1: found nan, wanted a finite number"),
        (
            [{"w": 64}, {"w": 32}],
            {"fl_x": 50},
            r"frames\[1\]: w, h: found 32x48 pixels, wanted 64x48 like frames\[0\]",
        ),
        (
            [{}],
            {"fl_x": 50, "k1": -1.5},
            r"frames\[0\]: found lens distortion k1 -1\.5, .* folds the picture.*undistort",
        ),
        ([{}], {"camera_angle_x": 4}, r"camera_angle_x: found 4.*field of view"),
    ],
)
def test_each_bad_intrinsic_has_its_one_line(tmp_path, frames, top, message):
    with pytest.raises(InputError, match=message) as error:
        read_frames(tmp_path, frames, **top)
    assert "transforms.json" in str(error.value)
    assert "\n" not in str(error.value)
