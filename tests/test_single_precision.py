"""Apple's GPUs have no float64: what a run computes of pictures must do without."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.operations import Operations
from helpers.tiny_networks import clip, vit
from PIL import Image
from torch import Tensor, nn

from piva.config import check, compose
from piva.datasets.edit import Edit
from piva.experiment.run import run_experiment
from piva.metrics.comparison import Comparison
from piva.metrics.measure import measure
from piva.metrics.networks import assemble


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("score", ["piva", "dreamcatalyst"])
def test_a_run_of_a_picture_needs_no_float64(
    score: str, optimiser: str, prior_folder: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    cfg = compose(
        f"score={score}", f"task.optimiser={optimiser}", "schedule=annealed", f"prior.path={prior_folder}",
        "task=image", "dataset=single", f"dataset.path={tmp_path}/photo.png",
        "dataset.source=a", "dataset.target=b", "steps=3", "measure_at=[1]", "checkpoint_every=1",
        "samples.at=[2]", "samples.count=1", "samples.steps=2",
    )  # fmt: skip
    settings = check(cfg)
    with Operations() as seen:
        run = run_experiment(settings, tmp_path / "run")
    assert {"eval/clip", "eval/ssim", "eval/lpips"} <= set(run.rows[0])
    assert torch.float32 in seen.dtypes
    assert torch.float64 not in seen.dtypes


class Squares(nn.Module):
    """Instead of LPIPS, whose weights are not here."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean(dim=(1, 2, 3), keepdim=True)


def test_the_papers_metrics_need_no_float64(tmp_path: Path) -> None:
    before = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    Image.fromarray(np.eye(48, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    edit = Edit(id="x", source_prompt="a", target_prompt="b", mask=tmp_path / "mask.png")
    networks = assemble(clip(), vit(), Squares(), Squares(), 2, {})
    with Operations() as seen:
        row = measure(Comparison(before=before, after=1 - before), edit, networks)
    assert {"eval/clip", "pie/structure", "pie/clip_edited"} <= set(row)
    assert torch.float64 not in seen.dtypes
