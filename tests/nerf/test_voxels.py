import torch

from piva.nerf.voxels import Voxels, _sampled


def field(seed):
    g = torch.Generator().manual_seed(seed)
    return Voxels(
        torch.randn(1, 1, 5, 5, 5, generator=g).double(),
        torch.randn(1, 3, 5, 5, 5, generator=g).double(),
        1.0,
    )


def test_smoothing_adds_the_gradient_of_the_changes_roughness():
    """Against autograd on the squared differences of neighbours, written out."""
    now, before = field(0), field(1)
    for p in now.parameters():
        p.grad = torch.ones_like(p)
    now.smooth_change(before, density=0.3, colour=0.7)
    for p, q, weight in zip(now.parameters(), before.parameters(), (0.3, 0.7), strict=True):
        change = (p - q).detach().requires_grad_(True)
        roughness = sum(change.diff(dim=d).square().sum() for d in (2, 3, 4)) / 2
        (expected,) = torch.autograd.grad(weight * roughness, change)
        torch.testing.assert_close(p.grad, 1 + expected)


def test_an_unchanged_field_is_not_smoothed():
    now = field(0)
    for p in now.parameters():
        p.grad = torch.zeros_like(p)
    now.smooth_change(field(0), density=1.0, colour=1.0)
    assert all(p.grad.abs().max() == 0 for p in now.parameters())


def test_parts_for_threads_have_the_values_and_gradients_of_the_whole():
    """Also a number of points that the parts do not divide."""
    g = torch.Generator().manual_seed(2)
    place = 2.2 * torch.rand(1001, 3, generator=g).double() - 1.1  # some beyond the faces
    pull = torch.rand(1001, 3, generator=g).double()
    results = []
    for parts in (1, 2, 3):
        grid = field(0).raw_colour.detach().requires_grad_(True)
        values = _sampled(grid, place, parts)
        (gradient,) = torch.autograd.grad((values * pull).sum(), grid)
        results.append((values.detach(), gradient))
    for values, gradient in results[1:]:
        assert torch.equal(values, results[0][0])
        torch.testing.assert_close(gradient, results[0][1])


def test_a_coarse_gradient_is_the_mean_of_its_cells_spread_again():
    """What is even stays, the whole sum stays, and what alternates from node to node is gone."""
    now = Voxels(torch.zeros(1, 1, 12, 12, 12).double(), torch.zeros(1, 3, 12, 12, 12).double(), 1.0)
    now.raw_density.grad = torch.ones_like(now.raw_density)
    alternating = (-1.0) ** torch.arange(12).double()
    now.raw_colour.grad = alternating.expand_as(now.raw_colour).clone()
    now.coarsen_gradient(4)
    torch.testing.assert_close(now.raw_density.grad, torch.ones_like(now.raw_density))
    assert now.raw_colour.grad.abs().max() < 0.4
    before = now.raw_colour.grad.clone()
    now.coarsen_gradient(12)
    assert torch.equal(now.raw_colour.grad, before)


def test_shrinking_brings_small_changes_back_and_large_ones_nearer():
    now, before = field(0), field(0)
    with torch.no_grad():
        now.raw_density[0, 0, 0, 0] += torch.tensor([0.05, -0.05, 1.0, -1.0, 0.0])
    now.shrink_change(before, density=0.1, colour=0.1)
    change = (now.raw_density - before.raw_density)[0, 0, 0, 0].detach()
    torch.testing.assert_close(change, torch.tensor([0.0, 0.0, 0.9, -0.9, 0.0]).double())
    assert torch.equal(now.raw_colour, before.raw_colour)
