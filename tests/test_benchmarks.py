"""The check of a GPU runs its own miniature where there is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.finished_runs import drawn, write_run
from PIL import Image

from benchmarks import gallery
from benchmarks.launches import count
from benchmarks.sd_size import NARROW, write_photos, write_random

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_gpu_check_runs_dry() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {row["what"] for row in rows} == {"picture", "scene, ControlNet", "fit"}
    assert not [row for row in rows if "error" in row]
    assert all(row["ms"] > 0 for row in rows if row["what"] != "fit")


def test_a_step_launches_few_kernels(tmp_path: Path) -> None:
    """Of a U-Net with Stable Diffusion's layers; two grouped forwards took twice as many."""
    prior, photos = write_random(tmp_path / "sd", NARROW), write_photos(tmp_path / "photos", 1, 64)
    dds, piva, cheap = (
        count(prior, photos, "reference=edit", "prior.dtype=float16", *words).total()
        for words in (("score=dds",), ("score=piva",), ("score=piva", "model.layers=decoder"))
    )
    assert dds < 1000
    assert piva < 3500
    assert cheap < 2800


def test_a_gallery_finds_each_edit_in_the_job_that_has_it(tmp_path: Path) -> None:
    for i, edit in enumerate(("apple", "pear")):
        write_run(tmp_path / f"runs/shard={i}", drawn([edit]))
    gallery.main(tmp_path / "out.png", str(tmp_path / "runs"))
    assert Image.open(tmp_path / "out.png").height == 2 * gallery.SIZE
    write_run(tmp_path / "runs/again", drawn(["pear"], seed=1))
    with pytest.raises(SystemExit, match="pear stands in"):
        gallery.main(tmp_path / "out.png", str(tmp_path / "runs"))
