import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from helpers.ball import some_rays
from helpers.operations import Operations
from nerfacc.estimators.occ_grid import OccGridEstimator

from piva.nerf.field import FLOOR
from piva.nerf.march import march
from piva.nerf.occupancy import Occupancy, dilated, nerfacc_works
from piva.nerf.voxels import init_voxels


def ball(radius):
    return lambda x: 10.0 * (x.norm(dim=1) < radius)


def test_a_single_cell_grows_to_a_cube_of_exactly_n_cells_and_stops_at_the_walls():
    cells = torch.zeros(9, 9, 9, dtype=torch.bool)
    cells[4, 4, 1] = True
    for n in range(4):
        wanted = torch.zeros_like(cells)
        wanted[4 - n : 5 + n, 4 - n : 5 + n, max(0, 1 - n) : 2 + n] = True
        assert torch.equal(dilated(cells, n), wanted)


def test_refresh_occupies_what_is_dense_and_dilation_adds_room_around_it():
    occupancy = Occupancy(1.0, 20)
    occupancy.refresh(ball(0.5), 1.0)
    tight = occupancy.occupied[0].clone()
    index = torch.stack(torch.meshgrid(*[torch.arange(20)] * 3, indexing="ij"), dim=-1)
    centre = (index + 0.5) / 10 - 1
    assert bool(tight[centre.norm(dim=-1) < 0.5].all())
    assert not bool(
        tight[centre.norm(dim=-1) > 0.5 + 0.05 * 3**0.5].any()
    )  # no cell that the ball does not touch
    occupancy.refresh(ball(0.5), 1.0, dilate=2)
    assert torch.equal(occupancy.occupied[0], dilated(tight, 2))
    occupancy.refresh(ball(0.5), 1.0)
    assert torch.equal(occupancy.occupied[0], tight)


def test_the_box_can_be_opened_until_the_next_refresh():
    occupancy = Occupancy(1.0, 20, levels=2)
    occupancy.refresh(ball(0.5), 1.0)
    tight = occupancy.occupied.clone()
    occupancy.open_box()
    assert bool(occupancy.occupied[0].all())
    assert torch.equal(occupancy.occupied[1], tight[1])
    occupancy.refresh(ball(0.5), 1.0)
    assert torch.equal(occupancy.occupied, tight)


def test_axes_are_x_y_z():
    occupancy = Occupancy(1.0, 10)
    occupancy.refresh(lambda x: 5.0 * ((x[:, 0] > 0.5) & (x[:, 1] < 0)), 1.0)
    assert bool(occupancy.occupied[0, 8:, :5].all())
    assert not bool(occupancy.occupied[0, :6].any())


def test_remembered_density_decays_and_nothing_grows_outside_the_given_cells():
    occupancy = Occupancy(1.0, 8)
    within = torch.zeros(8, 8, 8, dtype=torch.bool)
    within[:4] = True
    occupancy.refresh(ball(0.7), 1.0, within=within)
    before = occupancy.occupied.clone()
    assert bool(before.any())
    assert not bool(before[0, 4:].any())
    for wanted in (True, True, True, False):  # 10 -> 5 -> 2.5 -> 1.25 -> 0.625
        occupancy.refresh(lambda x: torch.zeros_like(x[:, 0]), 1.0, decay=0.5, within=within)
        assert torch.equal(occupancy.occupied, before & wanted)


def test_state_survives_saving():
    a, b = Occupancy(1.0, 8), Occupancy(1.0, 8)
    a.refresh(ball(0.5), 1.0)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.occupied, b.occupied)
    rays = some_rays(10)
    for x, y in zip(
        a.sample(*rays, torch.zeros(10), 0.1), b.sample(*rays, torch.zeros(10), 0.1), strict=True
    ):
        assert torch.equal(x, y)


def test_empty_space_is_exactly_empty_and_can_fill_but_not_sink():
    field = init_voxels(4, 1.0, FLOOR, torch.device("cpu"))
    x = torch.zeros(1, 3)
    assert field.density(x).item() == 0
    for push, moves in (
        (1.0, False),
        (-1.0, True),
    ):  # descent along +1 would lower the density, along -1 raise it
        field.zero_grad()
        (push * field.density(x)).sum().backward()
        assert bool((field.raw_density.grad != 0).any()) == moves


def test_upsampling_keeps_a_linear_field():
    field = init_voxels(5, 2.0, 0.0, torch.device("cpu"))
    ramp = torch.linspace(-2, 2, 5)
    field.raw_density.data += ramp[:, None, None] + 2 * ramp[None, :, None]
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 4 - 2
    torch.testing.assert_close(field.upsample(9).density(x), field.density(x))


def test_each_level_knows_its_own_space_and_is_held_to_the_same_light():
    """A density of 0.3 is enough for the third level, but not for those within; a shell at 3 to 3.6 is out of
    their reach.
    """
    occupancy = Occupancy(1.0, 16, levels=4)

    def density(x):
        away = x.abs().amax(dim=1)
        return 10.0 * ((away >= 3) & (away < 3.6)) + 0.3 * (away < 2.9)

    occupancy.refresh(density, 1.0)
    near, second, third, far = occupancy.occupied
    assert not bool(near.any())
    assert not bool(second.any())  # 0.3 is less than 1 / 2
    assert bool(third.all())  # 0.3 is more than 1 / 4
    centre = (torch.arange(16) + 0.5) - 8  # in cells of size 1
    away = torch.stack(torch.meshgrid(centre, centre, centre, indexing="ij")).abs().amax(dim=0)
    assert torch.equal(far, away < 4)


def broken_nvcc(folder):
    """A PATH whose nvcc fails, and an empty place for builds."""
    (folder / "bin").mkdir()
    nvcc = folder / "bin" / "nvcc"
    nvcc.write_text("#!/bin/sh\nexit 1\n")
    nvcc.chmod(0o755)
    path = os.pathsep.join([str(nvcc.parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "TORCH_EXTENSIONS_DIR": str(folder / "builds")}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_compiler_that_fails_is_named_once_and_torch_marches(device, tmp_path):
    """In a process of its own: nerfacc builds at its first call, and remembers."""
    if device == "cuda" and find_spec("nerfacc.csrc"):
        pytest.skip("nerfacc came compiled")
    code = (
        "import logging, torch; logging.basicConfig(format='%(levelname)s %(message)s')\n"
        "from piva.nerf.occupancy import Occupancy, nerfacc_works\n"
        f"grid = Occupancy(1.0, 1).to('{device}'); grid.open_box()\n"
        f"o, d = torch.tensor([[[-2.0, 0.1, 0.2]], [[0.96, 0.2, 0.2]]], device='{device}')\n"
        "assert not nerfacc_works(o.device) and not nerfacc_works(o.device)\n"
        "for _ in range(2): assert len(grid.sample(o, d, torch.zeros_like(o[:, 0]), 0.5)[0]) == 4\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=broken_nvcc(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("WARNING nerfacc's kernel")]
    assert f"does not work on {device}" in warning
    assert "Error" in warning


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("bad allocation: cudaErrorMemoryAllocation: out of memory"),
    ],
    ids=["torch", "thrust"],
)
def test_a_full_gpu_is_no_broken_build(error, monkeypatch):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(OccGridEstimator, "sampling", full)
    nerfacc_works.cache_clear()
    with pytest.raises(type(error), match="out of memory"):
        nerfacc_works(torch.device("cpu"))


def test_samples_that_are_wrong_are_not_used(monkeypatch, caplog):
    """As of a kernel built for another GPU, which need not say so."""
    nothing = torch.zeros(0)
    monkeypatch.setattr(OccGridEstimator, "sampling", lambda *_, **__: (nothing.long(), nothing, nothing))
    nerfacc_works.cache_clear()
    assert not nerfacc_works(torch.device("cpu"))
    assert "0 samples where there are 4" in caplog.text
    nerfacc_works.cache_clear()


def test_a_refresh_reads_nothing_back():
    occupancy = Occupancy(1.0, 8, levels=2)
    with Operations() as seen:
        occupancy.refresh(ball(0.5), 1.0, dilate=1)
        occupancy.open_box()
    assert not seen.waits


def test_a_field_is_asked_for_some_points_at_a_time(monkeypatch):
    whole, parts, asked = Occupancy(1.0, 12), Occupancy(1.0, 12), []
    whole.refresh(ball(0.5), 1.0)
    monkeypatch.setattr("piva.nerf.occupancy.POINTS", 100)

    def density(x):
        asked.append(len(x))
        return ball(0.5)(x)

    parts.refresh(density, 1.0)
    assert torch.equal(whole.occs, parts.occs)
    assert max(asked) == 100
    assert sum(asked) == 13**3 + 12**3


@pytest.mark.gpu
def test_nerfacc_is_tried_on_each_device():
    """It works here, or the reason is in the log; either way rays are sampled alike."""
    occupancy = Occupancy(1.0, 8).cuda()
    occupancy.open_box()
    rays_o, rays_d = (v.cuda() for v in some_rays(64))
    samples = occupancy.sample(rays_o, rays_d, torch.zeros(64, device="cuda"), 0.1)
    wanted = march(rays_o, rays_d, occupancy.occupied, occupancy.aabbs[0], torch.zeros(64).cuda(), 0.1)
    assert abs(len(samples[0]) - len(wanted[0])) <= 1e-2 * len(wanted[0])


@pytest.mark.gpu
@pytest.mark.parametrize("levels", [1, 3])
def test_march_matches_nerfacc_on_cuda(levels):
    g = torch.Generator().manual_seed(3)
    occupancy = Occupancy(1.0, 32, levels)
    occupancy.occupy(torch.rand(levels, 32, 32, 32, generator=g) < 0.3)
    rays_o, rays_d = some_rays(2000)
    near = torch.rand(2000, generator=g) * 0.02
    ours = march(rays_o, rays_d, occupancy.occupied, occupancy.aabbs[0], near, 0.02)
    on_cuda = occupancy.cuda()
    theirs = on_cuda.sampling(rays_o.cuda(), rays_d.cuda(), t_min=near.cuda(), render_step_size=0.02)
    mine, nerfaccs = (
        set((r * 10000 + ((t - near[r]) / 0.02).round().long()).tolist())
        for r, t, _ in (ours, [v.cpu() for v in theirs])
    )
    assert len(mine ^ nerfaccs) <= 1e-3 * len(mine)  # midpoints on a face may fall to either side


@pytest.mark.gpu
def test_growing_samples_match_nerfaccs_on_cuda_where_nothing_is_empty():
    """Across empty cells nerfacc keeps a sample's length, and from there on its lattice is another one."""
    occupancy = Occupancy(1.0, 32, 3)
    occupancy.occupy(torch.ones(32, 32, 32, dtype=torch.bool))
    _, rays_d = some_rays(500)
    rays_o, near = torch.zeros(500, 3), torch.zeros(500)
    ours = march(rays_o, rays_d, occupancy.occupied, occupancy.aabbs[0], near, 0.02, 0.03)
    theirs = occupancy.cuda().sampling(
        rays_o.cuda(), rays_d.cuda(), t_min=near.cuda(), render_step_size=0.02, cone_angle=0.03
    )
    counts = [torch.bincount(samples[0].cpu(), minlength=500) for samples in (ours, theirs)]
    assert (counts[0] - counts[1]).abs().max() <= 1
    torch.testing.assert_close(ours[1][: counts[0][0]], theirs[1].cpu()[: counts[0][0]], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_the_torch_march_runs_on_cuda_where_nerfacc_is_not_compiled():
    occupied = torch.rand(2, 16, 16, 16, generator=torch.Generator().manual_seed(5)) < 0.3
    box = torch.tensor([-1.0, -1, -1, 1, 1, 1])
    args = (*some_rays(300), occupied, box, torch.zeros(300))
    here = march(*args, 0.05, 0.02)
    there = march(*(v.cuda() for v in args), 0.05, 0.02)
    assert abs(len(here[0]) - len(there[0])) <= 1e-3 * len(here[0])
