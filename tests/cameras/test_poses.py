import subprocess
import sys

import numpy as np
import pytest
import torch

from piva.cameras.lens import focal_from_fov, pinhole
from piva.cameras.poses import hemisphere, orbit, orient_and_center, ring, sample_camera, transform_poses
from piva.errors import InputError


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


def anywhere(seed=0):
    """A turn, a scale and a shift."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    world = np.eye(4)
    world[:3, :3] = 0.3 * turn * np.linalg.det(turn)
    world[:3, 3] = rng.uniform(-5, 5, 3)
    return world


POSES = transform_poses(anywhere(), hemisphere(20, 3.0).astype(np.float64))


def test_a_capture_stands_upright_in_the_middle_and_reaches_one():
    poses = transform_poses(orient_and_center(POSES, "x", "up", "poses", True), POSES)
    up, places = poses[:, :3, 1].mean(axis=0), poses[:, :3, 3]
    np.testing.assert_allclose(up / np.linalg.norm(up), (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-12)
    assert np.abs(places).max() == pytest.approx(1, abs=1e-12)


def test_where_a_capture_lies_by_chance_makes_no_difference_but_for_its_turn_about_the_vertical():
    """Cameras keep their heights, their distances to each other and what each sees of the others."""
    first, second = (
        transform_poses(w, p)
        for p in (POSES, transform_poses(anywhere(1), POSES))
        for w in [orient_and_center(p, "x", "up", "poses", True)]
    )
    a, b = first[:, :3, 3], second[:, :3, 3]
    shape_a, shape_b = (np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (a, b))
    np.testing.assert_allclose(shape_a / shape_a.max(), shape_b / shape_b.max(), atol=1e-12)
    np.testing.assert_allclose(a[:, 2] / shape_a.max(), b[:, 2] / shape_b.max(), atol=1e-12)
    for i in range(3):
        seen = [np.einsum("ji,j->i", p[i, :3, :3], p[7, :3, 3] - p[i, :3, 3]) for p in (first, second)]
        np.testing.assert_allclose(*(s / np.linalg.norm(s) for s in seen), atol=1e-12)


@pytest.mark.parametrize(
    ("orientation", "centre", "scale"),
    [("up", "poses", True), ("none", "poses", False), ("up", "none", True)],
)
def test_the_way_back(orientation, centre, scale):
    world = orient_and_center(POSES, "x", orientation, centre, scale)
    there = transform_poses(world, POSES)
    np.testing.assert_allclose(transform_poses(np.linalg.inv(world), there), POSES, atol=1e-12)
    axes = there[:, :3, :3]
    np.testing.assert_allclose(
        axes @ axes.swapaxes(1, 2), np.broadcast_to(np.eye(3), axes.shape), atol=1e-6
    )  # as float32 has them
    assert (np.linalg.det(axes) > 0).all()
    # A point two focal lengths in front of a camera is there in both worlds.
    for before, after in zip(POSES, there, strict=True):
        point = np.append(before[:3, 3] - 2 * before[:3, 2], 1)
        size = np.cbrt(np.linalg.det(world[:3, :3]))
        np.testing.assert_allclose((world @ point)[:3], after[:3, 3] - 2 * size * after[:3, 2], atol=1e-12)


def test_nothing_asked_for_nothing_done():
    np.testing.assert_array_equal(orient_and_center(POSES, "x", "none", "none", False), np.eye(4))


def test_a_capture_that_is_upside_down_is_turned_over():
    poses = np.stack([orbit(a, 0, 2).astype(np.float64) for a in (0, 90, 180, 270)])
    poses = transform_poses(np.diag([1.0, -1.0, -1.0, 1.0]), poses)
    np.testing.assert_allclose(
        transform_poses(orient_and_center(poses, "x", "up", "poses", True), poses)[:, :3, 1],
        [[0, 0, 1]] * 4,
        atol=1e-6,
    )


def test_cameras_that_say_nothing_are_refused():
    with pytest.raises(
        InputError,
        match="transforms.json: found cameras whose up directions cancel out.*dataset.orientation=none",
    ):
        orient_and_center(
            np.stack([np.diag(d) for d in ([1.0, 1, 1, 1], [1.0, -1, -1, 1])]),
            "transforms.json",
            "up",
            "poses",
            True,
        )
    with pytest.raises(InputError, match="all cameras in one place"):
        orient_and_center(np.stack([POSES[0]] * 3), "transforms.json", "up", "poses", True)
