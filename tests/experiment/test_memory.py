"""Memory is told before the start: what is counted without contents is what a real step keeps."""

from pathlib import Path

import pytest
import torch

from benchmarks.sd_size import opened, write_photos
from piva.config import check, compose
from piva.experiment import memory
from piva.experiment.memory import Kept, estimate
from piva.models.denoiser import Query
from piva.models.needs import TRAINING_PAIRS
from piva.scores.terms import EDIT, ORIGINAL


@pytest.fixture
def overrides(prior_folder: Path, tmp_path: Path) -> list[str]:
    photos = write_photos(tmp_path / "photos", 1, 32)
    data = ["task=image", "dataset=noe", f"dataset.root={photos}", "edits=all", "resolution=32"]
    return [*data, "metrics=pixels", f"prior.path={prior_folder}"]


@pytest.mark.parametrize("words", [[], ["model.layers=decoder"], ["speed.checkpointing=true"], ["batch=2"]])
def test_what_is_counted_is_what_is_kept(overrides: list[str], words: list[str]) -> None:
    settings = check(compose(*overrides, *words))
    with opened(*overrides, *words) as run:
        told = estimate(settings, run.method.denoiser)
        edit = run.works[0].edit
        noisy = {kind: torch.randn(1, 4, 8, 8) for kind in (EDIT, ORIGINAL)}
        kept = Kept()
        with kept.counting():
            answers = run.method.denoiser.predict([Query(edit, list(TRAINING_PAIRS.values()), noisy, 5)])
        assert all(eps.requires_grad for eps in answers[0].values())
        assert edit.models is not None
        matrices = edit.models.weights.values()
    assert told["kept by the U-Net"] == pytest.approx(settings.run.batch * kept.bytes, rel=0.02)
    assert told["adapters"] == 16 * settings.run.batch * sum(matrix.numel() for matrix in matrices)


def test_cheaper_settings_keep_less(overrides: list[str]) -> None:
    def kept(*words: str) -> float:
        with opened(*overrides, *words) as run:
            return estimate(check(compose(*overrides, *words)), run.method.denoiser)["kept by the U-Net"]

    plain = kept()
    assert kept("speed.checkpointing=true") < 0.6 * plain
    assert kept("model.layers=decoder") < 0.8 * plain
    assert kept("score=dds") == 0


def test_what_does_not_fit_says_what_would_help(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "LARGE", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    words = [*overrides, "batch=4"]
    with opened(*words) as run:
        memory.tell(check(compose(*words)), run.method.denoiser)
    (warning,) = [record.getMessage() for record in caplog.records if "needs less" in record.getMessage()]
    assert "batch=2, prior.dtype=float16, speed.checkpointing=true, model.layers=decoder" in warning


def test_views_that_are_followed_keep_nothing_of_the_autoencoder(
    overrides: list[str], prior_folder: Path
) -> None:
    scene = ["task=nerf", "score=dds", "metrics=pixels", f"prior.path={prior_folder}"]
    with opened(*overrides) as run:
        told = {
            schedule: estimate(check(compose(*scene, f"schedule={schedule}")), run.method.denoiser)
            for schedule in ("uniform", "descending")
        }
    assert told["uniform"]["kept by the autoencoder"] > 0
    assert told["descending"]["kept by the autoencoder"] == 0
