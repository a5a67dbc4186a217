import dataclasses
from itertools import pairwise

import pytest
import torch
from helpers.ball import ball_scene
from helpers.operations import Operations

from piva.errors import InputError
from piva.nerf.fit import fit
from piva.nerf.render import render_image
from piva.nerf.settings import VoxelFit
from piva.nerf.voxels import init_voxels

SETTINGS = VoxelFit(
    radius=1.0, resolutions=[12, 24], steps=[25, 60], rays=512, step=0.04, cone=0.0, levels=1,
    lr_density=0.1, lr_colour=0.1, lr_end=0.1,
    occupancy=24, threshold=0.5, refresh_every=16, decay=0.95,
)  # fmt: skip


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def psnr(fitted, views, poses, lens, background):
    with torch.no_grad():
        seen = torch.stack(
            [
                render_image(fitted.field, fitted.occupancy, p, lens, background, SETTINGS.step).rgb
                for p in poses
            ]
        )
    wanted = views[..., :3] * views[..., 3:] + (1 - views[..., 3:]) * background
    return float(-10 * torch.log10((seen - wanted).square().mean()))


@pytest.fixture(scope="module")
def scene():
    return ball_scene(32)


@pytest.fixture(scope="module")
def fitted(scene):
    views, poses, _, _, lens = scene
    return fit(views, poses, lens, SETTINGS, rng())


def test_a_fit_explains_views_it_has_not_seen_on_any_background(scene, fitted):
    _, _, views, poses, lens = scene
    short = fit(*scene[:2], lens, dataclasses.replace(SETTINGS, resolutions=[12], steps=[2]), rng())
    for background in (torch.ones(3), torch.zeros(3)):
        before, after = (psnr(f, views, poses, lens, background) for f in (short, fitted))
        assert after > 20
        assert after > before + 8


def test_a_seed_decides_the_fit(scene, fitted):
    views, poses, _, _, lens = scene
    settings = dataclasses.replace(SETTINGS, steps=[5, 5])
    a, b, c = (fit(views, poses, lens, settings, rng(seed)).field.raw_density for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_bytes_and_floats_are_the_same_views(scene):
    views, poses, _, _, lens = scene
    settings = dataclasses.replace(SETTINGS, steps=[3, 3])
    coarse = (views * 255).round()
    a = fit(coarse.to(torch.uint8), poses, lens, settings, rng())
    b = fit(coarse / 255, poses, lens, settings, rng())
    torch.testing.assert_close(a.field.raw_colour, b.field.raw_colour)


def test_what_no_view_has_seen_does_not_appear_when_the_occupancy_is_opened(scene, fitted):
    _, _, views, poses, lens = scene
    background = torch.ones(3)
    before = psnr(fitted, views, poses, lens, background)
    tight = fitted.occupancy.occupied.clone()
    assert tight.float().mean() < 0.4
    fitted.occupancy.occupy(torch.ones_like(tight))
    opened = psnr(fitted, views, poses, lens, background)
    corner = torch.tensor([[0.9, 0.9, 0.9], [-0.9, 0.9, -0.9]])
    torch.testing.assert_close(fitted.field.density(corner), torch.zeros(2), atol=1e-6, rtol=0)
    fitted.occupancy.occupy(tight)
    assert opened == pytest.approx(before, abs=0.8)  # with the fog of the start it would be about 7 dB


def test_views_without_alpha_are_fitted_before_their_own_background(scene):
    views, poses, held, held_poses, lens = scene
    plain = torch.tensor([0.3, 0.7, 0.4])

    def before(v):
        return torch.cat(
            [v[..., :3] * v[..., 3:] + (1 - v[..., 3:]) * plain, torch.ones_like(v[..., 3:])], dim=-1
        )

    fitted = fit(before(views), poses, lens, SETTINGS, rng())
    torch.testing.assert_close(fitted.background, plain)
    assert psnr(fitted, before(held), held_poses, lens, plain) > 20


@pytest.mark.parametrize(
    "lenses",
    [lambda lens: lens, lambda lens: [dataclasses.replace(lens, k1=0.01 * i) for i in range(24)]],
    ids=["one lens", "bent lenses"],
)
def test_a_step_waits_for_the_device_only_for_numbers_of_samples(lenses, scene):
    """Of hits, of samples in occupied cells, and of those that light reaches."""
    views, poses, _, _, lens = scene
    seen = []
    for steps in (2, 7):
        settings = dataclasses.replace(SETTINGS, resolutions=[12], steps=[steps], refresh_every=100)
        with Operations() as operations:
            fit(views, poses, lenses(lens), settings, rng())
        seen.append(operations.waits)
    assert seen[1] - seen[0] == {"nonzero": 5 * 3}


def test_progress_counts_every_step(scene):
    views, poses, _, _, lens = scene
    seen = []
    fit(
        views,
        poses,
        lens,
        dataclasses.replace(SETTINGS, steps=[2, 3]),
        rng(),
        lambda step, total: seen.append((step, total)),
    )
    assert seen[-1] == (5, 5)
    assert all(b[0] == a[0] + 1 for a, b in pairwise(seen))


def test_degenerate_views_and_settings_are_refused(scene):
    views, poses, _, _, lens = scene
    with pytest.raises(InputError, match="found none"):
        fit(views[:0], poses[:0], lens, SETTINGS, rng())
    with pytest.raises(InputError, match="transparent"):
        fit(torch.zeros_like(views), poses, lens, SETTINGS, rng())
    halves = views[
        :2
    ].clone()  # twice from the same place, but one picture left of the middle and one right of it
    halves[0, :, 12:], halves[1, :, :20] = 0, 0
    with pytest.raises(InputError, match="nothing in common"):
        fit(halves, poses[:1].expand(2, 4, 4), lens, SETTINGS, rng())
    with pytest.raises(InputError, match="starts from"):
        fit(views, poses, lens, dataclasses.replace(SETTINGS, threshold=20.0), rng())
    with pytest.raises(InputError, match="resolutions"):
        dataclasses.replace(SETTINGS, steps=[1])


def test_nodes_of_cells_that_rays_skip_are_empty() -> None:
    """Each is dense before: nobody asked it to be, and what it gives to the cell beside would be seen."""
    field = init_voxels(12, 1.0, 3.0, torch.device("cpu"))
    optimiser = torch.optim.Adam([field.raw_density])
    field.density(torch.rand((5000, 3), generator=rng()) * 2 - 1).sum().backward()
    optimiser.step()
    occupied = torch.zeros((1, 8, 8, 8), dtype=torch.bool)
    occupied[0, 4, :, 2:] = True  # x in [0, 0.25), z above -0.5
    field.prune_unseen(optimiser, occupied, threshold=0.0)
    x, _, z = torch.meshgrid(*[torch.linspace(-1, 1, 12)] * 3, indexing="ij")
    assert torch.equal(field.node_density() > 1e-4, (x >= 0) & (x < 0.25) & (z >= -0.5))
