"""Sweeps leave the same numbers however they are launched; a cluster's stopped job is queued again."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import joblib
import numpy as np
import pytest
from helpers import local_slurm
from PIL import Image

from piva import compose, run

SAMPLES = (2, 3)  # pictures, where none are asked for: two runs with other names and equal numbers


def words(prior_folder: Path, steps: int) -> list[str]:
    """A short edit of a picture of noise by DDS."""
    if not Path("photo.png").exists():
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
            "photo.png"
        )
    picture = ["task=image", "dataset=single", f"dataset.path={Path('photo.png').resolve()}"]
    prompts = ["dataset.source=a cat", "dataset.target=a dog"]
    return [*picture, *prompts, f"prior.path={prior_folder}", "metrics=pixels", "score=dds", f"steps={steps}"]


def sweep(prior_folder: Path, steps: int, *launcher: str) -> list[str]:
    samples = f"samples.count={','.join(map(str, SAMPLES))}"
    folders = ["hydra.sweep.dir=sweep", "hydra.sweep.subdir=${samples.count}"]
    return [sys.executable, "-m", "piva.run", "-m", *words(prior_folder, steps), samples, *folders, *launcher]


def without_threads() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}


def summaries() -> list[dict[str, float]]:
    return [json.loads(Path(f"sweep/{count}/summary.json").read_text())["mean"] for count in SAMPLES]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "threads"),
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], max(joblib.cpu_count() // 2, 1)),
        (["hydra/launcher=local"], 1),
    ],
    ids=["joblib", "local"],
)
def test_a_sweep_in_processes_gives_the_numbers_of_one_run_and_shares_the_cores(
    prior_folder: Path, launcher: list[str], threads: int
) -> None:
    done = subprocess.run(
        sweep(prior_folder, 3, *launcher), env=without_threads(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    alone = run(compose(*words(prior_folder, 3), "hydra.run.dir=alone")).summary["mean"]
    assert summaries() == [pytest.approx(alone, rel=1e-4)] * 2
    assert [json.loads(Path(f"sweep/{count}/timing.json").read_text())["threads"] for count in SAMPLES] == [
        threads
    ] * 2


@pytest.mark.slow
@pytest.mark.skipif(bool(local_slurm.missing()), reason=local_slurm.missing())
def test_a_slurm_job_that_is_stopped_is_queued_again_and_goes_on(prior_folder: Path, tmp_path: Path) -> None:
    """On a Slurm of one node, made for this test: of two equal jobs one gets the signal before the end.

    Submitit takes it as the end of a time this short, so that max_num_timeout counts; pre-emption is the same
    signal sooner.

    Both end with the same numbers, and no step was written twice.
    """
    resources = ["gpus_per_node=null", "mem_gb=null", "cpus_per_task=1", "timeout_min=5"]
    command = sweep(
        prior_folder,
        300,
        "checkpoint_every=25",
        "hydra/launcher=slurm",
        *(f"hydra.launcher.{each}" for each in resources),
    )
    with (
        local_slurm.one_node(tmp_path) as slurm,
        subprocess.Popen(
            command,
            env=without_threads() | slurm,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as sweeping,
    ):
        checkpoints = Path(f"sweep/{SAMPLES[0]}/checkpoints")
        local_slurm.until(lambda: any(checkpoints.rglob("*.pt")), 120, "a checkpoint")
        ids = [state["JobId"] for state in jobs(slurm) if state["ArrayTaskId"] == "0"]
        subprocess.run(["scancel", "--signal=USR2", *ids], env=slurm, check=True)
        output, _ = sweeping.communicate(timeout=240)
        assert sweeping.returncode == 0, output
        assert [
            state["Restarts"] for state in sorted(jobs(slurm), key=lambda state: state["ArrayTaskId"])
        ] == ["1", "0"]
    broken, whole = summaries()
    assert broken == whole
    assert "goes on after step" in Path(f"sweep/{SAMPLES[0]}/piva.log").read_text()
    assert [len(Path(f"sweep/{count}/metrics.jsonl").read_text().splitlines()) for count in SAMPLES] == [
        300,
        300,
    ]
    assert [json.loads(Path(f"sweep/{count}/timing.json").read_text())["threads"] for count in SAMPLES] == [
        1,
        1,
    ]


def jobs(slurm: Mapping[str, str]) -> list[dict[str, str]]:
    """What the controller knows of every job."""
    told = subprocess.run(
        ["scontrol", "--oneliner", "show", "job"], env=slurm, capture_output=True, text=True, check=True
    )
    return [
        dict(word.split("=", 1) for word in line.split() if "=" in word) for line in told.stdout.splitlines()
    ]
