"""Classifier-free guidance, in the one convention this program uses."""

from typing import Any


def guide(uncond: Any, cond: Any, guidance_scale: float) -> Any:
    """Extrapolate: uncond + scale (cond - uncond), as in diffusers: scale 0 is unconditional, 1 is plainly conditional.

    Predictions are whatever adds and scales: tensors, numbers, sums of terms.
    """
    return (1.0 - guidance_scale) * uncond + guidance_scale * cond
