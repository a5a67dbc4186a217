"""The hash-grid field: fitted, kept, edited by the same code as voxels."""

import dataclasses

import pytest
import torch
from helpers.ball import ball_scene

from piva.errors import InputError
from piva.nerf.fit import fit
from piva.nerf.occupancy import Occupancy
from piva.nerf.render import render_image
from piva.nerf.scenes import restored
from piva.nerf.settings import HashEdit, HashFit, VoxelFit

SETTINGS = HashFit(
    radius=1.0, grid_levels=4, features=2, log2_rows=12, base=8, growth=1.5, hidden=16, kernel="auto",
    steps=120, rays=256,
    step=0.05, cone=0.0, levels=1, lr_grid=0.06, lr_network=0.015, lr_end=0.1, sparsity=1e-3, occupancy=16,
    threshold=0.5,
    refresh_every=16, decay=0.95, edit=HashEdit(lr_grid=0.01, lr_network=0.001),
)  # fmt: skip


@pytest.fixture(scope="module")
def scene():
    return ball_scene(24)


@pytest.fixture(scope="module")
def fitted(scene):
    views, poses, _, _, lens = scene
    return fit(views, poses, lens, SETTINGS, torch.Generator().manual_seed(0))


def rendered(scene, f):
    _, _, _, poses, lens = scene
    with torch.no_grad():
        return torch.stack(
            [render_image(f.field, f.occupancy, p, lens, torch.ones(3), SETTINGS.step).rgb for p in poses]
        )


def psnr(scene, f):
    views = scene[2]
    wanted = views[..., :3] * views[..., 3:] + 1 - views[..., 3:]
    return -10 * torch.log10((rendered(scene, f) - wanted).square().mean())


def test_it_explains_views_it_has_not_seen(scene, fitted):
    assert psnr(scene, fitted) > 20  # white everywhere: 9


def test_what_no_view_has_seen_is_empty(fitted):
    corners = torch.cartesian_prod(*[torch.tensor([-0.95, 0.95])] * 3)
    assert fitted.field.density(corners).max() < SETTINGS.threshold


def test_no_fog_appears_where_an_edit_opens_the_occupancy(scene, fitted):
    everywhere = Occupancy(SETTINGS.radius, SETTINGS.occupancy)
    everywhere.occupy(torch.ones_like(fitted.occupancy.occupied))
    assert psnr(scene, fitted._replace(occupancy=everywhere)) > psnr(scene, fitted) - 1


def test_it_is_restored_from_its_tensors_for_any_kernel(scene, fitted):
    tensors = {**fitted.field.state_dict(), "occupied": fitted.occupancy.occupied}
    wanted = rendered(scene, fitted)
    for kernel in ("numba", "torch"):
        back = restored(tensors, dataclasses.replace(SETTINGS, kernel=kernel), torch.device("cpu"))
        torch.testing.assert_close(rendered(scene, back), wanted, rtol=1e-4, atol=1e-4)


def test_another_fields_tensors_are_refused(fitted):
    voxels = VoxelFit(
        radius=1.0, resolutions=[8], steps=[1], rays=8, step=0.1, cone=0.0, levels=1,
        lr_density=0.1, lr_colour=0.1, lr_end=0.1,
        occupancy=8, threshold=0.5, refresh_every=16, decay=0.95,
    )  # fmt: skip
    with pytest.raises(InputError, match="found grid, hidden, out, wanted 'raw_density' among them"):
        restored(fitted.field.state_dict(), voxels, torch.device("cpu"))


def test_a_fit_that_comes_to_nothing_says_at_which_step(scene):
    views, poses, _, _, lens = scene
    short = dataclasses.replace(SETTINGS, steps=2, refresh_every=2)
    for change, words in (
        ({"sparsity": 1e4, "lr_network": 5.0, "decay": 0.0}, "empty"),
        ({"lr_grid": 1e38}, "not finite"),
    ):
        with pytest.raises(FloatingPointError, match=f"fit, step 2: the field is {words}"):
            fit(views, poses, lens, dataclasses.replace(short, **change), torch.Generator().manual_seed(0))
