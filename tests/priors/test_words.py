"""The toys' prior and what it does not know: it says so, and what to do, instead of making mush."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from piva import compose, run
from piva.config import check
from piva.datasets.pie import Pie
from piva.errors import InputError
from piva.experiment.run import _check_toys
from piva.priors.prior import load
from piva.priors.stable_diffusion import StableDiffusion
from piva.priors.words import unknown_words
from piva.toys.edits import SPLITS
from piva.toys.pie_entries import entries

TOYS = StableDiffusion(path="toys", dtype="float32")
KNOWN = {"a", "red", "mug", "with", "blue", "hat"}


def in_pieces(word: str) -> list[str]:
    return [word] if word in KNOWN else list(word)


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a red mug, with a blue hat.", []),
        ("a mug's hat, the cat\u2019s", ["the", "cat"]),
        ("a (shiny) mug - shiny!", ["shiny"]),
        ("", []),
    ],
)
def test_commas_and_apostrophes_are_no_words(prompt: str, unknown: list[str]) -> None:
    assert unknown_words(prompt, in_pieces) == unknown


def test_the_warning_names_words_alone(prior_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    prior = load(str(prior_folder), "cpu", "float32")  # knows letters
    with caplog.at_level(logging.WARNING):
        prior.text("a cat's x, y")
    assert caplog.messages == ["prompt \"a cat's x, y\": this prior has never seen 'cat'"]


def test_no_prompt_of_the_toys_is_refused() -> None:
    for split, cases in SPLITS.items():
        TOYS.check_prompts(case.source.caption for case in cases)
        TOYS.check_prompts(change.target.caption for case in cases for change in case.changes)
        pairs = [entry.pair for entry in entries(split)]
        TOYS.check_prompts(toy.caption for pair in pairs for toy in (pair.source, pair.target))


def test_no_picture_of_the_toys_is_refused() -> None:
    edits = list(Pie(root="toys", types=list(range(10)), edits="all").read())
    _check_toys(edits[::10], TOYS.load("cpu"))


@pytest.mark.parametrize("prompt", ["a cat", "a red mug in a kitchen", "the mug"])
def test_another_prompt_is_refused_with_what_to_do(prompt: str) -> None:
    wanted = r"never seen.*profile=gpu.*GB.*piva fetch.*minute.*prior\.force=true"
    with pytest.raises(InputError, match=wanted):
        TOYS.check_prompts([prompt])
    StableDiffusion(path="toys", dtype="float32", force=True).check_prompts([prompt])
    StableDiffusion(path="owner/sd", dtype="float32").check_prompts([prompt])


def words(photo: Path, source: str, *more: str) -> list[str]:
    prompts = f"dataset.source={source}", "dataset.target=a blue mug"
    return [
        "task=image",
        "dataset=single",
        f"dataset.path={photo}",
        *prompts,
        "steps=1",
        "score=dds",
        "metrics=pixels",
        *more,
    ]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A picture in which nothing is a toy."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    return path


def test_a_run_with_such_a_prompt_is_refused_before_anything_is_made(noise: Path) -> None:
    with pytest.raises(InputError, match="'cat', which prior=toys has never seen"):
        check(compose(*words(noise, "a cat")))


def test_a_run_of_such_a_picture_leaves_nothing_unless_it_is_forced(noise: Path, tmp_path: Path) -> None:
    place = f"hydra.run.dir={tmp_path / 'out'}"
    with pytest.raises(InputError, match=r"noise\.png: found a picture that prior=toys gives back at 1\d"):
        run(compose(*words(noise, "a red mug", place)))
    assert not (tmp_path / "out").exists()
    assert run(compose(*words(noise, "a red mug", place, "prior.force=true"))).rows
