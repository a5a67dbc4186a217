import numpy as np
import pytest
import torch
from helpers.ball import some_rays
from helpers.operations import Operations

from piva.nerf.march import CPU_RAYS, INTERVALS, march, rays_within

BOX = torch.tensor([-1.0, -1.5, -2.0, 1.0, 1.5, 2.0])


def one_ray_after_the_other(rays_o, rays_d, occupied, near, step, cone=0.0):
    """The contract, word by word, in float64: walk the lattice, look up each midpoint in the innermost level
    that holds it.
    """
    samples, grids = [], occupied.numpy()
    low, high = BOX[:3].double().numpy(), BOX[3:].double().numpy()
    rays = zip(rays_o.double().numpy(), rays_d.double().numpy(), near.double().tolist(), strict=True)
    for r, (o, d, start) in enumerate(rays):
        while start < 4 + 3 * 2 ** (len(grids) - 1):
            end = start + max(step, cone * start)
            place = (o + (start + end) / 2 * d - (low + high) / 2) / ((high - low) / 2)
            level = next((level for level in range(len(grids)) if np.abs(place).max() < 2**level), None)
            if (
                level is not None
                and grids[level][tuple(((place / 2**level + 1) / 2 * grids.shape[1:]).astype(int))]
            ):
                samples.append((r, start, end))
            start = end
    return samples


@pytest.mark.parametrize(("levels", "cone"), [(1, 0.0), (1, 0.06), (3, 0.0), (3, 0.06), (4, 0.02)])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("shifted", [False, True])
def test_samples_are_the_lattice_intervals_with_their_midpoint_in_an_occupied_cell(
    share, shifted, levels, cone
):
    g = torch.Generator().manual_seed(1)
    occupied = torch.rand(levels, 6, 8, 10, generator=g) < share
    rays_o, rays_d = some_rays(12)
    step = 0.17
    near = torch.rand(12, generator=g) * step if shifted else torch.zeros(12)
    ray_indices, t_starts, t_ends = march(rays_o, rays_d, occupied, BOX, near, step, cone)
    wanted = one_ray_after_the_other(rays_o, rays_d, occupied, near, step, cone)
    assert ray_indices.tolist() == [ray for ray, _, _ in wanted]
    for found, column in ((t_starts, 1), (t_ends, 2)):
        torch.testing.assert_close(
            found, torch.tensor([sample[column] for sample in wanted]), rtol=1e-5, atol=1e-5
        )
    if share == 1.0 and levels > 1:
        assert t_ends.max() > 2 ** (levels - 1) * 1.5  # the outermost level was reached


def test_with_cones_and_levels_a_ray_meets_each_part_of_the_way_once():
    full = torch.ones(5, 8, 8, 8, dtype=torch.bool)
    rays_o, rays_d = torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[0.6, 0.64, 0.48]])
    _, t_starts, t_ends = march(rays_o, rays_d, full, BOX, torch.tensor([0.05]), 0.02, 0.03)
    torch.testing.assert_close(t_starts[1:], t_ends[:-1], rtol=1e-5, atol=0)
    assert len(t_starts) < 20 / 0.02 / 4


def test_an_empty_grid_and_rays_that_miss_give_no_samples():
    rays_o, rays_d = (v[3:] for v in some_rays(8))
    full = torch.ones(2, 4, 4, 4, dtype=torch.bool)
    for occupied, directions in ((~full, rays_d), (full, rays_o)):
        ray_indices, t_starts, t_ends = march(3 * rays_o, directions, occupied, BOX, torch.zeros(5), 0.1)
        assert len(ray_indices) == len(t_starts) == len(t_ends) == 0


@pytest.mark.parametrize("rays", [1, 7, 49, 1000])
def test_chunks_do_not_change_the_samples(rays, monkeypatch):
    occupied = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.4
    args = (*some_rays(50), occupied, BOX, torch.zeros(50), 0.05, 0.02)
    whole = march(*args)
    monkeypatch.setattr("piva.nerf.march.CPU_RAYS", rays)
    for a, b in zip(whole, march(*args), strict=True):
        assert torch.equal(a, b)


def test_a_gpu_marches_more_rays_at_once_within_half_a_gigabyte():
    for longest in (1, 166, 512, 4000, INTERVALS, 2 * INTERVALS):
        rays = rays_within(INTERVALS, longest)
        assert rays == 1 or rays * longest * 64 <= 2**29
    assert rays_within(INTERVALS, 512) == 8 * CPU_RAYS


@pytest.mark.parametrize(("levels", "cone"), [(3, 0.01), (1, 0.0)])
def test_an_interval_takes_64_bytes_at_most(levels, cone):
    """What INTERVALS counts on. Almost all cells are empty: intervals take the memory, not samples."""
    occupied = torch.zeros(levels, 8, 8, 8, dtype=torch.bool)
    occupied[:, ::7, ::7, ::7] = True
    with Operations() as seen:
        march(*some_rays(500), occupied, BOX, torch.zeros(500), 0.005, cone)
    assert seen.largest > 100_000  # one chunk
    assert 16 * seen.largest < seen.peak < 64 * seen.largest


def test_the_host_waits_for_the_number_of_hits_and_once_a_chunk():
    occupied = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.4
    args = (*some_rays(500), occupied, BOX, torch.zeros(500), 0.05, 0.02)
    with Operations() as seen:
        march(*args)
    assert seen.waits == {"nonzero": 2}
