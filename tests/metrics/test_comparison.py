from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from helpers.operations import Operations

from piva.metrics.comparison import Comparison, save_comparison


def test_a_film_is_written_frame_by_frame(tmp_path: Path) -> None:
    """All frames of 120 views of 512x512 at once, side by side, are gigabytes."""
    before = torch.rand(12, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    comparison = Comparison(before=before, after=1 - before)
    with Operations() as seen:
        save_comparison(comparison, tmp_path)
    frame = 2 * before[0].numel()
    assert seen.largest == frame
    frames = iio.imread(tmp_path / "turntable.mp4", plugin="pyav")
    assert frames.shape == (12, 32, 96, 3)
    grey = np.full(3, 127.5)
    np.testing.assert_allclose(
        (frames[..., :48, :].mean((0, 1, 2)) + frames[..., 48:, :].mean((0, 1, 2))) / 2, grey, atol=4
    )
