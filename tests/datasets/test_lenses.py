import pytest

from piva.cameras.lens import Lens
from piva.datasets.lenses import read_lenses
from piva.errors import InputError

WHOLE = {"w": 64, "h": 48, "fl_x": 50.0, "fl_y": 49.0, "cx": 33.0, "cy": 23.0}
BENT = {"k1": -0.1, "k2": 0.03, "k3": -0.01, "k4": 0.002, "p1": 0.002, "p2": -0.001}


def read(tmp_path, frames, **top):
    return read_lenses(tmp_path / "transforms.json", {**top, "frames": frames}, (64, 48))


def lens(**changes):
    return Lens(**{"width": 64, "height": 48, "fx": 50.0, "fy": 49.0, "cx": 33.0, "cy": 23.0, **changes})


@pytest.mark.parametrize("model", ["OPENCV", "PINHOLE", "PERSPECTIVE", None])
def test_top_level_and_frames_mean_the_same(tmp_path, model):
    named = {"camera_model": model} if model else {}
    top = read(tmp_path, [{}, {}], **WHOLE, **BENT, **named)
    each = read(tmp_path, [{**WHOLE, **BENT}] * 2, **named)
    assert top == each == [lens(**BENT)] * 2


def test_each_frame_can_have_its_own(tmp_path):
    got = read(
        tmp_path, [{"fl_x": 50.0, "k1": 0.01}, {"fl_x": 51.5}], w=64, h=48, fl_y=49.0, cx=33.0, cy=23.0
    )
    assert got == [lens(k1=0.01), lens(fx=51.5)]


def test_what_is_left_out_is_a_pinhole_with_its_axis_in_the_middle(tmp_path):
    assert read(tmp_path, [{}], fl_x=20.0) == [lens(fx=20, fy=20, cx=32, cy=24)]
    assert read(tmp_path, [{}], camera_angle_x=2 * 0.5404195002705842)[0].fx == pytest.approx(
        32 / 0.6
    )  # tan 0.54... = 0.6


def test_a_fisheye_has_no_tangential_part(tmp_path):
    got = read(tmp_path, [{}], camera_model="OPENCV_FISHEYE", **WHOLE, **BENT)
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
def test_each_bad_key_has_its_one_line(tmp_path, frames, top, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, frames, **top)
    assert "transforms.json" in str(error.value)
    assert "\n" not in str(error.value)
