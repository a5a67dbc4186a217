"""Apple's GPUs have no float64: what an edit of a picture computes on its device must do without."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_networks as tiny
from helpers.operations import Operations
from PIL import Image

from piva.config import check, compose
from piva.edit_run import Bench, EditRun
from piva.metrics import networks
from piva.metrics.perceptual import MetricNetworks
from piva.models.denoiser import Denoiser
from piva.models.needs import needs
from piva.optimise import Method, optimise
from piva.priors.prior import Prior
from piva.runs.folder import RunFolder


class Mean(torch.nn.Module):
    """In the place of LPIPS, whose weights are not here."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture
def metric_networks() -> MetricNetworks:
    return networks.assemble(tiny.clip(), tiny.vit(), Mean(), Mean(), 2, {})


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("score", ["piva", "dreamcatalyst"])
def test_an_edit_of_a_picture_needs_no_float64(
    score: str,
    optimiser: str,
    prior: Prior,
    prior_folder: Path,
    metric_networks: MetricNetworks,
    tmp_path: Path,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "run").mkdir()
    cfg = compose(
        f"score={score}", f"task.optimiser={optimiser}", "schedule=annealed", f"prior.path={prior_folder}",
        "task=image", "dataset=single", f"dataset.path={tmp_path}/photo.png",
        "dataset.source=a", "dataset.target=b", "steps=3", "measure_at=[1]", "checkpoint_every=1",
        "samples.at=[2]", "samples.count=1", "samples.steps=2",
    )  # fmt: skip
    settings = check(cfg)
    learned = needs(settings.score).learned
    denoiser = settings.model.denoiser(prior) if learned else Denoiser(prior)
    folder = RunFolder(tmp_path / "run")
    bench = Bench(settings=settings, denoiser=denoiser, networks=metric_networks, folder=folder, mirror=None)
    try:
        with Operations() as seen:
            edit = EditRun(settings.edits[0], bench)
            edit.begin(1)
            for _, step in optimise([edit.work], Method(settings.schedule, denoiser), settings.run.steps):
                edit.after(step)
            record = edit.finish()
    finally:
        denoiser.detach()
    assert {"eval/clip", "eval/ssim", "eval/lpips"} <= set(record.row)
    assert torch.float32 in seen.dtypes
    assert torch.float64 not in seen.dtypes
