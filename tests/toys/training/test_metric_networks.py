"""The training command, a few steps: a run can measure with the result, and it goes on where it stopped."""

from pathlib import Path

import pytest
import torch
from helpers.toys_corpus import write_corpus

from piva.config import compose
from piva.metrics import reader
from piva.metrics.toys import Toys
from piva.toys.training.metric_networks import augment, main, recoloured

SMALL = [
    *("images=24", "held_out=8", "fresh=2", "workers=1", "work=work", "out=work/networks"),
    *("clip.batch=8", "reader.batch=8"),
]


def train(steps: int) -> None:
    recipes = [f"{name}.recipe.{key}" for name in ("clip", "reader") for key in ("steps", "check_every")]
    short = [f"{key}={steps if key.endswith('steps') else 1}" for key in recipes]
    main(compose(*SMALL, *short, name="train_metric_networks"))


@pytest.mark.slow
def test_trained_networks_load_and_training_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    pictures = write_corpus(Path("work"), 24)
    train(2)
    settings = Toys(path="work/networks")
    settings.check()
    before = settings.load("cpu")
    assert before is not None
    assert (Path("work/networks/README.md")).is_file()
    assert reader.load(Path("work/networks")).read(pictures[:1])
    capfd.readouterr()
    train(3)
    assert "2/3" in capfd.readouterr().err  # the bars start at the second step
    after = settings.load("cpu")
    assert after is not None
    assert before.names != after.names
    assert not torch.equal(before.clip.images(pictures), after.clip.images(pictures))


def test_augmentation_keeps_the_shape_and_follows_the_generator() -> None:
    pictures = torch.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32).remainder(256).byte()
    solid = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    a, b, c = (augment(pictures, solid, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert a.shape == pictures.shape
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_recoloured_pictures_have_exchanged_channels() -> None:
    pictures = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    same, none = recoloured(pictures, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, pictures)
    assert not none.any()
    other, every = recoloured(pictures, 1.0, torch.Generator().manual_seed(0))
    assert every.all()
    assert not torch.equal(other, pictures)
    torch.testing.assert_close(other.sort(dim=1).values, pictures.sort(dim=1).values)
