import pytest
import torch
import torch.nn.functional as F

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.cameras.rays import image_rays, pixel_rays
from piva.nerf.field import FLOOR, SHARPNESS
from piva.nerf.occupancy import Occupancy
from piva.nerf.render import render, render_image
from piva.nerf.voxels import Voxels, init_voxels

R, SIDE, STEP = 6, 1.0, 0.05


def thin_field(seed=0):
    """Random, and thin enough that no light is dropped."""
    g = torch.Generator().manual_seed(seed)
    return Voxels(torch.randn(1, 1, R, R, R, generator=g) - 3, torch.randn(1, 3, R, R, R, generator=g), SIDE)


def everything():
    occupancy = Occupancy(SIDE, 16)
    occupancy.occupy(torch.ones(16, 16, 16, dtype=torch.bool))
    return occupancy


def dense_quadrature(raw_density, raw_colour, rays_o, rays_d, background):
    """Every lattice point of every ray in float64, with its own trilinear interpolation and cumulative
    product.
    """
    t = (torch.arange(int(6 / STEP), dtype=torch.float64) + 0.5) * STEP
    x = rays_o.double()[:, None] + t[:, None] * rays_d.double()[:, None]  # (n, k, 3)
    inside = (x.abs() < SIDE).all(dim=-1)
    place = ((x / SIDE + 1) / 2 * (R - 1)).clamp(0, R - 1 - 1e-9)
    low, part = place.floor().long(), place - place.floor()
    raw, colour = 0, 0
    for corner in range(8):
        bit = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = torch.where(bit.bool(), part, 1 - part).prod(dim=-1)
        i, j, k = (low + bit).unbind(dim=-1)
        raw = raw + weight * raw_density[0, 0, i, j, k]
        colour = colour + weight[..., None] * raw_colour[0, :, i, j, k].movedim(0, -1)
    sigma = (
        SHARPNESS
        / SIDE
        * (F.softplus(raw.clamp(min=FLOOR)) - F.softplus(torch.tensor(FLOOR, dtype=torch.float64)))
        * inside
    )
    alpha = 1 - torch.exp(-sigma * STEP)
    light = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], dim=1), dim=1)
    return ((light[:, :-1] * alpha)[..., None] * torch.sigmoid(colour)).sum(dim=1) + light[
        :, -1:
    ] * background


def test_render_agrees_with_dense_quadrature_in_values_and_parameter_gradients():
    field = thin_field()
    field.raw_density.data.clamp_(min=FLOOR + 0.1)  # at the floor the gradient is one-sided by design
    rays_o, rays_d = image_rays(torch.from_numpy(orbit(30, 20, 3)), pinhole(45, 12))
    background = torch.tensor([0.2, 0.5, 0.9])
    got = render(field, everything(), rays_o, rays_d, background, STEP)
    pull = torch.rand(got.rgb.shape, generator=torch.Generator().manual_seed(1))
    (got.rgb * pull).sum().backward()

    density = field.raw_density.detach().double().requires_grad_()
    colour = field.raw_colour.detach().double().requires_grad_()
    wanted = dense_quadrature(density, colour, rays_o, rays_d, background.double())
    (wanted * pull).sum().backward()
    assert got.opacity.max() > 0.5
    torch.testing.assert_close(got.rgb.double(), wanted, atol=1e-5, rtol=0)
    for mine, reference in ((field.raw_density.grad, density.grad), (field.raw_colour.grad, colour.grad)):
        assert (mine - reference).norm() < 1e-4 * reference.norm()


def test_dropping_dark_samples_hardly_changes_the_picture(monkeypatch):
    field = thin_field()
    field.raw_density.data += 6
    args = (field, everything(), torch.from_numpy(orbit(30, 20, 3)), pinhole(45, 12), torch.ones(3), STEP)
    dropped = render_image(*args).rgb
    monkeypatch.setattr("piva.nerf.render.LEAST_LIGHT", 0.0)
    assert (render_image(*args).rgb - dropped).abs().max() < 2e-3


def test_an_empty_scene_is_its_background_and_can_be_trained():
    field, occupancy = init_voxels(4, SIDE, FLOOR, torch.device("cpu")), Occupancy(SIDE, 8)
    got = render_image(
        field,
        occupancy,
        torch.from_numpy(orbit(0, 0, 3)),
        pinhole(45, 8),
        torch.tensor([0.1, 0.2, 0.3]),
        STEP,
    )
    torch.testing.assert_close(got.rgb, torch.tensor([0.1, 0.2, 0.3]).expand(8, 8, 3))
    assert got.opacity.abs().max() == got.depth.abs().max() == 0
    got.rgb.sum().backward()


def test_a_wall_is_met_at_its_distance():
    field = init_voxels(5, SIDE, FLOOR, torch.device("cpu"))
    field.raw_density.data[:, :, :2] = 8  # x from -1 to -0.5
    rays_o, rays_d = torch.tensor([[-4.0, 0.1, 0.2]]), torch.tensor([[1.0, 0.0, 0.0]])
    got = render(field, everything(), rays_o, rays_d, torch.zeros(3), 0.01)
    assert got.opacity.item() == pytest.approx(1, abs=2e-3)
    assert got.depth.item() == pytest.approx(3, abs=0.03)


def test_each_ray_can_have_its_own_background():
    field, occupancy = init_voxels(4, SIDE, FLOOR, torch.device("cpu")), everything()
    rays_o, rays_d = image_rays(torch.from_numpy(orbit(0, 0, 3)), pinhole(45, 4))
    colours = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(render(field, occupancy, rays_o, rays_d, colours, STEP).rgb, colours)


def test_a_generator_shifts_the_samples_reproducibly():
    args = (thin_field(), everything(), torch.from_numpy(orbit(0, 0, 3)), pinhole(45, 8), torch.zeros(3), 0.3)
    a, b, c = (render_image(*args, torch.Generator().manual_seed(s)).rgb for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_rays_leave_through_pixel_centres():
    """A camera at -y looks along +y, with +x to the right and +z up; the middle of a 2x2 picture is a corner
    of four pixels.
    """
    c2w, lens = torch.from_numpy(orbit(-90, 0, 3)), pinhole(90, 2)  # focal length 1
    rays_o, rays_d = image_rays(c2w, lens)
    torch.testing.assert_close(rays_o, torch.tensor([0.0, -3.0, 0.0]).expand(4, 3), atol=1e-6, rtol=0)
    wanted = torch.tensor([[-0.5, 1, 0.5], [0.5, 1, 0.5], [-0.5, 1, -0.5], [0.5, 1, -0.5]])
    torch.testing.assert_close(rays_d, F.normalize(wanted, dim=1), atol=1e-6, rtol=0)
    one_o, one_d = pixel_rays(c2w[None], torch.tensor([1]), torch.tensor([0]), lens)
    torch.testing.assert_close((one_o, one_d), (rays_o[1:2], rays_d[1:2]))


def test_parts_of_a_picture_have_the_gradients_of_the_whole(monkeypatch):
    field = thin_field()
    args = (field, everything(), torch.from_numpy(orbit(30, 20, 3)), pinhole(45, 12), torch.ones(3), STEP)
    pull = torch.rand(12, 12, 3, generator=torch.Generator().manual_seed(1))
    results = []
    for rays in (144, 25):  # six parts, the last one smaller
        monkeypatch.setattr("piva.nerf.render.RAYS", rays)
        field.zero_grad()
        got = render_image(*args, torch.Generator().manual_seed(2), cone=0.02)
        (got.rgb * pull).sum().backward()
        results.append((got, field.raw_density.grad.clone(), field.raw_colour.grad.clone()))
    (whole, *gradients), (parted, *others) = results
    for a, b in zip(whole, parted, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(gradients, others, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5 * float(a.abs().max()))


def test_a_large_picture_keeps_the_graph_of_one_part_only(monkeypatch):
    """What autograd holds on to between forward and backward: samples' places of parts, everything of the
    whole.
    """
    held = {}
    field = thin_field()
    for rays in (1 << 20, 64):
        monkeypatch.setattr("piva.nerf.render.RAYS", rays)
        kept = []

        def keep(x, kept=kept):
            kept.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            render_image(
                field, everything(), torch.from_numpy(orbit(0, 0, 3)), pinhole(45, 32), torch.ones(3), STEP
            )
        held[rays] = sum(kept)
    assert held[64] < 0.2 * held[1 << 20]


@pytest.mark.gpu
def test_cuda_and_cpu_render_the_same_picture():
    field, occupancy = thin_field(), everything()
    c2w, lens, background = torch.from_numpy(orbit(30, 20, 3)), pinhole(45, 32), torch.ones(3)
    here = render_image(field, occupancy, c2w, lens, background, STEP)
    here.rgb.square().sum().backward()
    gradient = field.raw_density.grad.clone()
    field.zero_grad()
    there = render_image(field.cuda(), occupancy.cuda(), c2w.cuda(), lens, background.cuda(), STEP)
    there.rgb.square().sum().backward()
    for a, b in zip(here, there, strict=True):
        assert (a - b.cpu()).abs().mean() < 1e-4  # a midpoint on a cell's face may fall to either side
    assert (field.raw_density.grad.cpu() - gradient).norm() < 1e-2 * gradient.norm()
