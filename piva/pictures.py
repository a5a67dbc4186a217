"""Writing what an edit looks like: PNG and MP4 from tensors (n, 3, h, w) in [0, 1]."""

from collections.abc import Mapping
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.utils import make_grid

from piva.tasks.base import Comparison


def save_comparison(comparison: Comparison, folder: Path) -> None:
    """before.png and after.png; of an object also turntable.mp4 with original and edit side by side."""
    for name, images in (("before", comparison.before), ("after", comparison.after)):
        first = images[:1]
        if comparison.size:
            first = torch.nn.functional.interpolate(first, comparison.size, mode="bicubic", antialias=True)
        iio.imwrite(folder / f"{name}.png", to_uint8(first)[0])
    if len(comparison.before) > 1:
        frames = to_uint8(torch.cat([comparison.before, comparison.after], dim=-1))
        iio.imwrite(folder / "turntable.mp4", frames, plugin="pyav", codec="libx264", fps=12)
    if comparison.truth is not None:
        iio.imwrite(folder / "truth.png", to_uint8(comparison.truth[:1])[0])


def save_samples(samples: Mapping[str, Float[Tensor, "m n 3 h w"]], folder: Path) -> None:
    """Write `samples-<step>.png` for each step: a row of n pictures for each of m models."""
    for step, pictures in samples.items():
        grid = make_grid(pictures.flatten(0, 1), nrow=pictures.shape[1], padding=2, pad_value=1.0)
        iio.imwrite(folder / f"samples-{step}.png", to_uint8(grid[None])[0])


def to_uint8(images: Float[Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Bytes for a file, channels last."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
