"""Classifier-free guidance, in the one convention this program uses."""

from typing import Any, TypeVar

Linear = TypeVar("Linear", bound=Any)  # whatever adds and scales: tensors, arrays, sums of terms


def guide(uncond: Linear, cond: Linear, guidance_scale: float) -> Linear:
    """uncond + scale (cond - uncond), as in diffusers: scale 0 is unconditional, 1 is plainly conditional."""
    guided: Linear = (1.0 - guidance_scale) * uncond + guidance_scale * cond
    return guided
