import pytest
import torch
from ball import some_rays

from piva.nerf.occupancy import Occupancy, dilated
from piva.nerf.voxels import FLOOR, uniform


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
    tight = occupancy.occupied.clone()
    index = torch.stack(torch.meshgrid(*[torch.arange(20)] * 3, indexing="ij"), dim=-1)
    centre = (index + 0.5) / 10 - 1
    assert bool(tight[centre.norm(dim=-1) < 0.5].all())
    assert not bool(tight[centre.norm(dim=-1) > 0.5 + 0.05 * 3**0.5].any())  # no cell that the ball does not touch
    occupancy.refresh(ball(0.5), 1.0, dilate=2)
    assert torch.equal(occupancy.occupied, dilated(tight, 2))
    occupancy.refresh(ball(0.5), 1.0)
    assert torch.equal(occupancy.occupied, tight)


def test_axes_are_x_y_z():
    occupancy = Occupancy(1.0, 10)
    occupancy.refresh(lambda x: 5.0 * ((x[:, 0] > 0.5) & (x[:, 1] < 0)), 1.0)
    assert bool(occupancy.occupied[8:, :5].all())
    assert not bool(occupancy.occupied[:6].any())


def test_remembered_density_decays_and_nothing_grows_outside_the_given_cells():
    occupancy = Occupancy(1.0, 8)
    within = torch.zeros(8, 8, 8, dtype=torch.bool)
    within[:4] = True
    occupancy.refresh(ball(0.7), 1.0, within=within)
    before = occupancy.occupied.clone()
    assert bool(before.any())
    assert not bool(before[4:].any())
    for wanted in (True, True, True, False):  # 10 -> 5 -> 2.5 -> 1.25 -> 0.625
        occupancy.refresh(lambda x: torch.zeros_like(x[:, 0]), 1.0, decay=0.5, within=within)
        assert torch.equal(occupancy.occupied, before & wanted)


def test_state_survives_saving():
    a, b = Occupancy(1.0, 8), Occupancy(1.0, 8)
    a.refresh(ball(0.5), 1.0)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.occupied, b.occupied)
    rays = some_rays(10)
    for x, y in zip(a.sample(*rays, torch.zeros(10), 0.1), b.sample(*rays, torch.zeros(10), 0.1), strict=True):
        assert torch.equal(x, y)


def test_empty_space_is_exactly_empty_and_can_fill_but_not_sink():
    field = uniform(4, 1.0, FLOOR, torch.device("cpu"))
    x = torch.zeros(1, 3)
    assert field.density(x).item() == 0
    for push, moves in ((1.0, False), (-1.0, True)):  # descent along +1 would lower the density, along -1 raise it
        field.zero_grad()
        (push * field.density(x)).sum().backward()
        assert bool((field.raw_density.grad != 0).any()) == moves


def test_upsampling_keeps_a_linear_field():
    field = uniform(5, 2.0, 0.0, torch.device("cpu"))
    ramp = torch.linspace(-2, 2, 5)
    field.raw_density.data += ramp[:, None, None] + 2 * ramp[None, :, None]
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 4 - 2
    torch.testing.assert_close(field.upsample(9).density(x), field.density(x))


@pytest.mark.gpu
def test_march_matches_nerfacc_on_cuda():
    g = torch.Generator().manual_seed(3)
    occupancy = Occupancy(1.0, 32)
    occupancy.occupy(torch.rand(32, 32, 32, generator=g) < 0.3)
    rays_o, rays_d = some_rays(2000)
    near = torch.rand(2000, generator=g) * 0.02
    ours = occupancy.sample(rays_o, rays_d, near, 0.02)
    theirs = [v.cpu() for v in occupancy.cuda().sample(rays_o.cuda(), rays_d.cuda(), near.cuda(), 0.02)]
    mine, nerfaccs = (set((r * 1000 + ((t - near[r]) / 0.02).round().long()).tolist()) for r, t, _ in (ours, theirs))
    assert len(mine ^ nerfaccs) <= 1e-3 * len(mine)  # midpoints on a face may fall to either side
