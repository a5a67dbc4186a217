from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from helpers.operations import Operations
from PIL import Image

from piva.metrics.comparison import SIDE, STRIP, Comparison, beside, label_strip, save_comparison


def views(count: int, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_film_is_written_frame_by_frame(tmp_path: Path) -> None:
    """All frames of 120 views of 512x512 at once, side by side, are gigabytes."""
    before = views(12)
    with Operations() as seen:
        save_comparison(Comparison(before=before, after=1 - before), tmp_path)
    assert seen.largest == 2 * 3 * SIDE * SIDE * 48 // 32
    frames = iio.imread(tmp_path / "turntable.mp4", plugin="pyav")[:, STRIP:]
    assert frames.shape[1:] == (SIDE, 2 * SIDE * 48 // 32, 3)
    middle = frames.shape[2] // 2
    means = [half.mean() for half in (frames[:, :, :middle], frames[:, :, middle:])]
    assert abs(sum(means) / 2 - 127.5) < 4


@pytest.mark.parametrize("count", [2, 5, 36, 120])
def test_a_film_lasts_six_seconds(tmp_path: Path, count: int) -> None:
    save_comparison(Comparison(before=views(count, 8, 8), after=views(count, 8, 8)), tmp_path)
    about = iio.immeta(tmp_path / "turntable.mp4", plugin="pyav")
    assert about["duration"] == pytest.approx(6, abs=0.1)
    assert about["fps"] >= 12


def test_original_edit_and_truth_stand_in_one_labelled_picture(tmp_path: Path) -> None:
    pictures = [torch.full((1, 3, 64, 64), value) for value in (0.0, 0.5, 1.0)]
    before, after, truth = pictures
    known = {"truth": truth, "truth_before": before, "truth_after": after}
    save_comparison(Comparison(before=before, after=after, **known), tmp_path, ("a cat", "a dog"))
    shown = np.asarray(Image.open(tmp_path / "comparison.png"))
    assert shown.shape == (SIDE + STRIP, 3 * SIDE, 3)
    panels = [panel[STRIP:].mean() for panel in np.split(shown, 3, axis=1)]
    assert panels == pytest.approx([0, 128, 255], abs=1)
    strips = np.split(shown[:STRIP], 3, axis=1)
    assert all((strip < 100).any() for strip in strips)
    assert (strips[0] != strips[1]).any()


def test_a_long_label_is_cut_to_its_picture() -> None:
    strip = label_strip("edit: " + "a very long prompt " * 20, SIDE)
    assert strip.shape == (STRIP, SIDE, 3)
    assert (strip[:, -6:] == 255).all()
    assert (strip[:, -40:] < 100).any()


def test_a_picture_that_is_large_keeps_its_size() -> None:
    assert beside([torch.zeros(3, 300, 401)] * 2, ["a", "b"]).shape == (300 + STRIP, 800, 3)
