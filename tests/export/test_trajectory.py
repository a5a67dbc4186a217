"""Camera paths: nerfstudio's format, and what is wrong with a file."""

import json
import re

import numpy as np
import pytest

from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.export.trajectory import read_camera_path


def write(folder, change=lambda data: None):
    cameras = [
        {"camera_to_world": orbit(a, 10, 3.0).astype(float).ravel().tolist(), "fov": 60.0, "aspect": 1.5}
        for a in (-90, 0, 45)
    ]
    data = {
        "camera_type": "perspective",
        "render_width": 96,
        "render_height": 64,
        "fps": 12,
        "seconds": 4,
        "camera_path": cameras,
    }
    change(data)
    path = folder / "path.json"
    path.write_text(json.dumps(data))
    return path


def test_poses_and_the_vertical_field_of_view(tmp_path):
    """nerfstudio: the focal length is (height / 2) / tan(fov / 2), for both axes."""
    cameras, fps = read_camera_path(write(tmp_path))
    assert (len(cameras), fps) == (3, 12)
    c2w, lens = cameras[1]
    np.testing.assert_allclose(c2w, orbit(0, 10, 3.0), atol=1e-6)
    assert (lens.width, lens.height, lens.cx, lens.cy) == (96, 64, 48, 32)
    assert lens.fx == lens.fy == pytest.approx(32 / np.tan(np.radians(30)))


def test_size_and_fps_of_the_settings_win(tmp_path):
    cameras, fps = read_camera_path(write(tmp_path), 48, 5)
    assert (cameras[0][1].width, cameras[0][1].height, fps) == (48, 32, 5)


def test_without_a_size_the_aspect_says_the_proportions(tmp_path):
    def change(data):
        del data["render_width"], data["render_height"], data["fps"]

    cameras, fps = read_camera_path(write(tmp_path, change))
    assert (cameras[0][1].width, cameras[0][1].height, fps) == (512, 342, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("camera_path"), "camera_path: found nothing"),
        (lambda data: data.update(camera_path=[]), "camera_path: found an empty list"),
        (lambda data: data.update(camera_path=[3]), "camera_path[0]: found 3, wanted an object"),
        (lambda data: data.update(camera_type="fisheye"), "camera_type: found 'fisheye', wanted perspective"),
        (lambda data: data.update(render_width=10**9), "render_width: found 1e+09"),
        (lambda data: data.update(fps=0), "fps: found 0"),
        (lambda data: data["camera_path"][1].pop("fov"), "camera_path[1]: fov: found None"),
        (lambda data: data["camera_path"][1].update(fov=180), "camera_path[1]: fov: found 180"),
        (
            lambda data: data["camera_path"][2].update(camera_to_world=[1.0] * 12),
            "camera_path[2].camera_to_world: found shape 12",
        ),
        (
            lambda data: data["camera_path"][2].update(camera_to_world=[1.0] * 16),
            "camera_path[2].camera_to_world: found a matrix",
        ),
        (
            lambda data: data["camera_path"][2].update(camera_to_world=["x"] * 16),
            "camera_path[2].camera_to_world: found ragged",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    with pytest.raises(InputError, match=re.escape(f"path.json: {message}")):
        read_camera_path(write(tmp_path, change))


def test_a_file_that_is_not_json(tmp_path):
    (tmp_path / "path.json").write_text("{")
    with pytest.raises(InputError, match="path.json, line 1"):
        read_camera_path(tmp_path / "path.json")
