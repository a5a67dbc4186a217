"""What is run beside the package: benchmarks, and the pictures of the documentation."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from draw_pictures import method
from helpers.balls import write_run as write_balls
from helpers.finished_runs import drawn, write_run
from PIL import Image

from benchmarks import fog, gallery, hero, scene_step
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


def test_fog_is_what_has_risen_from_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recoloured ball has filled nothing, a grown one a shell of about what its radii say."""
    write_balls(tmp_path / "run")
    fog.main(str(tmp_path / "run"))
    risen = dict(re.findall(r"(ball/\w+): risen ([\d.]+)%", capsys.readouterr().out))
    assert float(risen["ball/green"]) == 0
    assert float(risen["ball/grown"]) > 1


def test_the_hero_turns_each_edit_below_its_original(tmp_path: Path) -> None:
    write_balls(tmp_path / "run")
    hero.main(
        tmp_path / "out.webp", *(str(tmp_path / f"run/edits/ball/{name}") for name in ("green", "grown"))
    )
    film = Image.open(tmp_path / "out.webp")
    assert (film.width, film.n_frames) == (2 * hero.SIZE, hero.VIEWS)
    above, below = (film.convert("RGB").crop((0, top, hero.SIZE, top + 230)) for top in (0, 230))
    assert above.getcolors(1 << 16) != below.getcolors(1 << 16)


@pytest.mark.slow
def test_a_step_is_timed_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        scene_step.main("fields=voxels", "steps=3", "rounds=1", "profile=cpu")
    finally:
        torch.set_num_threads(threads)
    *_, row = capsys.readouterr().out.splitlines()
    assert row.startswith("| voxels | 1 | ")
    assert row.endswith("| 1.00 |")


def test_the_page_of_the_method_shows_both_answers_where_they_differ() -> None:
    late, early = method()
    assert late.shape == early.shape
    source, target = (early[40:, k * 256 : (k + 1) * 256].astype(float) for k in (2, 3))
    assert abs(source - target).mean() > 1  # of 255
