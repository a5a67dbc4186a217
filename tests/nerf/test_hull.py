import json
import os
from math import tan
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.ball import RADIUS, ball_scene
from PIL import Image

from piva.cameras.lens import Lens
from piva.nerf.fit import visual_hull, widened


def lego_folder():
    roots = [Path(os.environ["PIVA_TEST_DATA"])] if "PIVA_TEST_DATA" in os.environ else []
    roots += [parent / "shared" / "data" for parent in Path(__file__).resolve().parents]
    found = [
        root / "nerf_synthetic" / "lego" for root in roots if (root / "nerf_synthetic" / "lego").is_dir()
    ]
    if not found:
        pytest.skip("no nerf_synthetic/lego under PIVA_TEST_DATA or a shared/data above the repository")
    return found[0]


@pytest.fixture(scope="module")
def lego():
    folder = lego_folder()
    record = json.loads((folder / "transforms_train.json").read_text())
    alpha = np.stack(
        [np.asarray(Image.open(folder / f"{frame['file_path']}.png"))[..., 3] for frame in record["frames"]]
    )
    poses = np.array([frame["transform_matrix"] for frame in record["frames"]], np.float32)
    h, w = alpha.shape[1:]
    focal = w / 2 / tan(record["camera_angle_x"] / 2)
    lens = Lens(fx=focal, fy=focal, cx=w / 2, cy=h / 2, width=w, height=h)
    return torch.from_numpy(alpha).float() / 255, torch.from_numpy(poses), lens


def test_the_hull_of_lego_has_its_known_size_and_place(lego):
    hull = visual_hull(*lego, 96, 1.5)
    assert 36_000 < hull.sum() < 42_000
    cells = hull.nonzero()
    low, high = cells.amin(dim=0) * 3 / 96 - 1.5, (cells.amax(dim=0) + 1) * 3 / 96 - 1.5
    torch.testing.assert_close(low, torch.tensor([-0.64, -1.14, -0.52]), atol=0.04, rtol=0)
    torch.testing.assert_close(high, torch.tensor([0.64, 1.14, 0.98]), atol=0.04, rtol=0)


def test_the_hull_of_lego_halves_if_pictures_are_taken_upside_down(lego):
    alpha, poses, lens = lego
    flipped = poses.clone()
    flipped[:, :3, 1] *= -1
    assert visual_hull(alpha, flipped, lens, 96, 1.5).sum() < 20_000


def test_the_hull_contains_the_object_and_little_else():
    views, poses, _, _, lens = ball_scene(64)
    hull = visual_hull(widened(views[..., 3], 1), poses, lens, 32, 1.0)
    centre = (torch.stack(torch.meshgrid(*[torch.arange(32)] * 3, indexing="ij"), dim=-1) + 0.5) / 16 - 1
    distance = centre.norm(dim=-1)
    assert bool(hull[distance < RADIUS].all())
    assert hull[distance > RADIUS + 0.25].float().mean() < 0.01


def test_a_view_says_nothing_about_what_it_does_not_frame():
    views, poses, _, _, lens = ball_scene(16)
    away = poses[:1].clone()
    away[:, :3, :3] *= torch.tensor([1.0, -1.0, -1.0])  # looks away from the box
    nothing = torch.zeros(1, 16, 16)
    assert not bool(visual_hull(nothing, away, lens, 8, 1.0).any())
    alone = visual_hull(views[..., 3], poses, lens, 8, 1.0)
    both = visual_hull(torch.cat([views[..., 3], nothing]), torch.cat([poses, away]), lens, 8, 1.0)
    assert bool(alone.any())
    assert torch.equal(alone, both)


def test_widening_reaches_exactly_n_pixels():
    alpha = torch.zeros(1, 9, 9)
    alpha[0, 4, 1] = 0.5
    wide = widened(alpha, 2)
    wanted = torch.zeros(1, 9, 9)
    wanted[0, 2:7, 0:4] = 0.5
    assert torch.equal(wide, wanted)
