"""A chunk of the toys' training set with few pictures: a whole one takes long to render."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from piva.toys.training.attributes import fresh


def write_corpus(work: Path, count: int) -> Tensor:
    """Write `count` toys as the first chunk of both corpora of seed 0; return pictures (n, 3, 64, 64)."""
    trial = fresh(count, 64, seed=2)
    images = (trial.pictures * 255).byte().permute(0, 2, 3, 1).numpy()
    toys = [json.dumps(asdict(toy)) for toy in trial.toys]
    captions = [toy.caption for toy in trial.toys]
    depth = np.ones((count, 64, 64), np.float16)
    for folder in ("toys-64px-seed0", "toys-64px-seed0-all"):
        (work / folder).mkdir(parents=True)
        np.savez(work / folder / "000000.npz", images=images, depth=depth, captions=captions, toys=toys)
    return trial.pictures
