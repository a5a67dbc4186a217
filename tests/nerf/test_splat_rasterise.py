import pytest
import torch
from helpers.splat_reference import camera, drawn, projected, some_gaussians

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
