import torch

from piva.nerf.field import contract


def points(seed=0):
    """Directions in random places, near and far: from 0.03 to 300 times the radius."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(300, 3, generator=g, dtype=torch.float64) * 10 ** (
        torch.rand(300, 1, generator=g) * 4 - 1.5
    )


def test_one_level_is_the_box_alone():
    x = points()
    torch.testing.assert_close(contract(x, 2.5, 1), x / 2.5)


def test_all_of_space_fits_into_the_cube_and_the_box_into_its_middle_half():
    x = points()
    y = contract(x, 2.0, 3)
    assert y.abs().max() < 1
    within = (x.abs() <= 2.0).all(dim=1)
    assert 50 < within.sum() < 250
    assert torch.equal((y.abs() <= 0.5).all(dim=1), within)
    torch.testing.assert_close(y[within], x[within] / 4)


def test_it_is_mip_nerf_360s_contraction_in_the_norm_of_the_largest_coordinate():
    """On an axis all norms agree: there Eq. 10 of Barron et al. holds as printed, scaled into the cube."""
    for away in (1.0, 1.5, 4.0, 1000.0):
        x = torch.tensor([[0.0, -away, 0.0]], dtype=torch.float64)
        torch.testing.assert_close(
            contract(x, 1.0, 2), torch.tensor([[0.0, -(2 - 1 / away) / 2, 0.0]], dtype=torch.float64)
        )
    corner = torch.tensor([[4.0, 4.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(contract(corner, 1.0, 2), corner / 4 * (2 - 1 / 4) / 2)


def test_gradients_flow_everywhere_but_where_the_norm_has_a_corner():
    x = points(1)[:20].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: contract(x, 2.0, 2), (x,))
