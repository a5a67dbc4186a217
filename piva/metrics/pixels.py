"""Pixel metrics of pictures (n, 3, h, w) in [0, 1]; each returns one value a picture, not reduced."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "n 3 h w"]

# Compared at once, in 0.4 GB: SSIM takes some 340 bytes a pixel of a picture. These are four pictures of
# 512x512; one that is larger than all of them goes alone.
PIXELS = 1 << 20


def psnr(a: Images, b: Images, mask: Float[Tensor, "n 1 h w"] | None = None) -> Float[Tensor, "n"]:
    """Return -10 log10 of the mean squared error where `mask` is 1 (everywhere without one), in dB; data
    range 1.

    Infinite for equal pictures, nan for an empty mask.
    """
    weight = torch.ones_like(a[:, :1]) if mask is None else mask

    def decibels(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        squares = (a - b).square().mean(dim=1, keepdim=True) * weight
        return -10 * (squares.sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))).log10()

    return _some_at_a_time(decibels, a, b, weight)


def ssim(a: Images, b: Images) -> Float[Tensor, "n"]:
    """Structural similarity with torchmetrics' defaults (gaussian window 11, sigma 1.5); data range 1.

    In single precision, as PIE-Bench's evaluation has it: on flat grounds cancellation costs up to 5e-4, so
    that equal pictures may score a little less than 1.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        value: Tensor = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
        return value.reshape(len(a))

    return _some_at_a_time(similarity, a, b)


def chroma(images: Images) -> Float[Tensor, "n"]:
    """Return the saturation: the mean of the largest channel minus the smallest, in [0, 1]; 0 for grey."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))


def _some_at_a_time(metric: Callable[..., Tensor], *images: Tensor) -> Float[Tensor, "n"]:
    """Return `metric` of n pictures, PIXELS at a time: a film of large pictures at once takes gigabytes."""
    each = max(1, PIXELS // (images[0].shape[-2] * images[0].shape[-1]))
    parts = zip(*(pictures.split(each) for pictures in images), strict=True)
    return torch.cat([metric(*part) for part in parts])
