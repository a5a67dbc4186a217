"""What the words of piva.evaluate lead to, by the configuration that the command line makes of them."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from piva.config import compose
from piva.errors import InputError
from piva.evaluation.settings import Evaluation, check


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """PIE-Bench's layout, one picture."""
    root = tmp_path / "pie"
    photo = root / "annotation_images/0_random_140/000000000000.jpg"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (512, 512), (90, 30, 10)).save(photo)
    record = {
        "image_path": "0_random_140/000000000000.jpg",
        "original_prompt": "a [round] cake",
        "editing_prompt": "a [square] cake",
        "editing_instruction": "",
        "editing_type_id": "0",
        "blended_word": "",
        "mask": [0, 1000],
    }
    (root / "mapping_file.json").write_text(json.dumps({"000000000000": record}))
    return root


def checked(*words: str) -> Evaluation:
    return check(compose(*words, name="evaluate"))


def test_the_original_beside_itself(root: Path) -> None:
    evaluation = checked("dataset=pie", f"dataset.root={root}", f"edits={root}", "metrics=pixels")
    (pair,) = evaluation.pairs
    assert pair.before == pair.after
    assert pair.edit.target_prompt == "a square cake"
    assert pair.edit.mask is not None
    assert evaluation.choices == {"dataset": "pie", "metrics": "pixels"}


def test_views_with_prompts_given(root: Path) -> None:
    folder = root / "annotation_images/0_random_140"
    (pair,) = checked(f"before={folder}", f"after={folder}", "source=a mug", "target=a vase").pairs
    assert (pair.edit.source_prompt, pair.edit.target_prompt, pair.edit.mask) == ("a mug", "a vase", None)


def test_views_with_the_prompts_of_a_datasets_edit(root: Path) -> None:
    folder = root / "annotation_images/0_random_140"
    (pair,) = checked(f"before={folder}", f"after={folder}", "dataset=pie", f"dataset.root={root}").pairs
    assert (pair.edit.target_prompt, pair.edit.mask) == ("a square cake", None)


def test_a_run_brings_its_dataset(root: Path) -> None:
    run = root.parent / "run"
    picture = run / "edits/000000000000/after.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (512, 512)).save(picture)
    cfg = compose("task=image", "dataset=pie", f"dataset.root={root}")
    dataset = {**OmegaConf.to_container(cfg.dataset, resolve=True), "edits": "all"}
    task = {"_target_": "piva.tasks.image.ImageTask"}
    (run / "config.yaml").write_text(json.dumps({"task": task, "dataset": dataset}))  # JSON is YAML
    assert checked(f"edits={run}").pairs[0].after == [picture]
    (run / "config.yaml").write_text(
        json.dumps({"task": {"_target_": "piva.tasks.nerf.NerfTask"}, "dataset": dataset})
    )
    with pytest.raises(InputError, match=r"config.yaml: found a run of NerfTask.*before= and after="):
        checked(f"edits={run}")
    (run / "config.yaml").write_text("[")
    with pytest.raises(InputError, match="config.yaml: found"):
        checked(f"edits={run}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "edits: found nothing"),
        (["edits=nowhere"], "edits: found no folder 'nowhere'"),
        (["edits=."], "dataset: found none"),
        (["edits=.", "before=."], "edits: found before"),
        (["before=."], "edits: found nothing"),
        (["before=.", "after=.", "source=a"], "target prompt: found nothing"),
        (["edits=.", "missing=ignore"], "missing: found 'ignore', wanted one of stop, skip"),
        (["edits=.", "device=gpu"], "device: found 'gpu'"),
        (["edits=.", "dataset=pie", "dataset.root=???"], "dataset.root: found no value"),
        (
            ["edits=.", "metrics=paper", "metrics.lpips=resnet"],
            "metrics.lpips: found 'resnet', wanted one of alex",
        ),
    ],
)
def test_bad_input(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(*words)


def test_prompts_beside_a_dataset_are_refused(root: Path) -> None:
    words = [f"before={root}", f"after={root}", "dataset=pie", f"dataset.root={root}", "target=a vase"]
    with pytest.raises(InputError, match=r"dataset.edits: found 1 edits and prompts"):
        checked(*words)
