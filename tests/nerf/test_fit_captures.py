"""What captured views bring to a fit: masks, a lens each, a near plane."""

import dataclasses

import pytest
import torch
from helpers.ball import ball_scene

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.cameras.rays import Lenses, pixel_rays
from piva.errors import InputError
from piva.nerf.field import FLOOR
from piva.nerf.fit import border_colour, draw_rays, fit
from piva.nerf.occupancy import Occupancy
from piva.nerf.render import render_image
from piva.nerf.settings import VoxelFit
from piva.nerf.voxels import init_voxels

SETTINGS = VoxelFit(
    radius=1.0, resolutions=[8], steps=[6], rays=256, step=0.08, cone=0.0, levels=1,
    lr_density=0.1, lr_colour=0.1, lr_end=0.1,
    occupancy=12, threshold=0.5, refresh_every=16, decay=0.95,
)  # fmt: skip


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def scene():
    views, poses, _, _, lens = ball_scene(16)
    return (
        torch.cat([views[..., :3] * views[..., 3:], torch.ones_like(views[..., 3:])], dim=-1),
        poses,
        lens,
    )  # before black


def test_what_is_masked_is_never_looked_at(scene):
    views, poses, lens = scene
    keep = torch.rand(views.shape[:3], generator=rng(1)) < 0.7
    spoilt = torch.where(keep[..., None], views, torch.tensor([1.0, 0, 1, 1]))
    a, b = (fit(v, poses, lens, SETTINGS, rng(), keep=keep) for v in (views, spoilt))
    assert torch.equal(a.field.raw_colour, b.field.raw_colour)
    assert torch.equal(a.background, b.background)
    assert not torch.equal(a.field.raw_colour, fit(spoilt, poses, lens, SETTINGS, rng()).field.raw_colour)
    with pytest.raises(InputError, match="masks that leave no pixel"):
        fit(views, poses, lens, SETTINGS, rng(), keep=torch.zeros_like(keep))


def test_the_border_of_masked_views_is_what_is_left_of_it():
    views = torch.zeros(1, 4, 4, 4)
    views[0, 0, :, :3] = torch.tensor([0.2, 0.4, 0.6])
    keep = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert border_colour(views, keep).tolist() == border_colour(views).tolist() == [0, 0, 0]
    keep[0, 0] = True
    torch.testing.assert_close(border_colour(views, keep), torch.tensor([0.2, 0.4, 0.6]))


def test_equal_lenses_a_view_are_one_lens(scene):
    views, poses, lens = scene
    a, b = (fit(views, poses, lenses, SETTINGS, rng()) for lenses in (lens, [lens] * len(views)))
    assert torch.equal(a.field.raw_density, b.field.raw_density)


def test_rays_are_drawn_through_the_lens_of_their_view(scene):
    views, poses, lens = scene
    each = [dataclasses.replace(lens, fx=lens.fx + i, k1=-0.01 * (i % 3)) for i in range(len(views))]
    pixels = torch.arange(views[..., 0].numel())
    rays_o, rays_d, _ = draw_rays(views, poses, Lenses.of(each, len(views), poses.device), pixels, 64, rng())
    drawn = torch.randint(len(pixels), (64,), generator=rng())
    for i, pixel in enumerate(drawn.tolist()):
        view, v, u = pixel // 256, pixel // 16 % 16, pixel % 16
        one_o, one_d = pixel_rays(poses[view : view + 1], torch.tensor([u]), torch.tensor([v]), each[view])
        torch.testing.assert_close((rays_o[i], rays_d[i]), (one_o[0], one_d[0]))


def test_cameras_inside_the_object_are_told_apart_from_cameras_around_it():
    views, poses, _, _, lens = ball_scene(16)
    far = fit(views, poses, lens, SETTINGS, rng())
    assert bool(far.occupancy.occupied.any())
    poses[3, :3, 3] *= 0.1  # in the middle of the ball
    views[3, ..., 3] = 1
    with pytest.raises(InputError, match="1 of 24 cameras inside the object"):
        fit(views, poses, lens, SETTINGS, rng())


def test_nothing_is_seen_nearer_than_the_near_plane():
    field, occupancy = init_voxels(5, 1.0, FLOOR, torch.device("cpu")), Occupancy(1.0, 8)
    occupancy.occupy(torch.ones(8, 8, 8, dtype=torch.bool))
    field.raw_density.data[:, :, :, :2] = (
        8  # y from -1 to -0.5: 2 to 2.5 from a camera at -3, which looks along +y
    )
    args = (field, occupancy, torch.from_numpy(orbit(-90, 0, 3)), pinhole(10, 4), torch.zeros(3), 0.05)
    for near, seen in ((0.0, True), (1.9, True), (2.9, False)):
        assert bool((render_image(*args, near=near).opacity > 0.9).all()) == seen
        assert bool((render_image(*args, rng(), near).opacity > 0.9).all()) == seen
