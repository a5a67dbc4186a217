"""`piva.edit` from Python, on a tiny random model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import piva
from piva.config import compose
from piva.errors import InputError
from piva.experiment.edit import Progress
from piva.priors.prior import load

QUICK = ("steps=2", "metrics=pixels")


@pytest.fixture
def photo() -> Image.Image:
    y, x = np.mgrid[:32, :32]
    return Image.fromarray(np.stack([x * 5, y * 7, 255 - x], axis=-1).astype(np.uint8))


def test_an_edit_gives_pictures_numbers_and_its_folder(photo: Image.Image, prior_folder: Path) -> None:
    edited = piva.edit(photo, "a cat", "a dog, sitting", *QUICK, score="dds", prior=prior_folder)
    assert edited.after.size == edited.before.size == photo.size
    assert edited.tensor().shape == (3, 32, 32)
    np.testing.assert_array_equal(
        np.asarray(edited.after), (255 * edited.tensor()).round().byte().permute(1, 2, 0)
    )
    assert edited.comparison.height > 256
    assert edited._repr_png_().startswith(b"\x89PNG")
    assert np.isfinite(edited.metrics["eval/psnr"])
    assert edited.folder.is_dir()
    assert edited.film is None
    assert edited.run.summary["choices"]["score"] == "dds"
    assert edited.run.rows[0]["target_prompt"] == "a dog, sitting"


def test_a_callback_sees_every_step_and_changes_nothing(photo: Image.Image, prior_folder: Path) -> None:
    seen: list[Progress] = []
    shown = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        shown.append(progress.picture())

    words = ("a cat", "a dog", *QUICK)
    watched = piva.edit(photo, *words, "hydra.run.dir=a", prior=prior_folder, callback=watch)
    alone = piva.edit(photo, *words, "hydra.run.dir=b", prior=prior_folder)
    assert [(each.step, each.steps) for each in seen] == [(1, 2), (2, 2)]
    assert shown[0].shape == (3, 32, 32)
    for kept, then in zip(seen, shown, strict=True):
        assert torch.equal(kept.picture(), then)  # although theta has moved on
    assert not torch.equal(shown[0], shown[1])
    assert seen[-1].evaluations.forward > 0
    assert watched.metrics == alone.metrics


def test_what_a_callback_raises_ends_the_edit(photo: Image.Image, prior_folder: Path) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        piva.edit(photo, "a cat", "a dog", *QUICK, prior=prior_folder, callback=stop)


def test_a_loaded_pipeline_edits_as_its_folder_does(photo: Image.Image, prior_folder: Path) -> None:
    parts = load(str(prior_folder), "cpu", "float32")
    pipe = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    before = {name: weight.clone() for name, weight in pipe.unet.named_parameters()}
    by_pipe = piva.edit(photo, "a cat", "a dog", *QUICK, "hydra.run.dir=pipe", prior=pipe)
    by_path = piva.edit(photo, "a cat", "a dog", *QUICK, "hydra.run.dir=path", prior=str(prior_folder))
    assert torch.equal(by_pipe.tensor(), by_path.tensor())
    assert by_pipe.metrics == by_path.metrics
    assert all(torch.equal(weight, before[name]) for name, weight in pipe.unet.named_parameters())


def test_bad_input_is_named(photo: Image.Image) -> None:
    with pytest.raises(InputError, match="'cat', which prior=toys has never seen"):
        piva.edit(photo, "a cat", "a red mug")
    with pytest.raises(InputError, match=r"prior\.path"):
        piva.edit(photo, "a cat", "a dog", prior="./nowhere")
    with pytest.raises(InputError, match="nothing at nowhere"):
        piva.edit("nowhere.png", "a cat", "a dog")


def test_edits_of_one_second_have_folders_of_their_own(
    photo: Image.Image, prior_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def at_one_second(*words: str) -> Any:
        named = [word for word in words if word.startswith("hydra.run.dir=")]
        return compose(*words, *([] if named else ["hydra.run.dir=outputs/12-00-00"]))

    monkeypatch.setattr("piva.commands.edit.compose", at_one_second)
    folders = [piva.edit(photo, "a cat", "a dog", *QUICK, prior=prior_folder).run.folder for _ in range(2)]
    assert len({*folders}) == 2


@pytest.mark.parametrize(
    ("picture", "words", "message"),
    [
        ("photo.png", ["resume=elsewhere"], "resume=elsewhere: found a run to go on with, wanted a new edit"),
        ("~nobody_of_this_name/photo.png", [], "PATH: found"),
    ],
)
def test_what_is_no_picture_or_no_edit_is_one_line(picture: Any, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        piva.edit(picture, "a cat", "a dog", *words)


def test_a_picture_too_narrow_to_compare_is_refused(prior_folder: Path) -> None:
    thin = Image.new("CMYK", (12, 3000))
    with pytest.raises(InputError, match="pixels for the prior to see, wanted at least 8 a side"):
        piva.edit(thin, "a cat", "a dog", *QUICK, prior=prior_folder)


def test_files_of_somebody_else_stay(photo: Image.Image, prior_folder: Path, tmp_path: Path) -> None:
    """A folder with what a run would write over, and without its record, is none of a run's."""
    own = {"metrics.csv": "mine", ".notes.tmp": "mine", "sub/.work.tmp/thesis.txt": "mine"}
    for name, text in own.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ("a cat", "a dog", *QUICK, f"hydra.run.dir={tmp_path}")
    with pytest.raises(InputError, match=r"found metrics.csv and no run.json, wanted a new folder"):
        piva.edit(photo, *words, prior=prior_folder)
    (tmp_path / "metrics.csv").rename(tmp_path / "table.csv")
    piva.edit(photo, *words, prior=prior_folder)  # beside other files a run may lie
    for name in (".notes.tmp", "sub/.work.tmp/thesis.txt", "table.csv"):
        assert (tmp_path / name).read_text() == "mine"
