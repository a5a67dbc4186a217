import numpy as np
import pytest
from trimesh.util import concatenate

from piva.toys.edits import DEVELOPMENT, TEST
from piva.toys.in2n import cameras
from piva.toys.room import DEPTH, HEIGHT, SHADERS, WIDTH, Room, room_renderer

ROOM = Room("planks", ("stripes", "bricks", "plaster", "panels"))
CASES = [case for case in TEST + DEVELOPMENT if case.name in ("chair", "robot")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_toy_stands_on_the_floor_clear_of_the_cameras(case):
    toys = [case.source, *(change.target for change in case.changes)]
    for shown, toy in enumerate(toys):
        surfaces = room_renderer(toys, shown, ROOM).surfaces
        low, high = concatenate([s.mesh for s in surfaces[: len(toy.parts)]]).bounds
        assert low[2] == pytest.approx(0, abs=1e-6)
        assert np.linalg.norm([low, high], axis=1).max() < 2.5
    positions = cameras(case.name)[:, :3, 3]
    assert (np.abs(positions[:, :2]) < (WIDTH / 2 - 0.4, DEPTH / 2 - 0.4)).all()
    assert (positions[:, 2] > 0.3).all()
    assert (positions[:, 2] < HEIGHT - 0.4).all()


def test_no_ray_leaves_the_room():
    case = CASES[0]
    caster = room_renderer([case.source], 0, ROOM)
    for c2w in cameras("chair")[::9]:
        assert (caster.render(c2w, 32, 32, 20.0).rgba[..., 3] == 1).all()


@pytest.mark.parametrize("name", SHADERS)
def test_paints_are_colours_and_have_texture(name):
    points = np.random.default_rng(0).uniform((-4, -4, 0), (4, 4, 4), (500, 3)).astype(np.float32)
    colours = SHADERS[name](points)
    assert (colours.shape, colours.dtype) == ((500, 3), np.float32)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert colours.std(axis=0).max() > 0.01
