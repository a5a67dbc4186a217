import pytest
import torch
from helpers.ball import ball_scene
from helpers.splat_reference import camera, some_gaussians

from piva.cameras.lens import Lens, pinhole
from piva.cameras.poses import orbit
from piva.cameras.rays import z_depth
from piva.config import build, compose
from piva.errors import InputError
from piva.metrics.pixels import psnr
from piva.metrics.pixels import ssim as reference_ssim
from piva.models.controlled import depth_hint
from piva.nerf.splats.fit import difference, ssim
from piva.nerf.splats.rasterise import Gaussians, rasterise
from piva.nerf.splats.scene import SplatScene, world_to_camera
from piva.nerf.splats.settings import SplatFit
from piva.nerf.splats.splats import DEAD, Splats, rotated, shared

SMALL = ["radius=1", "splats=800", "steps=400", "occupancy=24", "relocate_every=100"]


def settings(*overrides):
    cfg = compose("task=nerf", "field=splats", *(f"field.{each}" for each in (*SMALL, *overrides)))
    return build(SplatFit, cfg.field, "field")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some_splats(n=60, degree=1, seed=0):
    means, quats, scales, opacities, sh = some_gaussians(n, seed, degree)
    return Splats(
        means, scales.log(), quats, torch.logit(opacities), sh[:, :1].clone(), sh[:, 1:].clone(), torch.eye(4)
    )


def seen(splats, azimuth=30.0):
    c2w = torch.from_numpy(orbit(azimuth, 20, 4.0))
    with torch.no_grad():
        return SplatScene(splats, None).view(settings(), c2w, pinhole(40, 48), torch.ones(3)).rgb


def test_a_fit_finds_a_ball_and_draws_alike_from_one_seed():
    views, poses, held_out, others, lens = ball_scene(48)
    scene, again = (settings().fit(views, poses, lens, rng()) for _ in range(2))
    white = torch.ones(3)
    for rgba, c2w in zip(held_out, others, strict=True):
        with torch.no_grad():
            rgb = scene.view(settings(), c2w, lens, white).rgb
        wanted = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        assert psnr(rgb.movedim(-1, 0)[None], wanted.movedim(-1, 0)[None]).item() > 20
    assert torch.equal(scene.field.means, again.field.means)


def test_depth_is_the_distance_along_the_ray():
    views, poses, _, others, lens = ball_scene(48)
    scene = settings().fit(views, poses, lens, rng())
    with torch.no_grad():
        depth = scene.view(settings(), others[0], lens, torch.ones(3)).depth
    assert abs(depth[24, 24].item() - 2.3) < 0.15  # the camera is 3 away, the ball's radius 0.7


def test_depth_conditions_are_the_balls():
    """Scaled as a ControlNet is told of them; away from the limb, where a pixel is half a ball."""
    views, poses, _, others, lens = ball_scene(48)
    scene = settings().fit(views, poses, lens, rng())
    v, u = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    away2 = (((u - lens.cx) / lens.fx) ** 2 + ((v - lens.cy) / lens.fy) ** 2) + 1
    under = (3 / away2) ** 2 - (9 - 0.7**2) / away2  # of the ray's quadratic, with z = 1
    for c2w in others:
        with torch.no_grad():
            seen = scene.view(settings(), c2w, lens, torch.ones(3))
        depth = z_depth(seen.depth, seen.opacity, c2w, lens)
        inside = under > 0.04
        wanted = 3 / away2 - under.clamp(min=0).sqrt()
        hints = [depth_hint(x.masked_fill(~inside, 0)[None])[0, 0] for x in (depth, wanted)]
        assert inside.sum() > 300
        assert (hints[0] - hints[1])[inside].abs().mean() < 0.1
        assert (depth[under < -0.1] == 0).all()


def test_ssim_is_torchmetrics_and_its_gradient_is_that_of_finite_differences():
    a, b = torch.rand(2, 24, 20, 3, generator=rng())
    ours, theirs = ssim(a, b), reference_ssim(a.movedim(-1, 0)[None], b.movedim(-1, 0)[None])[0]
    assert abs(ours - theirs) < 0.02  # torchmetrics pads the borders
    x = a.double().requires_grad_()
    torch.autograd.gradcheck(lambda x: ssim(x, b.double()), (x,), fast_mode=True)
    assert difference(a, a, 0.2) < 1e-6


def test_relocated_splats_look_as_before():
    splats = some_splats()
    before, full = seen(splats), splats.with_reserve(0.5)
    torch.testing.assert_close(seen(full), before)
    assert full.relocate(rng()) == 30
    assert (full.opacities.sigmoid() > DEAD).all()
    assert (seen(full) - before).abs().mean() < 0.02


def test_copies_share_opacity():
    opacity = torch.tensor([0.3, 0.9])
    new, factor = shared(opacity, torch.tensor([1, 4]))
    torch.testing.assert_close(1 - (1 - new) ** torch.tensor([1, 4]), opacity)
    assert factor[0] == pytest.approx(1, abs=1e-5)
    assert factor[1] < 1


def test_sprouts_begin_beside_what_is_solid_and_wither_unless_they_grow():
    splats = some_splats().with_reserve(1.0)
    before = seen(splats)
    splats.sprout(0.2, rng())
    new = splats.means[60:].detach()
    assert (torch.cdist(new, splats.means[:60].detach()).amin(1) <= 0.2 + 1e-5).all()
    assert 0 < (seen(splats) - before).abs().mean() < 0.05
    with torch.no_grad():
        splats.opacities[60] = 1.0
    splats.wither()
    assert (splats.opacities[60:].sigmoid() > DEAD).sum() == 1
    assert len(splats.alive()) == 61


def test_anchors_draw_back_what_was_there():
    splats, start = some_splats().with_reserve(0.5), some_splats().with_reserve(0.5)
    with torch.no_grad():
        splats.means += 1
        splats.sh0 += 1
    for x in splats.parameters():
        x.grad = torch.zeros_like(x)
    splats.anchor(start, {"means": 0.5, "sh0": 0.0})
    assert torch.allclose(splats.means.grad[:60], torch.tensor(0.5))
    assert not splats.means.grad[60:].any()
    assert not splats.sh0.grad.any()


def test_a_coarse_gradient_is_a_mean_of_neighbours():
    splats = some_splats()
    for x in splats.parameters():
        x.grad = torch.ones_like(x)
    splats.sh0.grad[splats.means[:, 0] > 0] = 3.0
    splats.coarsen_gradient(4)
    torch.testing.assert_close(splats.means.grad, torch.ones_like(splats.means))
    assert 1 < splats.sh0.grad[splats.means[:, 0].abs() < 0.1].mean() < 3


def test_quaternions_turn_as_matrices_do():
    from helpers.splat_reference import rotations

    quats = torch.nn.functional.normalize(torch.randn(9, 4, generator=rng()), dim=1)
    v = torch.randn(9, 3, generator=rng(1))
    torch.testing.assert_close(rotated(quats, v), (rotations(quats) @ v[..., None])[..., 0])


def test_cameras_of_opencv_look_along_z():
    c2w = torch.from_numpy(orbit(30, 20, 4.0))
    torch.testing.assert_close(world_to_camera(c2w, torch.eye(3)), camera(30.0, 20.0, 4.0))


def degenerate():
    means, quats, scales, opacities, sh = some_gaussians(12)
    scales[0], scales[1], scales[2] = 0.0, 1e18, 1e-30
    scales[3] = torch.tensor([10.0, 1e-12, 0.0])
    quats[4], quats[5] = 0.0, 1e-20
    means[6] = torch.tensor([0.0, 0.0, 1e30])
    means[7] = torch.linalg.inv(camera())[:3, 3]  # in the camera
    opacities[8], opacities[9], scales[10] = 0.0, 1.0, torch.inf
    return [means, quats, scales, opacities, sh]


def test_degenerate_splats_never_make_gradients_that_are_not_numbers():
    leaves = [x.requires_grad_() for x in degenerate()]
    drawn = rasterise(Gaussians(*leaves), camera(), pinhole(40, 32))
    (drawn.rgb.square().sum() + drawn.opacity.sum()).backward()
    assert all(x.isfinite().all() for x in drawn)
    assert all(x.grad.isfinite().all() for x in leaves)


def test_scales_beyond_all_numbers_never_make_gradients_that_are_not_numbers():
    splats = some_splats(12)
    with torch.no_grad():
        splats.scales[0], splats.scales[1], splats.scales[2, 0] = 200.0, -200.0, 200.0
        splats.quats[3], splats.opacities[4], splats.opacities[5] = 0.0, 200.0, -200.0
    drawn = rasterise(splats.gaussians(), camera(), pinhole(40, 32))
    (drawn.rgb.square().sum() + drawn.opacity.sum()).backward()
    assert all(x.grad.isfinite().all() for x in splats.parameters())


def test_nothing_is_drawn_of_nothing_and_behind_the_camera():
    means, *others = some_gaussians(5)
    for place in (means[:0], means - 100 * camera()[2, :3]):
        values = [place, *(x[: len(place)] for x in others)]
        drawn = rasterise(Gaussians(*values), camera(), pinhole(40, 20))
        assert not drawn.rgb.any()
        assert not drawn.opacity.any()


def test_two_threads_draw_as_one_does():
    given, threads = Gaussians(*some_gaussians(200)), torch.get_num_threads()
    try:
        drawn = []
        for count in (1, 2):
            torch.set_num_threads(count)
            drawn.append(rasterise(given, camera(), pinhole(40, 64)).rgb)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*drawn)


def test_a_bent_lens_is_refused():
    bent = Lens(width=20, height=20, fx=20, fy=20, cx=10, cy=10, k1=0.1)
    with pytest.raises(InputError, match="distortion"):
        rasterise(Gaussians(*some_gaussians(3)), camera(), bent)
