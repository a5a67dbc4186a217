"""`piva.edit` from Python, on a tiny random model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import piva
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
