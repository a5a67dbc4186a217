"""`batch=N`: edits that share their steps' network calls leave what edits one by one leave."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from helpers.two_edits import two_edits

from piva import compose, run
from piva.tasks.image import ImageState


@pytest.fixture(scope="module")
def overrides(prior_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [f"prior.path={prior_folder}", *two_edits(tmp_path_factory.mktemp("data"))]


@pytest.fixture(scope="module")
def alone(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same edits, one by one."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    run(compose(*overrides, f"hydra.run.dir={folder}"))
    return folder


def counts(folder: Path) -> Any:
    """What is equal however edits are batched."""
    summary = json.loads((folder / "summary.json").read_text())
    steps = sorted((folder / "metrics.jsonl").read_text().splitlines())
    keys = [[json.loads(step)[key] for key in ("edit", "step", "t")] for step in steps]
    return summary["unet"], summary["failures"], keys


def assert_equal(one: Path, other: Path) -> None:
    assert counts(one) == counts(other)
    a, b = (json.loads((folder / "summary.json").read_text())["mean"] for folder in (one, other))
    assert a == pytest.approx(b, rel=1e-4, abs=2e-5, nan_ok=True)


def test_a_batch_is_its_edits_one_by_one(overrides: list[str], alone: Path, tmp_path: Path) -> None:
    run(compose(*overrides, "batch=2", f"hydra.run.dir={tmp_path / 'run'}"))
    assert_equal(alone, tmp_path / "run")
    timing = json.loads((tmp_path / "run/timing.json").read_text())["edits"]
    assert timing[0]["optimise_s"] == pytest.approx(timing[1]["optimise_s"], rel=0.3)  # of what both took


class Stop(Exception):
    """Raised where a process might be killed."""


@pytest.mark.parametrize("resumed_with", ["batch=1", "batch=2", "batch=8"])
def test_a_stopped_batch_goes_on_in_any_batch(
    overrides: list[str], alone: Path, tmp_path: Path, resumed_with: str
) -> None:
    step, steps = ImageState.step, iter(range(2 * 9 - 1))

    def stopping(self: ImageState) -> None:
        if next(steps, None) is None:
            raise Stop
        step(self)

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Stop):
        patched.setattr(ImageState, "step", stopping)
        run(compose(*overrides, "batch=2", f"hydra.run.dir={folder}"))
    assert len(list(folder.glob("checkpoints/**/*.pt"))) == 4  # each edit has its own
    shutil.rmtree(folder / "checkpoints/a/zebra")  # and one may have lost them
    run(compose(f"resume={folder}", resumed_with))
    assert_equal(alone, folder)


def out_of_memory_above(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the U-Net have memory for so many rows."""
    forward = UNet2DConditionModel.forward

    def limited(self: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(sample) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, sample, *args, **kwargs)

    monkeypatch.setattr(UNet2DConditionModel, "forward", limited)


def test_a_batch_too_large_is_halved(
    overrides: list[str], alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    out_of_memory_above(5, monkeypatch)
    run(compose(*overrides, "batch=2", f"hydra.run.dir={tmp_path / 'run'}"))
    assert "2 edits together do not fit in memory" in caplog.text
    assert_equal(alone, tmp_path / "run")


def test_an_edit_too_large_is_named_and_the_others_go_on(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, forward = iter(range(1)), UNet2DConditionModel.forward

    def limited(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            return forward(self, *args, **kwargs)
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(UNet2DConditionModel, "forward", limited)
    summary = run(compose(*overrides, f"hydra.run.dir={tmp_path / 'run'}")).summary
    (failure,) = summary["failures"]
    assert failure["id"] == "a/dog"
    assert "can't allocate memory" in failure["reason"]
    assert "docs/stable_diffusion.md" in failure["reason"]
    assert [row["id"] for row in summary["edits"]] == ["a/zebra"]


def test_other_errors_of_a_batch_are_not_taken_for_memory(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(UNet2DConditionModel, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(compose(*overrides, "batch=2", f"hydra.run.dir={tmp_path / 'run'}"))


def test_edits_of_one_source_share_its_model(overrides: list[str], tmp_path: Path) -> None:
    """What eps_psi has learned before the edits is the same for all, alone, in a batch or after a stop."""
    words = [*overrides, "model.source_warmup=5"]
    folders = {name: tmp_path / name for name in ("alone", "batch", "dog", "zebra")}
    run(compose(*words, f"hydra.run.dir={folders['alone']}"))
    run(compose(*words, "batch=2", f"hydra.run.dir={folders['batch']}"))
    for name in ("dog", "zebra"):
        run(compose(*words, f"edits=a/{name}", f"hydra.run.dir={folders[name]}"))
    assert_equal(folders["alone"], folders["batch"])
    adapters = [
        path.read_bytes() for path in sorted(tmp_path.glob("*/edits/a/*/adapters/source/./*.safetensors"))
    ]
    assert len(adapters) == 6
    assert len(set(adapters)) == 1
    unet = {
        name: json.loads((folder / "summary.json").read_text())["unet"] for name, folder in folders.items()
    }
    assert unet["dog"]["backward_per_step"] == (12 + 5) / 12  # eps_phi at each of 12 steps, eps_psi at 5
    assert unet["alone"]["backward_per_step"] == (12 + 5 / 2) / 12
