import pytest
import torch
from helpers.splat_reference import camera, drawn, some_gaussians

from piva.cameras.lens import Lens, pinhole
from piva.nerf.splats.rasterise import Gaussians, harmonics, rasterise, shade

OFF_CENTRE = Lens(width=75, height=50, fx=70.0, fy=66.0, cx=31.0, cy=27.5)


def values_and_gradients(draw, inputs, weights):
    leaves = [x.detach().requires_grad_() for x in inputs]
    rgb, opacity, depth = draw(leaves)
    sum((out * w.to(out)).sum() for out, w in zip((rgb, opacity), weights, strict=True)).backward()
    return [rgb, opacity, depth], [x.grad for x in leaves]


@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize("lens", [pinhole(40, 48), OFF_CENTRE])
def test_values_and_gradients_are_the_references(lens, degree):
    inputs, w2c = some_gaussians(150, degree=degree), camera()
    weights = torch.randn(lens.height, lens.width, 3), torch.randn(lens.height, lens.width)

    def reference(given):
        means, quats, scales, opacities, sh = given
        view = w2c.double()
        colours = shade(sh, means, -view[:3, :3].T @ view[:3, 3])
        return drawn(means, quats, scales, opacities, colours, view, lens)

    wanted = values_and_gradients(reference, [x.double() for x in inputs], weights)
    got = values_and_gradients(lambda given: rasterise(Gaussians(*given), w2c, lens), inputs, weights)
    for ours, theirs in zip(got[0], wanted[0], strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(got[1], wanted[1], strict=True):
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_projection_and_covariances_are_gsplats_values_and_gradients():
    theirs = pytest.importorskip("gsplat.cuda._torch_impl")
    from piva.nerf.splats import kernels

    means, quats, scales, opacities, _ = some_gaussians(80)
    view, k = camera(), torch.tensor([[70.0, 0, 31], [0, 66, 27.5], [0, 0, 1]])
    leaves = [x.requires_grad_() for x in (means, quats, scales)]
    covariances, _ = theirs._quat_scale_to_covar_preci(leaves[1], leaves[2], True, False)
    _, centres, depths, conics, _ = theirs._fully_fused_projection(
        leaves[0], covariances, view[None], k[None], OFF_CENTRE.width, OFF_CENTRE.height
    )
    arrays = [x.detach().numpy() for x in (*leaves, opacities)]
    place = (view[:3].double().numpy(), (70.0, 66.0, 31.0, 27.5), (75, 50))
    geometry, seen, _ = kernels.project(*arrays, *place, 0.01)
    kept = torch.from_numpy(seen).isfinite()
    wanted = torch.cat([centres[0], conics[0]], dim=1)
    torch.testing.assert_close(
        torch.from_numpy(geometry)[kept, :5], wanted.detach()[kept], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(torch.from_numpy(seen)[kept], depths[0].detach()[kept])
    weights = torch.zeros(80, kernels.PAIR)
    weights[:, :5] = torch.randn(80, 5, generator=torch.Generator().manual_seed(1)) * kept[:, None]
    (wanted * weights[:, :5]).sum().backward()
    got = kernels.project_backward(*arrays[:3], *place, geometry, seen, weights.numpy())
    for ours, leaf in zip(got, leaves, strict=True):
        assert (torch.from_numpy(ours) - leaf.grad).abs().max() <= 1e-4 * leaf.grad.abs().max()


def test_harmonics_are_orthonormal():
    directions = torch.nn.functional.normalize(
        torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0))
    )
    basis = harmonics(directions, 3)
    gram = 4 * torch.pi * basis.T @ basis / len(basis)
    torch.testing.assert_close(gram, torch.eye(16), atol=0.03, rtol=0)
