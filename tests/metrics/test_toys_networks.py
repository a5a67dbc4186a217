"""The shipped networks on pictures they never saw: what they say is right, and fit to measure with."""

import dataclasses
import math
from importlib import resources
from pathlib import Path

import pytest
import torch

from piva.metrics import reader, toys_clip
from piva.metrics.reader import Reader
from piva.metrics.toys_clip import ToysClip
from piva.toys.training.attributes import (
    UNSEEN,
    WORDS,
    Trial,
    altered,
    fresh,
    labels,
    try_clip,
    try_reader,
    without_colour,
)
from piva.toys.training.metric_networks import contrastive
from piva.toys.world import Toy

FOLDER = Path(str(resources.files("piva.toys") / "metric_networks"))


@pytest.fixture(scope="module")
def network() -> ToysClip:
    return toys_clip.load(FOLDER)


@pytest.fixture(scope="module")
def attributes() -> Reader:
    return reader.load(FOLDER)


@pytest.fixture(scope="module")
def trial() -> Trial:
    return fresh(60, 64, seed=1)


def test_the_right_caption_fits_best(network: ToysClip, trial: Trial) -> None:
    figures = try_clip(network, trial)
    assert figures["top1"] > 0.75
    assert all(figures[f"pair_{name}"] > 0.75 for name in WORDS)


def test_the_reader_agrees_with_what_a_picture_shows_and_with_nothing_else(
    attributes: Reader, trial: Trial
) -> None:
    generator = torch.Generator().manual_seed(0)
    right = wrong = 0.0
    for picture, toy in zip(trial.pictures, trial.toys, strict=True):
        right += attributes.agrees(picture[None], toy.caption)
        wrong += attributes.agrees(picture[None], altered(toy, generator).caption)
    assert right > 0.4 * len(trial.toys)
    assert wrong < 0.1 * len(trial.toys)
    assert math.isnan(attributes.agrees(trial.pictures[:1], "a photo of a cat"))


def test_the_reader_reads(attributes: Reader, trial: Trial) -> None:
    figures = try_reader(attributes, trial)
    assert min(figures["colour"], figures["ground"]) > 0.85
    assert all(figures[name] > 0.55 for name in WORDS)  # chance is at most one in four
    read = attributes.read(trial.pictures)
    assert sum(a.kind == b.kind for a, b in zip(read, trial.toys, strict=True)) == round(
        figures["kind"] * len(read)
    )


def test_blurred_pictures_are_judged_nearly_as_well(network: ToysClip, trial: Trial) -> None:
    half = torch.nn.functional.interpolate(trial.pictures, scale_factor=0.5, mode="bilinear", antialias=True)
    assert try_clip(network, dataclasses.replace(trial, pictures=half))["top1"] > 0.65


def test_equal_pictures_have_no_distance_and_order_does_not_matter(network: ToysClip, trial: Trial) -> None:
    a, b = trial.pictures[:4], trial.pictures[4:8]
    assert network.distance(a, a).tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(network.distance(a, b), network.distance(b, a))
    assert (network.distance(a, b) > 0.05).all()


def test_a_bigger_change_is_farther(network: ToysClip, trial: Trial) -> None:
    a, b = trial.pictures[:8], trial.pictures[8:16]
    little, more = network.distance(a, a.lerp(b, 0.1)), network.distance(a, a.lerp(b, 0.5))
    assert (little < more).all()


def test_a_picture_is_judged_the_same_alone_and_in_a_batch(network: ToysClip, trial: Trial) -> None:
    a = torch.nn.functional.interpolate(trial.pictures[:5], size=(96, 96), mode="bilinear")
    torch.testing.assert_close(network.images(a)[2:3], network.images(a[2:3]), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        network.distance(a, a.flip(0))[1:2], network.distance(a[1:2], a[3:4]), atol=1e-5, rtol=0
    )
    texts = [toy.caption for toy in trial.toys[:5]]
    torch.testing.assert_close(network.texts(texts)[2:3], network.texts(texts[2:3]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("prompt", ["", "a photo of a doghouse", "ein Kätzchen 🐱", "a red mug " * 20])
def test_any_prompt_has_a_unit_embedding(network: ToysClip, prompt: str) -> None:
    assert network.texts([prompt]).norm().item() == pytest.approx(1, abs=1e-5)


def test_all_weights_of_the_package_together_are_small() -> None:
    folders = FOLDER, FOLDER.with_name("prior")
    assert sum(path.stat().st_size for each in folders for path in each.rglob("*") if path.is_file()) < 30e6


def test_equal_captions_are_not_each_others_negatives() -> None:
    logits = torch.tensor(
        [[2.0, 9.0, 1.0], [9.0, 2.0, 1.0]]
    )  # pictures 0 and 1 show the same; caption 2 is another
    expected = (
        -torch.tensor([2.0, 1.0]).log_softmax(0)[0] / 2
    )  # picture -> caption; caption -> picture has no negatives left
    torch.testing.assert_close(contrastive(logits, ["a", "a", "b"]), expected)


def test_a_label_is_the_words_place_or_unseen() -> None:
    toys = [Toy("mug", "blue", "striped", "hat", "red", "grass"), Toy("vase", "red", "golden")]
    assert labels(toys, WORDS).tolist() == [[2, 4, 1, 1, 0, 1], [3, UNSEEN, 5, 0, UNSEEN, 0]]


def test_exchanged_colours_leave_shapes_and_patterns() -> None:
    toys = [Toy("mug", "blue", "striped", "hat", "red", "grass"), Toy("vase", "red", "golden")]
    assert without_colour(labels(toys, WORDS)).tolist() == [
        [2, UNSEEN, 1, 1, UNSEEN, UNSEEN],
        [3, UNSEEN, UNSEEN, 0, UNSEEN, UNSEEN],
    ]


def test_an_altered_toy_differs_in_one_attribute_that_its_caption_says(generator: torch.Generator) -> None:
    for toy in (
        Toy("mug", "blue"),
        Toy("vase", "red", "golden"),
        Toy("car", "pink", "striped", "hat", "red", "sand"),
    ):
        for name in [None, *(name for name in WORDS if toy.shows(name))]:
            other = altered(toy, generator, name)
            assert other.caption != toy.caption
            changed = {key for key in WORDS if getattr(other, key) != getattr(toy, key)}
            assert len(changed) == 1 or changed == {"accessory", "accessory_colour"}
