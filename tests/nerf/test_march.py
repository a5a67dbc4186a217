import numpy as np
import pytest
import torch
from helpers.ball import some_rays

from piva.nerf.march import march

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


def test_chunks_do_not_change_the_samples(monkeypatch):
    occupied = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.4
    args = (*some_rays(50), occupied, BOX, torch.zeros(50), 0.05, 0.02)
    whole = march(*args)
    monkeypatch.setattr("piva.nerf.march.RAYS", 7)
    for a, b in zip(whole, march(*args), strict=True):
        assert torch.equal(a, b)
