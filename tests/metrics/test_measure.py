"""The row of an edit: which numbers it has, and what the unedited original and the truth score."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from piva.datasets.edit import Edit
from piva.metrics.comparison import Comparison
from piva.metrics.measure import measure, measure_all
from piva.metrics.perceptual import MetricNetworks, PieNetworks

EDIT = Edit(id="x", source_prompt="red", target_prompt="blue")
RED, BLUE, GREY = (
    torch.tensor(c).view(1, 3, 1, 1).expand(2, 3, 16, 16) for c in ((1.0, 0, 0), (0, 0, 1.0), (0.6, 0.6, 0.6))
)


class Colours:
    """A CLIP whose space is mean colour."""

    def images(self, pictures: Tensor) -> Tensor:
        return torch.nn.functional.normalize(pictures.mean(dim=(2, 3)))

    def texts(self, prompts: Sequence[str]) -> Tensor:
        return torch.stack([{"red": RED, "blue": BLUE}[prompt][0, :, 0, 0] for prompt in prompts])


MSE = lambda a, b: (a - b).square().mean(dim=(1, 2, 3))  # noqa: E731
NETWORKS = MetricNetworks(Colours(), MSE, PieNetworks(Colours(), MSE), {"clip": "colours", "lpips": "mse"})


def test_doing_nothing_scores_what_nothing_scores() -> None:
    row = measure(Comparison(before=RED, after=RED), EDIT, NETWORKS)
    assert row["eval/clip"] == row["nothing/clip"] == row["eval/clip_direction"] == row["eval/lpips"] == 0
    assert row["eval/clip_source"] == 1
    assert row["eval/saturation"] == row["nothing/saturation"] == 1


def test_the_truth_scores_best() -> None:
    known = {"truth": BLUE, "truth_before": RED, "truth_after": BLUE}
    row = measure(Comparison(before=RED, after=BLUE, **known), EDIT, NETWORKS)
    assert row["eval/clip"] == row["best/clip"] == 1
    assert row["eval/clip_direction"] == pytest.approx(1)
    assert row["truth/lpips"] == 0
    assert row["nothing/lpips"] == row["eval/lpips"] == pytest.approx(2 / 3)
    assert row["best/saturation"] == 1


def test_an_edit_succeeds_by_its_views_together_and_its_own_prompt() -> None:
    seen: list[tuple[int, str]] = []

    def agrees(pictures: Tensor, prompt: str) -> float:
        seen.append((len(pictures), prompt))
        return float(torch.equal(pictures, BLUE) and prompt == "blue")

    networks = dataclasses.replace(NETWORKS, agrees=agrees)
    good = Comparison(before=RED, after=RED, truth=BLUE, truth_before=RED, truth_after=BLUE)
    bad = dataclasses.replace(good, truth_after=GREY)
    rows = measure_all([good, bad], [EDIT, EDIT], networks)
    assert [(row["truth/success"], row["nothing/success"], row["best/success"]) for row in rows] == [
        (1, 0, 1),
        (0, 0, 1),
    ]
    assert set(seen) == {(2, "blue")}
    assert not any("success" in key for key in measure(good, EDIT, NETWORKS))


def test_grey_has_no_saturation() -> None:
    assert measure(Comparison(before=RED, after=GREY), EDIT, None)["eval/saturation"] == 0


def test_without_judges_there_are_no_networks_keys() -> None:
    known = {"truth": BLUE, "truth_before": RED, "truth_after": GREY}
    keys = measure(Comparison(before=RED, after=BLUE, **known), EDIT, None)
    assert [key for key in keys if "clip" in key or "lpips" in key] == []
    assert {"truth/psnr", "nothing/psnr", "best/saturation"} <= set(keys)


def test_several_edits_at_once_have_the_rows_of_each_alone(tmp_path: Path) -> None:
    masks = [tmp_path / "left.png", tmp_path / "none.png"]
    left = np.zeros((16, 16), np.uint8)
    left[:, :8] = 255
    for path, mask in zip(masks, (left, 0 * left), strict=True):
        Image.fromarray(mask).save(path)
    edits = [
        Edit(id="a", source_prompt="red", target_prompt="blue", mask=masks[0]),
        Edit(id="b", source_prompt="blue", target_prompt="red", mask=masks[1]),
    ]
    known = {"truth": BLUE, "truth_before": RED, "truth_after": GREY}
    comparisons = [
        Comparison(before=RED, after=GREY, **known),
        Comparison(before=BLUE[:1], after=RED[:1], **known),
    ]
    together = measure_all(comparisons, edits, NETWORKS)
    alone = [measure(c, edit, NETWORKS) for c, edit in zip(comparisons, edits, strict=True)]
    for row, wanted in zip(together, alone, strict=True):
        assert row == pytest.approx(wanted, nan_ok=True)
        assert "pie/psnr" in row
    assert together[0]["eval/clip"] != together[1]["eval/clip"]


def test_pictures_are_rounded_to_bytes_as_their_files_are() -> None:
    nearly = torch.full((1, 3, 16, 16), 100.4 / 255)
    assert measure(Comparison(before=nearly, after=nearly - 0.8 / 255), EDIT, None)["eval/psnr"] == math.inf
