import numpy as np
import pytest
import torch

from piva.cameras.lens import Lens
from piva.cameras.poses import ring
from piva.datasets.scene import Views
from piva.tasks.viewpoints import Frames

LENS = Lens(width=128, height=96, fx=100, fy=99, cx=66, cy=47, k1=-0.1, p1=0.002)


def frames(test=3, **changes):
    n = 10 + test
    views = Views(
        images=np.zeros((n, 96, 128, 4), np.uint8),
        keep=None,
        c2w=ring(n, 20, 1.0),
        lenses=[LENS] * n,
        names=[f"{i}.png" for i in range(n)],
        train=list(range(10)),
        test=list(range(10, n)),
        world=np.eye(4),
        near=0.1,
    )
    return Frames(views=views, size=64, multiple=8, trajectory_length=7, trajectory_size=50, **changes)


def test_every_training_frame_is_drawn_and_no_test_frame():
    scene, g = frames(), torch.Generator().manual_seed(0)
    drawn = [scene.draw(g) for _ in range(200)]
    places = {tuple(c2w[:3, 3].tolist()) for c2w, _ in drawn}
    assert places == {tuple(c2w[:3, 3].tolist()) for c2w in scene.views.c2w[:10]}
    again = [scene.draw(torch.Generator().manual_seed(0)) for _ in range(1)]
    np.testing.assert_array_equal(again[0][0], drawn[0][0])


def test_a_frame_keeps_its_lens_and_nearly_its_proportions_at_the_runs_resolution():
    _, lens = frames().draw(torch.Generator().manual_seed(0))
    assert (lens.width % 8, lens.height % 8) == (0, 0)
    assert lens.width * lens.height == pytest.approx(64**2, rel=0.1)
    assert (lens.k1, lens.p1) == (LENS.k1, LENS.p1)
    assert (lens.fx / lens.width, lens.cy / lens.height) == pytest.approx((100 / 128, 47 / 96))


def test_a_trajectory_passes_the_test_frames_in_pictures_with_even_sides():
    scene = frames()
    trajectory = scene.trajectory()
    assert len(trajectory) == 7
    for shown, frame in ((0, 10), (3, 11), (6, 12)):
        np.testing.assert_allclose(trajectory[shown][0], scene.views.c2w[frame], atol=1e-6)
    assert {(lens.width, lens.height) for _, lens in trajectory} == {(50, 38)}
    assert len(frames(test=1).trajectory()) == 1  # one frame is no film
