"""A ball in front of a coloured sky that is much farther away than the box reaches, photographed from between
them.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.ball import RADIUS

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.metrics.pixels import psnr
from piva.nerf.fit import fit
from piva.nerf.render import render_image
from piva.nerf.settings import VoxelFit
from piva.nerf.voxels import Voxels

FAR, SIZE = 12.0, 24
BALL = RADIUS / 2
LENS = pinhole(60, SIZE)
SETTINGS = VoxelFit(
    radius=1.2, resolutions=[16, 32], steps=[50, 80], rays=512, step=0.06, cone=0.06, levels=5,
    lr_density=0.1, lr_colour=0.1, lr_end=0.1, occupancy=16, threshold=0.3, refresh_every=16, decay=0.95,
)  # fmt: skip


def photo(c2w):
    """RGBA (h, w, 4) of what a camera sees: the ball where its ray meets it, else the sky's pattern."""
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    way = (
        np.stack([(u - LENS.cx) / LENS.fx, (LENS.cy - v) / LENS.fy, -np.ones_like(u)], axis=-1)
        @ c2w[:3, :3].T
    )
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    start = c2w[:3, 3]

    def meet(radius, sign):
        along = way @ start
        under = along**2 - (start @ start - radius**2)
        return under > 0, start + way * (-along + sign * np.sqrt(np.maximum(under, 0)))[..., None]

    hit, near = meet(BALL, -1)
    _, far = meet(FAR, 1)
    colour = np.where(near[..., :1] > 0, [0.9, 0.3, 0.2], [0.2, 0.4, 0.8])
    sky = 0.5 + 0.4 * np.sin(0.45 * far + (0, 1, 2))
    rgb = np.where((hit & ((way @ start) < 0))[..., None], colour, sky)
    return np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1).astype(np.float32)


def photos(poses):
    return torch.from_numpy(np.stack([photo(c2w.astype(np.float64)) for c2w in poses])), torch.from_numpy(
        np.stack(poses)
    )


def quality(levels):
    """PSNR at cameras that the fit has not seen."""
    settings = dataclasses.replace(SETTINGS, levels=levels)
    views, poses = photos([orbit(83 * i, -30 + 41 * i % 70, 0.9 + 0.02 * (i % 5)) for i in range(40)])
    fitted = fit(views, poses, LENS, settings, torch.Generator().manual_seed(0))
    unseen, places = photos([orbit(31 + 77 * i, -20 + 37 * i % 60, 0.95) for i in range(6)])
    with torch.no_grad():
        shown = [
            render_image(
                fitted.field,
                fitted.occupancy,
                c2w,
                LENS,
                fitted.background,
                settings.step,
                cone=settings.cone,
            ).rgb
            for c2w in places
        ]
    return float(psnr(torch.stack(shown).permute(0, 3, 1, 2), unseen[..., :3].permute(0, 3, 1, 2)).mean())


def test_a_far_background_needs_the_outer_levels():
    bounded, all_of_space = quality(1), quality(5)
    assert all_of_space > 19
    assert all_of_space > bounded + 6


def test_a_field_of_all_space_keeps_its_values_when_it_is_refined():
    g = torch.Generator().manual_seed(0)
    field = Voxels(torch.randn(1, 1, 5, 5, 5, generator=g), torch.randn(1, 3, 5, 5, 5, generator=g), 1.0, 4)
    nodes = torch.tensor(
        [[0.0, 0, 0], [1.0, 0.5, -1.0], [0.5, 0.0, 1.0]]
    )  # of the grid of 5 in the middle half
    torch.testing.assert_close(field.upsample(9).density(nodes), field.density(nodes))


def test_at_most_as_many_levels_as_nerfacc_takes():
    with pytest.raises(InputError, match="levels: found 9, wanted at most 8"):
        dataclasses.replace(SETTINGS, levels=9)
