from dataclasses import replace

import numpy as np
import pytest

from piva.cameras.lens import (
    Lens,
    camera_rays,
    is_not_invertible,
    pinhole_from_focal,
    pixel_directions,
    undistort,
)

BENT = Lens(width=64, height=48, fx=50, fy=49, cx=33, cy=23, k1=-0.1, k2=0.03, p1=0.002, p2=-0.001)


def test_undistorting_inverts_opencvs_formula():
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 9), np.linspace(-0.5, 0.5, 9))
    r2 = x**2 + y**2
    radial = 1 + BENT.k1 * r2 + BENT.k2 * r2**2
    seen_x = x * radial + 2 * BENT.p1 * x * y + BENT.p2 * (r2 + 2 * x**2)
    seen_y = y * radial + BENT.p1 * (r2 + 2 * y**2) + 2 * BENT.p2 * x * y
    np.testing.assert_allclose(undistort(BENT, seen_x, seen_y), (x, y), atol=1e-12)


def test_a_pinholes_rays_go_through_pixel_centres():
    rays = camera_rays(pinhole_from_focal(2.0, 2, 4), 1)
    assert rays.shape == (2, 4, 3)
    np.testing.assert_allclose(rays[0, 0], (-0.75, 0.25, -1))  # (0.5 - 2) / 2 to the left, (0.5 - 1) / 2 up
    np.testing.assert_allclose(rays[1, 3], (0.75, -0.25, -1))


@pytest.mark.parametrize("lens", [BENT, pinhole_from_focal(7.0, 6, 8)])
def test_the_samples_of_a_pixel_surround_its_centre(lens):
    fine, coarse = camera_rays(lens, 2), camera_rays(lens, 1)
    mean = fine.reshape(lens.height, 2, lens.width, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(mean, coarse, atol=1e-4)
    assert not coarse.flags.writeable


def test_four_radial_terms_are_inverted():
    lens = replace(BENT, k3=-0.02, k4=0.005)
    x, y = np.meshgrid(np.linspace(-0.7, 0.7, 9), np.linspace(-0.6, 0.6, 9))
    r2 = x**2 + y**2
    radial = 1 + lens.k1 * r2 + lens.k2 * r2**2 + lens.k3 * r2**3 + lens.k4 * r2**4
    seen_x = x * radial + 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x**2)
    seen_y = y * radial + lens.p1 * (r2 + 2 * y**2) + 2 * lens.p2 * x * y
    np.testing.assert_allclose(undistort(lens, seen_x, seen_y), (x, y), atol=1e-12)


def test_a_fisheye_looks_where_its_formula_says_even_behind_itself():
    lens = Lens(
        width=64, height=64, fx=14, fy=15, cx=31, cy=33, k1=0.05, k2=-0.02, k3=0.004, k4=-0.001, fisheye=True
    )
    angle, around = np.meshgrid(
        np.linspace(0, 1.7, 8), np.linspace(0, 6, 12)
    )  # up to 97 degrees off the axis
    bent = angle * (1 + 0.05 * angle**2 - 0.02 * angle**4 + 0.004 * angle**6 - 0.001 * angle**8)
    got = pixel_directions(lens, 31 + 14 * bent * np.cos(around), 33 + 15 * bent * np.sin(around))
    wanted = [np.sin(angle) * np.cos(around), -np.sin(angle) * np.sin(around), -np.cos(angle)]
    np.testing.assert_allclose(got, np.stack(wanted, axis=-1), atol=1e-12)


@pytest.mark.parametrize("lens", [BENT, replace(BENT, fisheye=True, p1=0, p2=0)])
def test_a_smaller_picture_of_the_same_lens_looks_the_same_way(lens):
    small = lens.resized(16, 24)
    np.testing.assert_allclose(
        pixel_directions(small, np.array([3.0, 15]), np.array([20.0, 1])),
        pixel_directions(lens, np.array([12.0, 60]), np.array([40.0, 2])),
    )


def test_lenses_that_fold_the_picture_are_told_from_those_that_bend_it():
    for lens in (BENT, pinhole_from_focal(30.0, 48, 64), replace(BENT, fisheye=True), replace(BENT, k1=0.4)):
        assert not is_not_invertible(lens)
    for lens in (
        replace(BENT, k1=-1.5),
        replace(BENT, k2=-4.0),
        replace(BENT, fisheye=True, fx=8.0, k1=-0.3, k2=0),
    ):
        assert is_not_invertible(lens)
