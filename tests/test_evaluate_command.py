"""The command line as a user types it, and that a run's folder has the run's own numbers."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from piva.config import build, compose
from piva.datasets.pie import Pie
from piva.evaluate import evaluate
from piva.evaluation.settings import check
from piva.images import encode_runs
from piva.metrics.comparison import Comparison, save_comparison
from piva.metrics.measure import measure
from piva.metrics.toys import Toys
from piva.tasks.image import read_truth

SIZE = 64


def piva(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "piva.evaluate", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def before(generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(2, 1, 3, SIZE, SIZE, generator=generator) * 255).round() / 255


@pytest.fixture
def root(tmp_path: Path, before: torch.Tensor) -> Path:
    """PIE-Bench's layout with two noisy pictures (PNG in spite of the name: no loss) and their truth."""

    root, records = tmp_path / "pie", {}
    for index, picture in enumerate(before):
        name, pixels = f"{index:012d}", (picture[0] * 255).byte().permute(1, 2, 0).numpy()
        for path in (root / f"annotation_images/0_random_140/{name}.jpg", root / f"truth/images/{name}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, "PNG")
        mask = np.zeros((SIZE, SIZE), bool)
        mask[:20] = True
        truth = root / f"truth/masks/{name}.png"
        truth.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(truth)
        records[name] = {
            "image_path": f"0_random_140/{name}.jpg",
            "original_prompt": "a red mug",
            "editing_prompt": ["a blue mug", "a red vase"][index],
            "editing_instruction": "",
            "editing_type_id": "0",
            "blended_word": "",
            "mask": encode_runs(mask),
        }
    (root / "mapping_file.json").write_text(json.dumps(records))
    return root


def test_a_runs_folder_has_the_runs_own_numbers(root: Path, before: torch.Tensor, tmp_path: Path) -> None:
    """Pictures saved as a run saves them, measured by the command, against `measure` in memory."""
    words = [
        "dataset=pie",
        f"dataset.root={root}",
        f"edits={tmp_path / 'run'}",
        f"hydra.run.dir={tmp_path / 'out'}",
    ]
    rows, networks = [], Toys(path="toys").load("cpu")
    after = (before + 0.1).clamp(0, 1)
    dataset = compose(*words, name="evaluate").dataset
    edits = list(build(Pie, dataset, "dataset").read())
    for edit, x, y in zip(edits, before, after, strict=True):
        truth, mask = read_truth(edit, x)
        known = {"truth": truth, "truth_before": x, "truth_after": y, "truth_mask": mask}
        comparison = Comparison(before=x, after=y, **known)
        folder = tmp_path / "run/edits" / edit.id
        folder.mkdir(parents=True)
        save_comparison(comparison, folder)
        rows.append(measure(comparison, edit, networks))
    table = evaluate(check(compose(*words, name="evaluate")), tmp_path / "out")
    with (tmp_path / "out/metrics.csv").open() as file:
        measured = list(csv.DictReader(file))
    assert [row["id"] for row in measured] == [edit.id for edit in edits]
    for row, wanted in zip(measured, rows, strict=True):
        assert {key: float(row[key]) for key in wanted} == pytest.approx(wanted, abs=1e-5)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["metric_networks"] == dict(networks.names) if networks else False
    assert set(summary) >= {"mean", "edits", "missing", "choices", "provenance"}
    assert (tmp_path / "out/config.yaml").is_file()
    assert "do nothing" in table


def test_the_command_line(root: Path, tmp_path: Path) -> None:
    words = ["dataset=pie", f"dataset.root={root}", f"edits={root}", "metrics=pixels", "hydra.run.dir=out"]
    done = piva(*words)
    assert done.returncode == 0, done.stderr
    assert "| edits | ∞ | 0.00 |" in done.stdout
    assert "results in" in done.stdout
    assert {path.name for path in Path("out").iterdir()} >= {"config.yaml", "metrics.csv", "summary.json"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["edits=nowhere", "dataset=pie", "dataset.root=toys"], ["edits", "nowhere"]),
        (["metrics=papr"], ["metrics=papr", "paper, pixels, toys"]),
        (["edit=x"], ["edit", "did you mean edits"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_exit_code_2_and_no_folder(words: list[str], expected: list[str]) -> None:
    done = piva(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in expected)
    assert list(Path().iterdir()) == []


def test_missing_weights_stop_it_before_torch(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    code = f"""
import sys
sys.argv = ['piva', 'dataset=pie', 'dataset.root={root}', 'edits={root}', 'metrics=paper']
try:
    from piva.evaluate import main
    main()
except SystemExit as stop:
    assert stop.code == 2
assert 'torch' not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "piva fetch metrics=paper" in done.stderr
    for name in (
        "vit_large_patch14_clip_224.openai",
        "vit_base_patch8_224.dino",
        "alexnet-owt-7be5be79.pth",
        "squeezenet1_1",
    ):
        assert name in done.stderr
