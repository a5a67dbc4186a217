import pytest
import torch
from ball import some_rays

from piva.nerf.march import march

BOX = torch.tensor([-1.0, -1.5, -2.0, 1.0, 1.5, 2.0])


def one_ray_after_the_other(rays_o, rays_d, occupied, near, step):
    """The contract, word by word, in float64: walk the lattice, look up the cell of each midpoint."""
    samples, shape = [], torch.tensor(occupied.shape)
    for r, (o, d, start) in enumerate(zip(rays_o.double(), rays_d.double(), near.double(), strict=True)):
        for k in range(int(8 / step)):
            place = (o + (start + (k + 0.5) * step) * d - BOX[:3]) / (BOX[3:] - BOX[:3]) * shape
            cell = place.floor().long()
            if bool(((cell >= 0) & (cell < shape)).all()) and bool(occupied[tuple(cell)]):
                samples.append((r, k))
    return samples


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("shifted", [False, True])
def test_samples_are_the_lattice_intervals_with_their_midpoint_in_an_occupied_cell(share, shifted):
    g = torch.Generator().manual_seed(1)
    occupied = torch.rand(6, 8, 10, generator=g) < share
    rays_o, rays_d = some_rays(24)
    step = 0.17
    near = torch.rand(24, generator=g) * step if shifted else torch.zeros(24)
    ray_indices, t_starts, t_ends = march(rays_o, rays_d, occupied, BOX, near, step)
    k = ((t_starts - near[ray_indices]) / step).round().long()
    found = list(zip(ray_indices.tolist(), k.tolist(), strict=True))
    assert found == one_ray_after_the_other(rays_o, rays_d, occupied, near, step)
    torch.testing.assert_close(t_starts, near[ray_indices] + k * step)
    torch.testing.assert_close(t_ends - t_starts, torch.full_like(t_starts, step), atol=1e-5, rtol=0)


def test_an_empty_grid_and_rays_that_miss_give_no_samples():
    rays_o, rays_d = (v[3:] for v in some_rays(8))
    full = torch.ones(4, 4, 4, dtype=torch.bool)
    for occupied, directions in ((~full, rays_d), (full, rays_o)):
        ray_indices, t_starts, t_ends = march(rays_o, directions, occupied, BOX, torch.zeros(5), 0.1)
        assert len(ray_indices) == len(t_starts) == len(t_ends) == 0


def test_chunks_do_not_change_the_samples(monkeypatch):
    occupied = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.4
    args = (*some_rays(50), occupied, BOX, torch.zeros(50), 0.05)
    whole = march(*args)
    monkeypatch.setattr("piva.nerf.march.CHUNK", 300)
    for a, b in zip(whole, march(*args), strict=True):
        assert torch.equal(a, b)
