"""Sweeps through the real command line, and what their folders say."""

import json
import re
import subprocess
import sys
from pathlib import Path

from helpers.command import call
from helpers.two_edits import two_edits

from piva.cli import main
from piva.config import LONGEST, folder_name
from piva.runs.folder import lock
from piva.runs.run import Run
from piva.runs.sweep import duplicate_of, jobs, table


def test_names_of_folders() -> None:
    assert folder_name("lambda=0.1,score=dds") == "lambda=0.1,score=dds"
    assert folder_name("dataset.shard=3/16") == "dataset.shard=3-16"
    long = [folder_name("dataset.source=" + "é" * 300 + end) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= LONGEST for name in long)


def test_a_sweep_goes_round_failures_and_repetitions(prior_folder: Path, tmp_path: Path) -> None:
    words = [
        f"prior.path={prior_folder}",
        *two_edits(tmp_path / "data"),
        "edits=1",
        "steps=2",
        "measure_at=[]",
    ]
    names = "hydra.sweep.subdir=${lambda}-${hydra.runtime.choices.score}"
    sweep = [*words, "lambda=-1,0.1", "score=piva,dds", "hydra.sweep.dir=sweep", names]

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "piva.run", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)

    done = command("-m", *sweep)
    assert done.returncode == 1, done.stderr
    others = {run: run.duplicate_of for run in jobs(Path("sweep"))}
    status = {run.folder.name: (run.status, other and other.folder.name) for run, other in others.items()}
    assert status == {
        "-1-piva": ("failed", None),
        "-1-dds": ("finished", None),
        "0.1-piva": ("finished", None),
        "0.1-dds": ("finished", "-1-dds"),
    }
    assert "-1-piva: lambda: found -1.0, wanted a number of at least 0" in done.stdout
    assert not Path("sweep/0.1-dds/edits").exists()

    finished = sorted(Path("sweep").glob("*/summary.json"))
    before = [path.stat().st_mtime_ns for path in finished]
    again = command("resume=sweep")
    assert again.returncode == 1, again.stderr
    assert [path.stat().st_mtime_ns for path in finished] == before
    assert again.stdout.splitlines()[-6:] == done.stdout.splitlines()[-6:]  # the table


def finish(folder: Path, **summary: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}")
    (folder / "summary.json").write_text(
        json.dumps({"failures": [], "edits": [{}], "mean": {}, "metric_networks": {}} | summary)
    )


def test_one_job_of_equal_ones_runs(tmp_path: Path) -> None:
    """The first that asks, while at work and once it has finished; the next one if it died or failed."""
    first, second, third = (tmp_path / name for name in "abc")
    with lock(first), lock(second):
        assert duplicate_of({"score": "dds"}, first, tmp_path) is None
        assert duplicate_of({"score": "dds"}, second, tmp_path) == first
        assert duplicate_of({"score": "piva"}, second, tmp_path) is None
    with lock(third):
        assert duplicate_of({"score": "dds"}, third, tmp_path) is None  # the first is dead
    with lock(first):
        finish(third)
        assert duplicate_of({"score": "dds"}, first, tmp_path) == third


def test_the_table_reads_folders(tmp_path: Path) -> None:
    finish(
        tmp_path / "seed=0,lambda=1,steps=9",
        mean={"truth/psnr": 27.41, "nothing/psnr": 15.52, "eval/clip": 0.5},
    )
    finish(tmp_path / "seed=0,lambda=2,steps=9", failures=[{"id": "mug/blue", "reason": "why"}])
    (tmp_path / "seed=0,lambda=3,steps=9").mkdir()
    (tmp_path / "seed=0,lambda=3,steps=9/run.json").write_text("{}")
    with lock(tmp_path / "seed=0,lambda=3,steps=9"):
        rows = [re.split("  +", line, maxsplit=2) for line in table(list(jobs(tmp_path))).splitlines()]
    assert rows == [
        ["job", "status", "means"],
        ["lambda=1", "finished", "to the truth 27.4 dB, untouched 15.5; CLIP 0.500"],
        ["lambda=2", "1 of 2 edits failed"],
        ["lambda=3", "running"],
        ["lambda=2: mug/blue: why"],
    ]
    assert Run(tmp_path / "seed=0,lambda=3,steps=9").status == "unfinished"


def test_folders_are_named_by_what_differs_and_a_resumed_sweep_finds_them(
    prior_folder: Path, tmp_path: Path
) -> None:
    words = [f"prior.path={prior_folder}", *two_edits(tmp_path / "data"), "edits=1", "steps=2", "seed=1"]
    sweep = ["-m", *words, "measure_at=[]", "score=dds,sds", "hydra.sweep.dir=sweep"]
    done = call(main, "piva.run", *sweep)
    assert done.returncode == 0, done.stderr
    names = {run.folder.name for run in jobs(Path("sweep"))}
    assert names == {"score=dds", "score=sds"}
    again = call(main, "piva.run", "resume=sweep")
    assert again.returncode == 0, again.stderr
    assert {run.folder.name for run in jobs(Path("sweep"))} == names
