import numpy as np
import pytest

from piva.render.lens import Lens, camera_rays, pinhole_lens, undistort

BENT = Lens(width=64, height=48, fx=50, fy=49, cx=33, cy=23, k1=-0.1, k2=0.03, p1=0.002, p2=-0.001)


def test_undistorting_inverts_opencvs_formula():
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 9), np.linspace(-0.5, 0.5, 9))
    r2 = x**2 + y**2
    radial = 1 + BENT.k1 * r2 + BENT.k2 * r2**2
    seen_x = x * radial + 2 * BENT.p1 * x * y + BENT.p2 * (r2 + 2 * x**2)
    seen_y = y * radial + BENT.p1 * (r2 + 2 * y**2) + 2 * BENT.p2 * x * y
    np.testing.assert_allclose(undistort(BENT, seen_x, seen_y), (x, y), atol=1e-12)


def test_a_pinholes_rays_go_through_pixel_centres():
    rays = camera_rays(pinhole_lens(4, 2, 2.0), 1)
    assert rays.shape == (2, 4, 3)
    np.testing.assert_allclose(rays[0, 0], (-0.75, 0.25, -1))  # (0.5 - 2) / 2 to the left, (0.5 - 1) / 2 up
    np.testing.assert_allclose(rays[1, 3], (0.75, -0.25, -1))


@pytest.mark.parametrize("lens", [BENT, pinhole_lens(8, 6, 7.0)])
def test_the_samples_of_a_pixel_surround_its_centre(lens):
    fine, coarse = camera_rays(lens, 2), camera_rays(lens, 1)
    mean = fine.reshape(lens.height, 2, lens.width, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(mean, coarse, atol=1e-4)
    assert not coarse.flags.writeable
