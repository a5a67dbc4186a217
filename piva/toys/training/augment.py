"""What the metric networks see in training: the corpus' pictures moved, tinted, blurred, greyed and noisy, as sampled ones may be."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


def augment(
    pictures: UInt8[Tensor, "b 3 h w"], solid: Bool[Tensor, "b 1 h w"], generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Pictures in about [0, 1], each changed in its own way by nothing that a caption speaks of; `solid` is not background."""

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(pictures), *shape, generator=generator)

    x = pictures.float() / 255
    tint = torch.where(draw(0, 1, 1, 1, 1) < 0.3, draw(0.5, 1, 3, 1, 1), 1.0)
    x = torch.where(solid, x, x * tint)
    x = _moved(x, draw(0.85, 1.2), draw(-0.15, 0.15, 2), draw(0, 1) < 0.5)
    x = torch.where(
        draw(0, 1, 1, 1, 1) < 0.4, _blurred(x, int(torch.randint(22, 57, (1,), generator=generator))), x
    )
    x = torch.lerp(x, x.mean(dim=1, keepdim=True), draw(0, 0.25, 1, 1, 1)) * draw(0.9, 1.05, 1, 1, 1)
    return x + draw(0, 0.05, 1, 1, 1) * torch.randn(x.shape, generator=generator)


def recoloured(
    pictures: Float[Tensor, "b 3 h w"], share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 h w"], Bool[Tensor, "b"]]:
    """About a `share` of the pictures with their colour channels exchanged, and which ones: shapes in colours never seen."""
    changed = torch.rand(len(pictures), generator=generator) < share
    order = torch.rand(len(pictures), 3, generator=generator).argsort(dim=1)
    order = torch.where(changed[:, None], order, torch.arange(3))
    return pictures.gather(1, order[:, :, None, None].expand_as(pictures)), changed


def _moved(x: Tensor, scale: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Zoomed by 1/scale, shifted by half pictures, mirrored; the border fills what comes in."""
    matrix = torch.zeros(len(x), 2, 3)
    matrix[:, 0, 0] = torch.where(mirror, -scale, scale)
    matrix[:, 1, 1] = scale
    matrix[:, :, 2] = shift
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _blurred(x: Tensor, size: int) -> Tensor:
    """Scaled down to `size` pixels a side and back."""
    small = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return F.interpolate(small, size=x.shape[-2:], mode="bilinear")
