"""Splats as voxels against the sum of Gaussians in plain torch, and against the rasteriser's pictures."""

import math

import torch
from helpers.splat_reference import rotations, some_gaussians

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.nerf.render import render, render_image
from piva.nerf.splats.density import BLUR, as_voxels
from piva.nerf.splats.rasterise import SH0
from piva.nerf.splats.scene import SplatScene
from piva.nerf.splats.splats import Splats

NODES = 33
CELL = 2 / (NODES - 1)


def splats_of(means, scales, quats, opacities, colours, to_file=None):
    n = len(means)
    sh0 = ((colours - 0.5) / SH0)[:, None]
    parts = means, scales.log(), quats, torch.logit(opacities), sh0, means.new_zeros(n, 0, 3)
    return Splats(*parts, torch.eye(4) if to_file is None else to_file)


def some(n=40):
    means, quats, scales, opacities, _ = some_gaussians(n)
    colours = torch.rand(n, 3, generator=torch.Generator().manual_seed(3))
    return means * 0.5, scales, quats, opacities, colours


def test_density_and_colour_are_the_sums_over_gaussians():
    means, scales, quats, opacities, colours = some()
    field = as_voxels(splats_of(means, scales, quats, opacities, colours), 1.0, NODES).field
    node = torch.randint(NODES, (3000, 3), generator=torch.Generator().manual_seed(0))
    points = node * CELL - 1
    turned = rotations(quats / quats.norm(dim=1, keepdim=True))  # (n, 3, 3)
    spread = (scales**2 + (BLUR * CELL) ** 2).sqrt()
    along = torch.einsum("mni,nij->mnj", points[:, None] - means, turned) / spread
    peaks = -torch.log1p(-opacities) / (spread.amin(1) * math.sqrt(2 * math.pi))
    each = peaks * torch.exp(-along.square().sum(-1) / 2)  # (m, n)
    density, colour = (x.detach() for x in field(points))
    torch.testing.assert_close(density, each.sum(1), rtol=2e-3, atol=0.05)
    inside = each.sum(1) > 1
    assert inside.sum() > 50
    mean = each[inside] @ colours / each[inside].sum(1, keepdim=True)
    torch.testing.assert_close(colour[inside], mean, rtol=0, atol=5e-3)


def test_a_ray_through_the_thin_side_meets_the_splats_opacity():
    flat = torch.tensor([[0.3, 0.3, 0.02]])
    for opacity in (0.2, 0.7, 0.95):
        one = splats_of(
            torch.zeros(1, 3), flat, torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([opacity]), torch.ones(1, 3)
        )
        voxels = as_voxels(one, 1.0, 97)
        down = torch.tensor([[0.0, 0, 2.0]]), torch.tensor([[0.0, 0, -1.0]])
        seen = render(voxels.field, voxels.occupancy, *down, torch.zeros(3), 0.004)
        assert abs(float(seen.opacity.detach()) - opacity) < 0.02


def test_the_scenes_axes_are_those_of_its_cameras():
    """A file whose y points up is turned for rendering; its voxels look the same from the same camera."""
    means, scales, quats, opacities, colours = some(200)
    to_file = torch.eye(4)
    to_file[:3, :3] = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    splats = splats_of(means, scales + 0.05, quats, opacities, colours, to_file)
    c2w, lens = torch.from_numpy(orbit(30, 20, 3.0)), pinhole(40, 48)
    voxels = as_voxels(splats, 1.2, 97)
    with torch.no_grad():
        drawn = SplatScene(splats, None).view(None, c2w, lens, torch.ones(3))
        marched = render_image(voxels.field, voxels.occupancy, c2w, lens, torch.ones(3), 0.01)
    both, one = ((drawn.opacity > 0.5) & (marched.opacity > 0.5)), (drawn.opacity > 0.5)
    assert one.sum() > 100
    assert both.sum() > 0.9 * one.sum()
    assert (drawn.rgb - marched.rgb)[both].abs().mean() < 0.1


def test_splats_outside_the_box_and_none_at_all_are_no_density():
    means, scales, quats, opacities, colours = some(5)
    for given in (means + 50, means[:0]):
        n = len(given)
        parts = given, scales[:n], quats[:n], opacities[:n], colours[:n]
        field = as_voxels(splats_of(*parts), 1.0, 16).field
        assert not field.node_density().any()
