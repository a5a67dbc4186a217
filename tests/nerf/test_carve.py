"""What an edit wants gone has a gradient, however opaque it is."""

import copy

import pytest
import torch

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.nerf.carve import MOST, Gone, excess_depth, see_through, vanishing
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


def test_two_backgrounds_tell_how_much_of_them_comes_through() -> None:
    """Whatever the colours are: a composite c + (1 - a) b of each pixel, before any two backgrounds b."""
    drawn = torch.Generator().manual_seed(0)
    premultiplied, backgrounds = torch.rand(3, 8, 8, generator=drawn), torch.rand(2, 3, generator=drawn)
    through = torch.rand(8, 8, generator=drawn)
    pictures = premultiplied + through * backgrounds[:, :, None, None]
    torch.testing.assert_close(see_through(pictures, backgrounds), through)


PINK, BLUE = (1.0, 0.7, 0.8), (0.0, 0.0, 1.0)
Colour = tuple[float, ...]


def pair(white: Colour, pastel: Colour) -> torch.Tensor:
    """Return two pictures of 2x2 pixels, each of one colour."""
    return torch.tensor([white, pastel], dtype=torch.float32)[:, :, None, None].expand(2, 3, 2, 2)


def mixed(share: float, behind: Colour) -> Colour:
    return tuple(share * there + (1 - share) * blue for blue, there in zip(BLUE, behind, strict=True))


@pytest.mark.parametrize(
    ("white", "pink", "share"),
    [
        (mixed(0.5, (1, 1, 1)), mixed(0.5, PINK), 0.5),  # half of what is behind comes through
        ((1, 1, 1), PINK, MOST),  # all of it
        (mixed(0.05, (1, 1, 1)), mixed(0.05, PINK), 0),  # too little to be sure
        (BLUE, BLUE, 0),  # nothing
        (PINK, PINK, 0),  # painted in the colour that is behind one of them
        ((1, 1, 1), (1, 1, 1), 0),
        (PINK, (1, 1, 1), 0),  # the other way round
        ((1, 0.2, 0.2), (1, 0.14, 0.16), 0),  # painted red, a little of what is behind in it
    ],
)
def test_pixels_vanish_that_let_either_background_through(white: Colour, pink: Colour, share: float) -> None:
    gone = vanishing(pair(BLUE, BLUE), pair(white, pink), torch.tensor([(1.0, 1.0, 1.0), PINK]))
    assert gone.pixels.tolist() == (list(range(4)) if share else [])
    torch.testing.assert_close(gone.share, torch.full((len(gone.pixels),), float(share)))


def wall(shares: torch.Tensor) -> torch.Tensor:
    """Return a blue wall before white and before pink that lets through these shares (h, w)."""
    behind = torch.tensor([(1.0, 1.0, 1.0), PINK])[:, :, None, None]
    return torch.tensor(BLUE)[:, None, None] * (1 - shares) + behind * shares


def test_a_wall_whose_half_goes_goes_where_it_is_whole_and_single_pixels_do_not() -> None:
    """Shares are means over 5x5 pixels: decoded pictures are wrong by a pixel here and there."""
    opaque, half, speck = torch.zeros(20, 20), torch.zeros(20, 20), torch.zeros(20, 20)
    half[:, :10] = 1
    speck[10, 10] = 1
    backgrounds = torch.tensor([(1.0, 1.0, 1.0), PINK])
    gone = vanishing(wall(opaque), wall(half), backgrounds)
    asked = torch.zeros(400).index_copy(0, gone.pixels, gone.share).view(20, 20)
    assert (asked[:, :8] == MOST).all()
    assert not asked[:, 12:].any()
    assert not len(vanishing(wall(opaque), wall(speck), backgrounds).pixels)


def test_what_was_half_gone_goes_on_and_its_shade_may_change_a_little() -> None:
    """The rise is a part of what is left: of 0.8, three quarters of the rest make 0.95."""
    backgrounds = torch.tensor([(1.0, 1.0, 1.0), PINK])
    thin, thinner, darker = (torch.full((6, 6), share) for share in (0.8, 0.95, 0.5))
    gone = vanishing(wall(thin), wall(thinner), backgrounds)
    assert len(gone.pixels) == 36
    torch.testing.assert_close(gone.share, torch.full((36,), 0.95))
    gone = vanishing(wall(torch.zeros(6, 6)), wall(darker) - 0.1, backgrounds)
    torch.testing.assert_close(gone.share, torch.full((36,), 0.5))


def test_what_let_light_through_before_need_not_vanish() -> None:
    half = pair(mixed(0.5, (1, 1, 1)), mixed(0.5, PINK))
    assert not len(vanishing(half, half, torch.tensor([(1.0, 1.0, 1.0), PINK])).pixels)


def test_backgrounds_that_hardly_differ_tell_nothing() -> None:
    nearly = (0.95, 0.95, 0.95)
    gone = vanishing(pair(BLUE, BLUE), pair((1, 1, 1), nearly), torch.tensor([(1.0, 1.0, 1.0), nearly]))
    assert not len(gone.pixels)


def test_what_is_new_is_not_carved() -> None:
    field, occupancy = two_walls()
    original = copy.deepcopy(field)
    with torch.no_grad():
        original.raw_density[:, :, 14:17] = FLOOR
    excess(field, occupancy, torch.full((4,), 0.5), original).backward()
    assert field.raw_density.grad is not None
    assert field.raw_density.grad[:, :, 4:6].max() > 1
    assert not field.raw_density.grad[:, :, 14:17].any()
