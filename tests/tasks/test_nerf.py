"""The NeRF task on a ball in closed form, written to disk as a NeRF-synthetic scene."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ball import ball_views
from PIL import Image

from piva.config import build, compose
from piva.errors import InputError
from piva.nerf.cameras import hemisphere, ring
from piva.priors.prior import Prior
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.nerf import NerfState, NerfTask
from piva.types import Edit, Randomness

FIELD = ["radius=1", "resolutions=[12,24]", "steps=[25,60]", "rays=512", "step=0.04", "occupancy=24", "threshold=0.5"]


def write_ball(folder: Path) -> Path:
    for split, cameras in (("train", hemisphere(24, 3.0)), ("test", ring(2, 15, 3.0))):
        (folder / split).mkdir(parents=True)
        frames = []
        for i, (image, c2w) in enumerate(zip(ball_views(24, cameras), cameras, strict=True)):
            Image.fromarray((image.numpy() * 255).round().astype(np.uint8)).save(folder / split / f"r_{i}.png")
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": c2w.tolist()})
        transforms = {"camera_angle_x": float(np.radians(40)), "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(transforms))
    return folder


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ball(tmp_path_factory.mktemp("scenes") / "ball")


@pytest.fixture
def task() -> NerfTask:
    small = [f"field.{words}" for words in FIELD]
    cfg = compose("task=nerf", "task.turntable=3", "task.turntable_size=16", "task.refresh_every=2", *small)
    made: NerfTask = build(NerfTask, cfg.task, "task")
    return made


@pytest.fixture
def randomness() -> Randomness:
    return Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))


def opened(task: NerfTask, scene: Path, prior: Prior, randomness: Randomness, **more: Path) -> NerfState:
    edit = Edit(id="ball", source_prompt="a", target_prompt="b", scene=scene, **more)
    task.check(edit)
    return task.open(edit, prior, 32, 8, randomness)


def test_both_latents_come_from_the_same_camera(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    latents = opened(task, ball, prior, randomness).view(randomness, original=True)
    assert latents[EDIT].shape == (1, 4, 8, 8)
    torch.testing.assert_close(
        latents[EDIT].detach(), latents[ORIGINAL], atol=0.02, rtol=0.02
    )  # an opened occupancy costs a little
    assert not latents[ORIGINAL].requires_grad


def test_a_step_moves_the_edit_and_never_the_original(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    state = opened(task, ball, prior, randomness)
    before = state.compare()
    for _ in range(4):
        latents = state.view(randomness, original=False)
        latents[EDIT].backward(torch.ones_like(latents[EDIT]))
        state.step()
    after = state.compare()
    torch.testing.assert_close(after.before, before.before)
    assert (after.after - before.after).abs().max() > 0.01


def test_density_and_colour_have_their_own_rates(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    state = opened(task, ball, prior, randomness)
    start = {name: value.clone() for name, value in state.state_dict().items()}
    latents = state.view(randomness, original=False)
    latents[EDIT].backward(torch.ones_like(latents[EDIT]))
    state.step()
    moved = {name: (value - start[name]).abs().max().item() for name, value in state.state_dict().items() if "raw" in name}
    assert moved == pytest.approx(
        {"raw_density": task.field.edit.lr_density, "raw_colour": task.field.edit.lr_colour}, rel=1e-3
    )  # Adam's first step


def test_an_edit_has_room_to_grow(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    state = opened(task, ball, prior, randomness)
    tight = state.state_dict()["occupied"].sum()
    state.view(randomness, original=False)
    assert state._occupancy.occupied.sum() > 1.2 * tight
    assert state.state_dict()["occupied"].sum() == tight  # what is kept has no such room


def test_looking_at_an_edit_does_not_change_it(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    state = opened(task, ball, prior, randomness)
    state.view(randomness, original=False)
    before = state._occupancy.occupied.clone()
    state.compare()
    assert torch.equal(state._occupancy.occupied, before)


def test_a_scene_is_fitted_once(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(task, ball, prior, randomness).compare()

    def never(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr("piva.nerf.scenes.fit", never)
    second = opened(task, ball, prior, randomness).compare()
    torch.testing.assert_close(first.before, second.before)


def test_the_truth_is_compared_at_the_scenes_test_cameras(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, tmp_path: Path
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for i in range(2):
            Image.open(ball / f"test/r_{i}.png").convert("RGBA" if part == "images" else "L").save(tmp_path / part / f"r_{i}.png")
    comparison = opened(task, ball, prior, randomness, truth=tmp_path).compare()
    assert comparison.truth is not None
    assert comparison.truth_before is not None
    assert comparison.truth.shape == comparison.truth_before.shape == (2, 3, 24, 24)
    assert (comparison.truth - comparison.truth_before).square().mean() < 0.01  # the truth is the source here


def test_a_photo_is_refused(task: NerfTask) -> None:
    with pytest.raises(InputError, match="use task=image"):
        task.check(Edit(id="x", source_prompt="a", target_prompt="b", image=Path("x.png")))


def test_a_missing_view_is_named(task: NerfTask, tmp_path: Path) -> None:
    scene = write_ball(tmp_path / "ball")
    (scene / "train/r_3.png").unlink()
    with pytest.raises(InputError, match="no image .*r_3, wanted"):
        task.check(Edit(id="x", source_prompt="a", target_prompt="b", scene=scene))
