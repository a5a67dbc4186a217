"""What an edit wants gone has a gradient, however opaque it is."""

import copy

import pytest
import torch

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.nerf.carve import MOST, Gone, excess_depth, vanishing
from piva.nerf.field import FLOOR
from piva.nerf.occupancy import Occupancy
from piva.nerf.render import render_image
from piva.nerf.voxels import Voxels

NODES, STEP = 20, 0.02
WHITE = torch.ones(3)


def two_walls() -> tuple[Voxels, Occupancy]:
    """Two opaque walls of one colour across the x axis, with nothing between them."""
    raw = torch.full((1, 1, NODES, NODES, NODES), FLOOR)
    raw[:, :, 3:6] = raw[:, :, 14:17] = 20.0
    field = Voxels(raw, torch.full((1, 3, NODES, NODES, NODES), -1.0), 1.0)
    occupancy = Occupancy(1.0, 16)
    occupancy.occupy(torch.ones(16, 16, 16, dtype=torch.bool))
    return field, occupancy


# one ray a pixel, through both walls: far away and through a long lens
CAMERA = (torch.from_numpy(orbit(0, 0, 30)), pinhole(2, 2))
PIXELS = torch.arange(4)


def excess(
    field: Voxels, occupancy: Occupancy, share: torch.Tensor, original: Voxels | None = None
) -> torch.Tensor:
    return excess_depth(field, original or field, occupancy, CAMERA, Gone(PIXELS[: len(share)], share), STEP)


def test_depth_moves_both_walls_where_colour_moves_neither() -> None:
    field, occupancy = two_walls()
    shown = render_image(field, occupancy, *CAMERA, WHITE, STEP).rgb
    (shown - WHITE).square().sum().backward()
    assert field.raw_density.grad is not None
    by_colour = field.raw_density.grad.clone()
    field.raw_density.grad = None
    excess(field, occupancy, torch.full((4,), 0.5)).backward()
    by_depth = field.raw_density.grad
    for wall in (slice(4, 6), slice(14, 16)):  # but for their outer nodes, of which light enters one
        assert by_colour[:, :, wall].abs().max() < 1e-6
        assert by_depth[:, :, wall].max() > 1  # descent lowers it
    assert by_depth[:, :, 8:12].abs().max() < 0.05  # between the walls nothing is to go


@torch.no_grad()
def test_the_excess_is_the_optical_depth_beyond_the_share() -> None:
    field, occupancy = two_walls()
    share = torch.tensor([0.2, 0.5, 0.9, MOST])
    depth = excess(field, occupancy, torch.ones(4))
    torch.testing.assert_close(excess(field, occupancy, share), depth + share.log().sum())


def test_a_ray_that_lets_enough_light_through_is_left_alone() -> None:
    field, occupancy = two_walls()
    with torch.no_grad():
        field.raw_density.clamp_(max=-3.9)
    thin = render_image(field, occupancy, *CAMERA, WHITE, STEP).opacity.max()
    assert 0 < thin < 0.5
    loss = excess(field, occupancy, torch.full((4,), 0.5))
    loss.backward()
    assert loss.item() == 0
    assert field.raw_density.grad is not None
    assert not field.raw_density.grad.any()


@pytest.mark.parametrize(
    ("before", "wanted", "share"),
    [
        ((0.0, 0.0, 1.0), (0.5, 0.5, 1.0), 0.5),  # half the way to white
        ((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), MOST),
        ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), 0.0),  # another colour
        ((0.0, 0.0, 1.0), (0.1, 0.1, 1.0), 0.0),  # too little to be sure
        ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 0.0),  # nothing
        ((0.9, 0.9, 0.9), (1.0, 1.0, 1.0), 0.0),  # white already, or nearly
        ((0.5, 0.5, 1.0), (0.0, 0.0, 1.0), 0.0),  # away from it
    ],
)
def test_pixels_vanish_that_go_to_the_background(
    before: tuple[float, ...], wanted: tuple[float, ...], share: float
) -> None:
    pictures = (torch.tensor(colour)[:, None, None].expand(3, 2, 2) for colour in (before, wanted))
    gone = vanishing(*pictures, WHITE)
    assert gone.pixels.tolist() == (list(range(4)) if share else [])
    torch.testing.assert_close(gone.share, torch.full((len(gone.pixels),), share))


def test_what_is_new_is_not_carved() -> None:
    field, occupancy = two_walls()
    original = copy.deepcopy(field)
    with torch.no_grad():
        original.raw_density[:, :, 14:17] = FLOOR
    excess(field, occupancy, torch.full((4,), 0.5), original).backward()
    assert field.raw_density.grad is not None
    assert field.raw_density.grad[:, :, 4:6].max() > 1
    assert not field.raw_density.grad[:, :, 14:17].any()
