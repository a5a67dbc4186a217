import numpy as np
import pytest

from piva.toys.edits import DEVELOPMENT, TEST
from piva.toys.noe import DISTANCE, FOV_DEG, cameras
from piva.toys.world import Toy, bounds, placement, random_toy, renderer


@pytest.mark.parametrize("case", TEST + DEVELOPMENT, ids=lambda case: case.name)
def test_no_view_cuts_a_toy(case):
    toys = [case.source, *(change.target for change in case.changes)]
    centre, scale = placement(toys, DISTANCE, FOV_DEG)
    assert scale <= 2 / bounds(toys)[1]
    points = np.concatenate([s.mesh.vertices for toy in toys for s in renderer(toy, centre, scale).surfaces])[
        ::3
    ]
    for c2w in cameras()[::3]:
        x, y, z = ((points - c2w[:3, 3]) @ c2w[:3, :3]).T
        assert max(abs(x / z).max(), abs(y / z).max()) < np.tan(np.radians(FOV_DEG / 2))


def test_a_caption_says_its_toy():
    rng = np.random.default_rng(0)
    for _ in range(300):
        toy = random_toy(rng)
        read = Toy.from_caption(toy.caption)
        assert read is not None
        assert read.caption == toy.caption
        assert all(getattr(read, name) == getattr(toy, name) for name in vars(toy) if toy.shows(name))


@pytest.mark.parametrize(
    "text", ["", "a cat", "a red", "mug", "a red mug with", "a red mug on Mars", "a red mug with a hat"]
)
def test_other_words_are_no_toys_caption(text):
    assert Toy.from_caption(text) is None
