"""Rays of bent lenses, against a chessboard projected by the cameras' formulas, written out here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.operations import Operations
from torch._subclasses.fake_tensor import FakeTensorMode

from piva.cameras.lens import Lens, camera_rays, is_not_invertible, pinhole
from piva.cameras.poses import orbit
from piva.cameras.rays import Lenses, image_rays, mixed_rays, pixel_rays, z_depth

PHONE = Lens(width=96, height=64, fx=80.3, fy=79.1, cx=49.7, cy=30.2, k1=-0.12, k2=0.05, p1=0.003, p2=-0.002)
SPHERE = Lens(
    width=96,
    height=64,
    fx=40.1,
    fy=41.5,
    cx=46.9,
    cy=33.3,
    k1=0.08,
    k2=-0.03,
    k3=0.01,
    k4=-0.002,
    fisheye=True,
)
POSE = orbit(25, 35, 2.5)


def opencv(lens, x, y):
    r2 = x**2 + y**2
    radial = 1 + lens.k1 * r2 + lens.k2 * r2**2 + lens.k3 * r2**3
    u = x * radial + 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x**2)
    v = y * radial + lens.p1 * (r2 + 2 * y**2) + 2 * lens.p2 * x * y
    return lens.fx * u + lens.cx, lens.fy * v + lens.cy


def opencv_fisheye(lens, x, y):
    r = np.hypot(x, y)
    angle = np.arctan(r)
    bent = angle * (1 + lens.k1 * angle**2 + lens.k2 * angle**4 + lens.k3 * angle**6 + lens.k4 * angle**8)
    return lens.fx * x * bent / r + lens.cx, lens.fy * y * bent / r + lens.cy


def project(lens, points, c2w):
    """Pixels (n, 2) of world points (n, 3), in float64."""
    x, y, z = (c2w[:3, :3].T.astype(np.float64) @ (points - c2w[:3, 3]).T.astype(np.float64)) * [
        [1],
        [-1],
        [-1],
    ]
    return np.stack((opencv_fisheye if lens.fisheye else opencv)(lens, x / z, y / z), axis=-1)


def corners():
    """Of a chessboard on the floor."""
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
    return np.stack([x.ravel(), y.ravel(), np.zeros(81)], axis=-1)


@pytest.mark.parametrize("lens", [PHONE, SPHERE], ids=["opencv", "fisheye"])
def test_every_pixels_ray_meets_the_board_at_a_point_that_projects_to_the_pixel(lens):
    rays_o, rays_d = (v.double().numpy() for v in image_rays(torch.from_numpy(POSE), lens))
    down = rays_d[:, 2] < -0.2
    assert down.mean() > 0.6
    board = rays_o + rays_d * (-rays_o[:, 2] / rays_d[:, 2])[:, None]
    row, column = np.divmod(np.flatnonzero(down), lens.width)
    wanted = np.stack([column + 0.5, row + 0.5], axis=-1)
    assert np.abs(project(lens, board[down], POSE) - wanted).max() < 0.05
    straight = replace(lens, k1=0, k2=0, k3=0, k4=0, p1=0, p2=0, fisheye=False)
    assert np.abs(project(straight, board[down], POSE) - wanted).max() > 2  # bent enough for the test to tell


@pytest.mark.parametrize("lens", [PHONE, SPHERE], ids=["opencv", "fisheye"])
def test_rays_next_to_a_corner_of_the_board_pass_it(lens):
    """The corner lies between the rays of the four pixels around its projection: their angles to it say
    where.
    """
    seen = project(lens, corners(), POSE)
    inside = (seen > 1).all(axis=1) & (seen < (lens.width - 1, lens.height - 1)).all(axis=1)
    assert inside.sum() > 40
    seen, points = seen[inside], corners()[inside]
    low = np.floor(seen - 0.5).astype(int)
    part = seen - 0.5 - low
    poses = torch.from_numpy(POSE).expand(len(low), 4, 4)
    ways = []
    for i, j in ((0, 0), (1, 0), (0, 1)):
        ways.append(
            pixel_rays(poses, torch.from_numpy(low[:, 0] + i), torch.from_numpy(low[:, 1] + j), lens)[1]
            .double()
            .numpy()
        )
    mixed = ways[0] + part[:, :1] * (ways[1] - ways[0]) + part[:, 1:] * (ways[2] - ways[0])
    to_corner = points - POSE[:3, 3]
    cosine = (
        (mixed * to_corner).sum(axis=1) / np.linalg.norm(mixed, axis=1) / np.linalg.norm(to_corner, axis=1)
    )
    assert np.degrees(np.arccos(np.minimum(cosine, 1))).max() < np.degrees(0.05 / lens.fx)


def test_one_pixel_and_the_whole_view_agree():
    whole_o, whole_d = image_rays(torch.from_numpy(POSE), PHONE)
    u, v = torch.tensor([0, 95, 40]), torch.tensor([0, 63, 12])
    some_o, some_d = pixel_rays(torch.from_numpy(POSE).expand(3, 4, 4), u, v, PHONE)
    torch.testing.assert_close((some_o, some_d), (whole_o[v * 96 + u], whole_d[v * 96 + u]))


@pytest.mark.parametrize(
    "lenses",
    [
        [PHONE, pinhole(50, 64), SPHERE],
        [pinhole(50, 64), pinhole(40, 64), pinhole(30, 64)],
        [SPHERE, replace(SPHERE, k1=0), replace(SPHERE, fx=30)],
    ],
    ids=["mixed", "pinholes", "fisheyes"],
)
def test_each_ray_goes_through_its_own_lens(lenses):
    which = torch.tensor([2, 0, 0, 1, 2, 1])
    u, v = torch.arange(6) * 9, torch.arange(6) * 7
    poses = torch.stack([torch.from_numpy(orbit(40 * i, 10, 2)) for i in range(6)])
    rays_o, rays_d = mixed_rays(poses, u, v, which, Lenses.of(lenses, 3, poses.device))
    for i, lens in enumerate(which.tolist()):
        alone = pixel_rays(poses[i : i + 1], u[i : i + 1], v[i : i + 1], lenses[lens])
        torch.testing.assert_close((rays_o[i : i + 1], rays_d[i : i + 1]), alone)


ACTION = replace(PHONE, fx=50.0, fy=50.0, k1=-0.25, k2=0.07)  # an action camera's, bent by a quarter
WIDE = replace(
    SPHERE, fx=28.0, fy=28.0, k1=0.05, k2=-0.01, k3=0.001, k4=-0.0001
)  # sees 109 degrees off its axis


@pytest.mark.parametrize(
    "lens", [PHONE, SPHERE, ACTION, WIDE, replace(SPHERE, k1=0, k2=0, k3=0, k4=0)], ids=str
)
def test_the_device_undistorts_as_numpy_does(lens):
    """lens.py's own loop stops when it has arrived, and is tested against OpenCV's formulas."""
    assert not is_not_invertible(lens)
    wanted = torch.from_numpy(camera_rays(lens, 1).reshape(-1, 3).copy())
    _, rays_d = image_rays(torch.eye(4), lens)
    torch.testing.assert_close(rays_d, F.normalize(wanted, dim=1).float(), rtol=0, atol=2e-7)


def test_rays_are_made_without_the_host():
    """Tensors without numbers on a GPU that is not there: whoever reads them fails."""
    lenses = [PHONE, pinhole(50, 64), SPHERE]
    with FakeTensorMode():
        view = torch.zeros(5, dtype=torch.long, device="cuda")
        poses = torch.zeros(5, 4, 4, device="cuda")
        for lens in lenses:
            assert pixel_rays(poses, view, view, lens)[1].is_cuda
        several = Lenses.of(lenses, 3, view.device)
        with Operations() as seen:
            assert mixed_rays(poses, view, view, view, several)[1].is_cuda
    assert not seen.waits


C2W = torch.from_numpy(orbit(30, 20, 3.0))


def wall(lens, away):
    """The distances (h, w) to a plane across the axis at this depth: oblique rays are longer."""
    _, towards = image_rays(C2W, lens)
    return (away / (towards @ -C2W[:3, 2])).view(lens.height, lens.width)


def test_a_plane_across_the_axis_has_one_depth_through_any_lens():
    for lens in (
        pinhole(70, 9),
        replace(pinhole(70, 9), k1=-0.2, p1=0.01),
        replace(pinhole(70, 9), fisheye=True, k1=0.1),
    ):
        distance = wall(lens, 2.5)
        assert distance.max() > 2.8
        torch.testing.assert_close(z_depth(distance, torch.ones(9, 9), C2W, lens), torch.full((9, 9), 2.5))


def test_mist_and_what_lies_behind_a_fisheye_have_none():
    lens = replace(pinhole(70, 9), fx=2.0, fy=2.0, fisheye=True)  # its corners look backwards
    opacity = torch.ones(9, 9)
    opacity[4, 4] = 0.3
    depth = z_depth(torch.ones(9, 9), opacity, C2W, lens)
    assert depth[4, 4] == depth[0, 0] == 0
    assert depth[4, 5] > 0.8
