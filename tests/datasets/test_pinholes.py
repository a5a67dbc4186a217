"""Distorted pictures of a known world, drawn ray by ray, undistorted: they are what a pinhole sees of it."""

from dataclasses import replace

import numpy as np
import pytest

from piva.cameras.lens import Lens, distort, pixel_directions, undistort
from piva.datasets.pinholes import as_pinholes, undistorted
from piva.datasets.scene import Views

BARREL = Lens(width=64, height=48, fx=50, fy=49, cx=33, cy=23, k1=-0.1, k2=0.03, p1=0.002, p2=-0.001)
PINCUSHION = replace(BARREL, k1=0.12, k2=0.0)
FISHEYE = Lens(width=64, height=48, fx=30, fy=30, cx=32, cy=24, k1=0.02, k2=-0.01, fisheye=True)


def taken(lens):
    """What a lens sees of a smooth sky: (h, w, 3) in [0, 1]."""
    v, u = np.mgrid[: lens.height, : lens.width] + 0.5
    d = pixel_directions(lens, u, v)
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    return (0.5 + 0.4 * np.sin(4 * d + [0, 1, 2])).astype(np.float32)


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION, FISHEYE])
def test_distorting_inverts_undistorting(lens):
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(-0.4, 0.4, 9))
    if lens.fisheye:
        column, row = (at * f + c for at, f, c in zip(distort(lens, x, y), (30, 30), (32, 24), strict=True))
        d = pixel_directions(lens, column, row)
        np.testing.assert_allclose(np.stack([d[..., 0], -d[..., 1]]) / -d[..., 2], (x, y), atol=1e-9)
    else:
        np.testing.assert_allclose(undistort(lens, *distort(lens, x, y)), (x, y), atol=1e-9)


@pytest.mark.parametrize(("lens", "whole"), [(BARREL, True), (PINCUSHION, False), (FISHEYE, True)])
def test_a_distorted_picture_becomes_the_pinholes(lens, whole):
    views = views_of(lens, np.dstack([taken(lens), np.ones((48, 64))]))
    through = as_pinholes(views)
    assert through.lenses == [lens.as_pinhole()]
    assert through.distorted == [lens]
    kept = np.ones((48, 64), bool) if through.keep is None else through.keep[0]
    assert kept.all() == whole
    assert kept.mean() > 0.8
    error = through.images[0, ..., :3] / 255 - taken(lens.as_pinhole())
    assert np.abs(error)[kept].max() < 0.02


def views_of(lens, rgba, keep=None):
    images = np.rint(rgba * 255).astype(np.uint8)[None]
    pose, nothing = np.eye(4, dtype=np.float32)[None], {"names": ["a"], "train": [0], "test": [0]}
    return Views(images=images, keep=keep, c2w=pose, lenses=[lens], world=np.eye(4), near=0.0, **nothing)


def test_pinholes_stay_as_they_are():
    views = views_of(BARREL.as_pinhole(), np.ones((48, 64, 4)))
    assert as_pinholes(views) is views


def test_masks_and_alpha_are_undistorted_too():
    rgba, keep = np.zeros((48, 64, 4)), np.ones((1, 48, 64), bool)
    rgba[:, 32:], keep[:, :10] = (1, 0.5, 0, 1), False  # a half that is not there, and has no colour
    through = as_pinholes(views_of(BARREL, rgba, keep))
    assert not through.keep[0, :8].any()
    assert through.keep[0, 14:].all()
    there = through.images[0, ..., 3] > 20
    assert (np.abs(through.images[0][there][:, :3].astype(int) - (255, 128, 0)) <= 2).all()
    assert through.images[0, 24, 28, 3] == 0
    assert through.images[0, 24, 40, 3] == 255


def test_a_polynomial_that_turns_back_shows_nothing():
    """k2 takes back what k1 gave: beyond the picture the same places would be met again."""
    bent = replace(BARREL, k1=0.5, k2=-0.9, p1=0.0, p2=0.0, fx=40, fy=40, cx=32, cy=24)
    through = as_pinholes(views_of(bent, np.ones((48, 64, 4))))
    assert through.keep is not None
    assert through.keep[0, 24, 32]
    assert not through.keep[0, 0, 0]


def test_a_picture_through_a_pinhole_is_itself():
    picture = taken(BARREL)
    assert undistorted(picture, BARREL.as_pinhole()) is picture
