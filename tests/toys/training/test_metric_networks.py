"""The training command, a few steps: a run can measure with the result, and it goes on where it stopped."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from piva.metrics import reader
from piva.metrics.toys import Toys
from piva.toys.training.metric_networks import augment, recoloured
from piva.toys.training.trial import fresh

SMALL = [
    "images=24",
    "held_out=8",
    "fresh=2",
    "workers=1",
    "work=work",
    "out=work/metric_networks",
    "clip.batch=8",
    "reader.batch=8",
]


def train(steps: int) -> str:
    short = [
        f"{name}.recipe.{key}={value}"
        for name in ("clip", "reader")
        for key, value in (("steps", steps), ("check_every", 1))
    ]
    command = [sys.executable, "-m", "piva.toys.training.metric_networks", *SMALL, *short]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stderr


@pytest.mark.slow
def test_trained_networks_load_and_training_goes_on() -> None:
    few = fresh(24, 64, seed=2)  # for a chunk of the corpus, which takes long to render
    chunk = Path("work/toys-64px-seed0/000000.npz")
    chunk.parent.mkdir(parents=True)
    pictures = (few.pictures * 255).byte().permute(0, 2, 3, 1).numpy()
    toys = [json.dumps(asdict(toy)) for toy in few.toys]
    captions = [toy.caption for toy in few.toys]
    np.savez(chunk, images=pictures, depth=np.ones((24, 64, 64), np.float16), captions=captions, toys=toys)
    train(2)
    settings = Toys(path="work/metric_networks")
    settings.check()
    before = settings.load("cpu")
    assert before is not None
    assert (Path("work/metric_networks/README.md")).is_file()
    assert reader.load(Path("work/metric_networks")).read(few.pictures[:1])
    assert "2/3" in train(3)  # the bars start at the second step
    after = settings.load("cpu")
    assert after is not None
    assert before.names != after.names
    assert not torch.equal(before.clip.images(few.pictures), after.clip.images(few.pictures))


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
