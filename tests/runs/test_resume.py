"""Runs that are stopped, damaged or told to share a folder, on a tiny prior."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.two_edits import assert_equal_runs, two_edits
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from piva import compose, run
from piva.errors import InputError
from piva.runs.folder import lock
from piva.tasks.image import ImageState


@pytest.fixture(scope="module")
def overrides(prior_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [f"prior.path={prior_folder}", *two_edits(tmp_path_factory.mktemp("data"))]


def piva(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "piva.run", *argv], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
def test_kills_tear_nothing_and_change_nothing(overrides: list[str], tmp_path: Path) -> None:
    root, script = tmp_path / "runs", Path(__file__).parents[1] / "helpers/killing.py"
    command = [sys.executable, str(script), str(root), "5", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["at_work"] >= 2
    assert counts["with_checkpoint"] >= 1
    *finished, last = sorted(root.glob("killed-*"), key=lambda path: int(path.name.split("-")[1]))
    run(compose(f"resume={last}"))  # a killed process has let go of its lock
    for folder in (*finished, last):
        assert_equal_runs(root / "unbroken", folder)
        assert not [path for path in folder.rglob("*") if ".tmp" in path.name or "checkpoints" in path.parts]


class Stop(Exception):
    """Raised where a process might be killed."""


@pytest.fixture(scope="module")
def runs(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped in step 10 of its second edit, with checkpoints of steps 6 and 8, by an unbroken one."""
    folder = tmp_path_factory.mktemp("runs")
    run(compose(*overrides, f"hydra.run.dir={folder / 'unbroken'}"))
    step, steps = ImageState.step, iter(range(12 + 9))

    def stopping(self: ImageState) -> None:
        if next(steps, None) is None:
            raise Stop
        step(self)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Stop):
        patched.setattr(ImageState, "step", stopping)
        run(compose(*overrides, f"hydra.run.dir={folder / 'stopped'}"))
    assert [int(path.name[:8]) for path in kept(folder / "stopped")] == [6, 8]
    return folder


@pytest.fixture
def stopped(runs: Path, tmp_path: Path) -> Path:
    """A copy of both that a test may change: the stopped run's folder, with `unbroken` beside it."""
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path / "runs/stopped"


def kept(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, the oldest first."""
    return sorted(folder.glob("checkpoints/**/*.pt"))


def test_a_run_goes_on_from_its_checkpoint(stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    started = (stopped / "edits/a/dog/after.png").stat().st_mtime_ns
    run(compose(f"resume={stopped}"))
    assert "a/zebra goes on after step 8" in caplog.text
    assert (
        stopped / "edits/a/dog/after.png"
    ).stat().st_mtime_ns == started  # it was finished: not made again
    assert_equal_runs(stopped.with_name("unbroken"), stopped)


def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_used(
    stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    newest = kept(stopped)[-1]
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    run(compose(f"resume={stopped}"))
    assert f"checkpoint {newest} is damaged" in caplog.text
    assert "a/zebra goes on after step 6" in caplog.text
    assert_equal_runs(stopped.with_name("unbroken"), stopped)


def test_without_any_whole_checkpoint_the_edit_begins_again(stopped: Path) -> None:
    for path in kept(stopped):
        path.write_bytes(path.read_bytes()[:-1])
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"edit": "a/zebra", "st')
    run(compose(f"resume={stopped}"))
    assert_equal_runs(stopped.with_name("unbroken"), stopped)


def test_another_run_is_refused_and_a_finished_one_left_alone(overrides: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = run(compose(*overrides, "score=dds", f"hydra.run.dir={folder}"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    # DDS does not read lambda
    again = run(compose(*overrides, "score=dds", "lambda=0.8", f"hydra.run.dir={folder}"))
    assert (again.summary, again.rows) == (first.summary, first.rows)
    with pytest.raises(InputError, match=r"a run of seed=0, wanted seed=1"):
        run(compose(*overrides, "score=dds", "seed=1", f"hydra.run.dir={folder}"))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_of_two_runs_in_one_folder_the_second_refuses(overrides: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with lock(folder):
        before = sorted(folder.iterdir())
        done = piva(*overrides, f"hydra.run.dir={folder}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"{folder}: found a run that is at work there" in done.stderr
        assert sorted(folder.iterdir()) == before  # not even Hydra's own files


def test_a_failing_edit_does_not_stop_the_others(
    overrides: list[str], prior_folder: Path, tmp_path: Path
) -> None:
    """A prior whose embedding of the letter z is not a number: the second edit alone meets it."""
    ill = tmp_path / "prior"
    shutil.copytree(prior_folder, ill)
    weights = load_file(ill / "text_encoder/model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(ill / "tokenizer")
    name = next(key for key in weights if key.endswith("token_embedding.weight"))
    weights[name][tokenizer.convert_tokens_to_ids("z")] = torch.nan
    save_file(weights, ill / "text_encoder/model.safetensors", {"format": "pt"})
    folder = tmp_path / "run"
    done = piva(*overrides, f"prior.path={ill}", f"hydra.run.dir={folder}")
    assert done.returncode == 1, done.stderr
    assert "1 of 2 edits failed: a/zebra: step 0" in done.stderr
    assert "the direction is not finite" in done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["id"] for row in summary["edits"]] == ["a/dog"]
    assert [failure["id"] for failure in summary["failures"]] == ["a/zebra"]
    assert (folder / "edits/a/dog/after.png").exists()
    assert not (folder / "edits/a/zebra").exists()
    shutil.copytree(prior_folder, ill, dirs_exist_ok=True)  # mended
    mended = run(compose(f"resume={folder}"))
    assert (mended.summary["failures"], len(mended.rows)) == ([], 2)
