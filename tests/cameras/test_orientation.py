import numpy as np
import pytest

from piva.cameras.orientation import moved, upright
from piva.cameras.poses import hemisphere, orbit
from piva.errors import InputError


def anywhere(seed=0):
    """A turn, a scale and a shift."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    world = np.eye(4)
    world[:3, :3] = 0.3 * turn * np.linalg.det(turn)
    world[:3, 3] = rng.uniform(-5, 5, 3)
    return world


POSES = moved(anywhere(), hemisphere(20, 3.0).astype(np.float64))


def test_a_capture_stands_upright_in_the_middle_and_reaches_one():
    poses = moved(upright(POSES, "x", "up", "poses", True), POSES)
    up, places = poses[:, :3, 1].mean(axis=0), poses[:, :3, 3]
    np.testing.assert_allclose(up / np.linalg.norm(up), (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-12)
    assert np.abs(places).max() == pytest.approx(1, abs=1e-12)


def test_where_a_capture_lies_by_chance_makes_no_difference_but_for_its_turn_about_the_vertical():
    """Cameras keep their heights, their distances to each other and what each sees of the others."""
    first, second = (
        moved(w, p)
        for p in (POSES, moved(anywhere(1), POSES))
        for w in [upright(p, "x", "up", "poses", True)]
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
    world = upright(POSES, "x", orientation, centre, scale)
    there = moved(world, POSES)
    np.testing.assert_allclose(moved(np.linalg.inv(world), there), POSES, atol=1e-12)
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
    np.testing.assert_array_equal(upright(POSES, "x", "none", "none", False), np.eye(4))


def test_a_capture_that_is_upside_down_is_turned_over():
    poses = np.stack([orbit(a, 0, 2).astype(np.float64) for a in (0, 90, 180, 270)])
    poses = moved(np.diag([1.0, -1.0, -1.0, 1.0]), poses)
    np.testing.assert_allclose(
        moved(upright(poses, "x", "up", "poses", True), poses)[:, :3, 1], [[0, 0, 1]] * 4, atol=1e-6
    )


def test_cameras_that_say_nothing_are_refused():
    with pytest.raises(
        InputError,
        match="transforms.json: found cameras whose up directions cancel out.*dataset.orientation=none",
    ):
        upright(
            np.stack([np.diag(d) for d in ([1.0, 1, 1, 1], [1.0, -1, -1, 1])]),
            "transforms.json",
            "up",
            "poses",
            True,
        )
    with pytest.raises(InputError, match="all cameras in one place"):
        upright(np.stack([POSES[0]] * 3), "transforms.json", "up", "poses", True)
