"""Pixel metrics of pictures (n, 3, h, w) in [0, 1]; each returns one value a picture, not reduced."""

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "n 3 h w"]

# Compared at once, by as many as hold in 0.3 GB: SSIM keeps some twenty copies of a picture in float32. Four
# pictures of 512x512; one larger than that goes alone.
PIXELS = 1 << 20


def psnr(a: Images, b: Images, mask: Float[Tensor, "n 1 h w"] | None = None) -> Float[Tensor, "n"]:
    """Return -10 log10 of the mean squared error where `mask` is 1 (everywhere without one), in dB; data
    range 1.

    Infinite for equal pictures, nan for an empty mask.
    """
    weight = torch.ones_like(a[:, :1]) if mask is None else mask
    error = ((a - b).square().mean(dim=1, keepdim=True) * weight).sum(dim=(1, 2, 3)) / weight.sum(
        dim=(1, 2, 3)
    )
    return -10 * error.log10()


def ssim(a: Images, b: Images) -> Float[Tensor, "n"]:
    """Structural similarity with torchmetrics' defaults (gaussian window 11, sigma 1.5); data range 1.

    In single precision, as PIE-Bench's evaluation has it: on flat grounds cancellation costs up to 5e-4, so
    that equal pictures may score a little less than 1.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    each = max(1, PIXELS // (a.shape[-2] * a.shape[-1]))
    parts = zip(a.split(each), b.split(each), strict=True)
    return torch.cat(
        [
            structural_similarity_index_measure(x, y, data_range=1.0, reduction="none").view(-1)
            for x, y in parts
        ]
    )


def chroma(images: Images) -> Float[Tensor, "n"]:
    """Return the saturation: the mean of the largest channel minus the smallest, in [0, 1]; 0 for grey."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))
