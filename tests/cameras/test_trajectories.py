import numpy as np
import pytest

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit, ring
from piva.cameras.trajectories import interpolate_poses, turntable


def test_a_turntable_is_a_ring_of_square_views():
    trajectory = turntable(3, 16, 15, 90, 2.0)
    np.testing.assert_array_equal([c2w for c2w, _ in trajectory], ring(3, 15, 2.0))
    assert {lens for _, lens in trajectory} == {pinhole(90, 16)}


def test_halfway_between_two_poses_are_half_the_way_and_half_the_turn():
    middle = interpolate_poses(np.stack([orbit(10, 30, 2), orbit(50, 30, 2)]), 3)[1]
    axes = middle[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert np.linalg.det(axes) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        middle[:3, 3], (orbit(10, 30, 2)[:3, 3] + orbit(50, 30, 2)[:3, 3]) / 2, atol=1e-6
    )
    np.testing.assert_allclose(middle[:3, 0], orbit(30, 30, 2)[:3, 0], atol=1e-6)  # right: halfway about z
