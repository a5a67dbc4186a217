import subprocess
import sys

import numpy as np
import pytest
import torch

from piva.cameras.poses import focal_from_fov, hemisphere, orbit, pinhole, ring, sample_camera


def angles(c2w):
    x, y, z = c2w[:3, 3]
    return (
        np.degrees(np.arctan2(y, x)),
        np.degrees(np.arcsin(z / np.linalg.norm(c2w[:3, 3]))),
        np.linalg.norm(c2w[:3, 3]),
    )


def test_sampled_cameras_fill_their_ranges_and_look_at_the_origin():
    g = torch.Generator().manual_seed(0)
    azimuths, elevations, fovs, distances = [], [], [], []
    for _ in range(300):
        c2w, fov = sample_camera(g, (10, 60), (40, 70), (3, 4))
        azimuth, elevation, distance = angles(c2w)
        np.testing.assert_allclose(c2w[:3, 2] * distance, c2w[:3, 3], atol=1e-5)  # it looks along -z
        np.testing.assert_allclose(c2w[:3, :3].T @ c2w[:3, :3], np.eye(3), atol=1e-6)
        assert c2w[2, 0] == pytest.approx(0, abs=1e-6)  # level horizon
        for values, value in zip(
            (azimuths, elevations, fovs, distances), (azimuth, elevation, fov, distance), strict=True
        ):
            values.append(value)
    for values, low, high in ((azimuths, -180, 180), (elevations, 10, 60), (fovs, 40, 70), (distances, 3, 4)):
        assert low - 1e-3 <= min(values) <= low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) <= max(values) <= high + 1e-3
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


def test_the_same_generator_draws_the_same_camera():
    (a, fov_a), (b, fov_b) = (
        sample_camera(torch.Generator().manual_seed(5), (10, 60), (40, 70), (3, 4)) for _ in range(2)
    )
    assert fov_a == fov_b
    np.testing.assert_array_equal(a, b)


def test_a_ring_starts_at_the_front_and_goes_round():
    cameras = ring(4, 0, 2)
    np.testing.assert_allclose(cameras[:, :3, 3], [[0, -2, 0], [2, 0, 0], [0, 2, 0], [-2, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(ring(8, 15, 4)[0], orbit(-90, 15, 4))


def test_a_hemisphere_looks_down_at_the_origin():
    assert (hemisphere(50, 3.0)[:, 2, 3] > 0).all()


def test_a_pinhole_spans_its_field_of_view():
    lens = pinhole(90, 10)
    assert lens.fx == lens.fy == pytest.approx(focal_from_fov(90, 10)) == pytest.approx(5)
    assert (lens.cx, lens.cy, lens.width, lens.height) == (5, 5, 10, 10)


def test_cameras_need_no_torch():
    subprocess.run(
        [sys.executable, "-c", "import sys, piva.cameras.poses; sys.exit('torch' in sys.modules)"], check=True
    )
