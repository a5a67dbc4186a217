"""The NeRF task on a room in closed form, in nerfstudio's format, through a distorted lens."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from piva.cameras.poses import orbit
from piva.config import build, compose
from piva.datasets.edit import Capture, Edit
from piva.metrics.pixels import psnr
from piva.priors.prior import Prior
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.base import Randomness
from piva.tasks.nerf import NerfTask
from piva.tasks.nerf_state import NerfState

WALLS = np.array([3.0, 2.6, 2.0])  # half the sides of the room, which is centred at AWAY and stands upright
AWAY, SCALE = np.array([5.0, -7.0, 2.0]), 1.7  # cameras are up to SCALE from its middle
W, H = 40, 30
LENS = {
    "w": W,
    "h": H,
    "fl_x": 26.0,
    "fl_y": 26.5,
    "cx": 20.8,
    "cy": 14.6,
    "k1": -0.2,
    "k2": 0.04,
    "p1": 0.003,
}
FIELD = [
    "radius=2",
    "resolutions=[16,32]",
    "steps=[60,100]",
    "rays=512",
    "step=0.08",
    "occupancy=16",
    "threshold=1",
]
HOW = Capture(downscale=1, orientation=None, centre="poses", scale=True, near=0.05)


def photo(c2w: np.ndarray) -> np.ndarray:
    """What a camera in the room sees: each ray goes on to a wall, whose colour varies slowly."""
    u, v = np.meshgrid(
        (np.arange(W) + 0.5 - LENS["cx"]) / LENS["fl_x"], (np.arange(H) + 0.5 - LENS["cy"]) / LENS["fl_y"]
    )
    x, y = u, v
    for _ in range(60):
        r2 = x**2 + y**2
        radial = 1 + LENS["k1"] * r2 + LENS["k2"] * r2**2
        x, y = (u - 2 * LENS["p1"] * x * y) / radial, (v - LENS["p1"] * (r2 + 2 * y**2)) / radial
    way = np.stack([x, -y, -np.ones_like(x)], axis=-1) @ c2w[:3, :3].T
    start = c2w[:3, 3] - AWAY
    far = np.min((np.sign(way) * WALLS - start) / way, axis=-1)
    met = (start + far[..., None] * way) @ np.array([[1.0, 0.3, 0], [0, 1.0, 0.4], [0.5, 0, 1.0]])
    return np.asarray(np.rint(255 * (0.5 + 0.45 * np.sin(1.9 * met + (0, 1, 2)))).astype(np.uint8))


def write_room(folder: Path, **lens: float) -> Path:
    (folder / "images").mkdir(parents=True)
    frames = []
    for i in range(34):
        c2w = orbit(83 * i, -20 + 41 * i % 60, SCALE).astype(np.float64)
        c2w[:3, 3] += AWAY
        Image.fromarray(photo(c2w)).save(folder / f"images/{i:02d}.png")
        frames.append({"file_path": f"images/{i:02d}.png", "transform_matrix": c2w.tolist()})
    (folder / "transforms.json").write_text(json.dumps({**LENS, **lens, "frames": frames}))
    return folder


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_room(tmp_path_factory.mktemp("scenes") / "room")


@pytest.fixture
def randomness() -> Randomness:
    return Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))


def opened(scene: Path, prior: Prior, randomness: Randomness) -> NerfState:
    small = [f"field.{words}" for words in FIELD]
    cfg = compose("task=nerf", "field=room", "task.turntable=3", "task.turntable_size=20", *small)
    task: NerfTask = build(NerfTask, cfg.task, "task")
    edit = Edit(id=scene.name, source_prompt="a", target_prompt="b", scene=scene, capture=HOW)
    task.check(edit)
    return task.open(edit, prior, 32, 8, randomness)


def quality(state: NerfState) -> float:
    """PSNR of the fit at the test frames."""
    views = state._views
    shown = state._render_all(state._original, [(views.c2w[i], views.lenses[i]) for i in views.test])
    photos = torch.from_numpy(views.images[views.test, ..., :3]).permute(0, 3, 1, 2) / 255
    return float(psnr(shown, photos).mean())


def test_a_room_is_fitted_from_within_and_its_lens_matters(
    room: Path, prior: Prior, randomness: Randomness, tmp_path: Path
) -> None:
    distorted = quality(opened(room, prior, randomness))
    pinhole = quality(opened(write_room(tmp_path / "pinhole", k1=0.0, k2=0.0, p1=0.0), prior, randomness))
    assert distorted > 24
    assert distorted > pinhole + 2


def test_a_room_is_edited_through_its_own_frames(room: Path, prior: Prior, randomness: Randomness) -> None:
    state = opened(room, prior, randomness)
    before = state.compare()
    assert before.before.shape == (3, 3, 16, 20)
    latents = state.view(randomness, original=True).latents
    height, width = latents[EDIT].shape[-2:]
    assert 4 * 4 * height * width == pytest.approx(
        32 * 32, rel=0.1
    )  # the tiny prior's latents are 4 times smaller
    assert width > height
    torch.testing.assert_close(latents[EDIT].detach(), latents[ORIGINAL], atol=0.05, rtol=0.05)
    latents[EDIT].backward(torch.ones_like(latents[EDIT]))
    state.step()
    after = state.compare()
    torch.testing.assert_close(after.before, before.before)
    assert (after.after - before.after).abs().max() > 0.01


def test_the_saved_field_says_where_the_files_world_lies_in_it(
    room: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(room, prior, randomness)
    world = state.state_dict()["world"].numpy()
    frames = json.loads((room / "transforms.json").read_text())["frames"]
    position = np.array(frames[7]["transform_matrix"])[:, 3]
    np.testing.assert_allclose((world @ position)[:3], state._views.c2w[7, :3, 3], atol=1e-5)
    assert np.abs(state._views.c2w[:, :3, 3]).max() == pytest.approx(1)
