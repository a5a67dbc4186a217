"""The NeRF task on a ball in closed form, written to disk as a NeRF-synthetic scene."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from helpers.ball import FIELD, RADIUS, write_ball
from helpers.operations import Operations
from helpers.tiny_prior import write_taesd
from PIL import Image
from torch import Tensor

import piva
from piva.cameras.lens import pinhole
from piva.cameras.poses import ring
from piva.cameras.trajectories import turntable
from piva.config import build, compose
from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.nerf.carve import see_through
from piva.nerf.field import FLOOR, to_density
from piva.nerf.render import render_image
from piva.nerf.scenes import restored
from piva.priors.prior import Prior, load
from piva.runs.checkpoint import Checkpoints
from piva.runs.checkpoint import load as load_checkpoint
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.base import Randomness
from piva.tasks.nerf import NerfTask
from piva.tasks.nerf_state import NerfState

HASH = [
    "grid_levels=4",
    "log2_rows=12",
    "base=8",
    "growth=1.5",
    "hidden=16",
    "steps=60",
    "rays=256",
    "step=0.05",
    "occupancy=16",
]


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ball(tmp_path_factory.mktemp("scenes") / "ball")


@pytest.fixture
def task() -> NerfTask:
    small = [f"field.{words}" for words in FIELD]
    cfg = compose(
        "task=nerf",
        "task.turntable=3",
        "task.turntable_size=16",
        "task.refresh_every=2",
        "task.views=1",
        *small,
    )
    made: NerfTask = build(NerfTask, cfg.task, "task")
    return made


@pytest.fixture
def randomness() -> Randomness:
    return Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))


def opened(task: NerfTask, scene: Path, prior: Prior, randomness: Randomness, **more: Path) -> NerfState:
    edit = Edit(id="ball", source_prompt="a", target_prompt="b", scene=scene, **more)
    task.check(edit)
    return task.open(edit, prior, 32, 8, randomness)


def test_both_latents_come_from_the_same_camera(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    latents = opened(task, ball, prior, randomness).view(randomness, original=True).latents
    assert latents[EDIT].shape == (1, 4, 8, 8)
    torch.testing.assert_close(
        latents[EDIT].detach(), latents[ORIGINAL], atol=0.02, rtol=0.02
    )  # an opened occupancy costs a little
    assert not latents[ORIGINAL].requires_grad


def test_renders_are_encoded_by_the_tiny_autoencoder_where_there_is_one(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, tmp_path: Path
) -> None:
    plain = opened(task, ball, prior, randomness).view(randomness, original=True).latents
    tiny = AutoencoderTiny.from_pretrained(write_taesd(tmp_path / "taesd"))
    again = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    state = opened(task, ball, replace(prior, taesd=tiny), again)
    latents = state.view(again, original=True).latents
    for kind in (EDIT, ORIGINAL):
        assert not torch.allclose(latents[kind], plain[kind], atol=0.05)
    latents[EDIT].sum().backward()
    state.step()
    after = state.view(again, original=False).latents[EDIT]
    assert not torch.equal(after, latents[EDIT])


def test_the_depth_of_a_view_is_that_of_both_fields_when_asked(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(task, ball, prior, randomness)
    assert not state.view(randomness, original=True).depth
    alone = state.view(randomness, original=False, depth=True)
    assert set(alone.depth) == {EDIT}
    depth = state.view(randomness, original=True, depth=True).depth
    assert depth[EDIT].shape == depth[ORIGINAL].shape == (1, 32, 32)
    assert not depth[EDIT].requires_grad
    torch.testing.assert_close(depth[EDIT], depth[ORIGINAL], atol=0.05, rtol=0)
    low, high = (away - RADIUS for away in task.distance)
    assert low - 0.1 < depth[EDIT][0, 16, 16] < high + 0.1  # the ball stands in the middle of every view
    assert depth[EDIT][0, 0, 0] == 0


def test_a_view_can_be_coarser_than_the_run(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(task, ball, prior, randomness)
    coarse = state.view(randomness, original=True, depth=True, size=16)
    assert coarse.latents[EDIT].shape == coarse.latents[ORIGINAL].shape == (1, 4, 4, 4)
    again = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    fine = state.view(again, original=False, depth=True)  # the same camera: sizes draw nothing
    small = torch.nn.functional.avg_pool2d(fine.depth[EDIT][None], 2)[0]
    torch.testing.assert_close(coarse.depth[EDIT][0, 6:10, 6:10], small[0, 6:10, 6:10], atol=0.05, rtol=0)


def test_the_gradient_of_several_views_is_their_mean(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    """As `optimise` has it: the direction of each view, divided by their number."""

    def gradients(views: int, batches: int) -> torch.Tensor:
        state = opened(replace(task, views=views), ball, prior, randomness)
        draws = Randomness(torch.Generator().manual_seed(5), torch.Generator().manual_seed(6))
        for _ in range(batches):
            latents = state.view(draws, original=False).latents[EDIT]
            assert len(latents) == views
            latents.backward(torch.ones_like(latents) / (len(latents) * batches))
        return torch.cat([p.grad.flatten() for p in state._edited.field.parameters()])

    torch.testing.assert_close(gradients(3, 1), gradients(1, 3), rtol=1e-4, atol=1e-6)


def test_pastels_are_behind_both_fields_and_drawn_for_a_part_of_the_views(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(replace(task, pastel=0.25), ball, prior, randomness)
    for _ in range(8):
        latents = state.view(randomness, original=True).latents
        torch.testing.assert_close(latents[EDIT].detach(), latents[ORIGINAL], atol=0.02, rtol=0.02)
    drawn = torch.cat([state._draw_backgrounds(1, randomness.host) for _ in range(400)])
    pastel = (drawn < 1).any(dim=1)
    assert 0.18 < pastel.float().mean() < 0.32
    assert 0.55 <= drawn.min() < drawn[pastel].max() < 1


def test_a_step_that_carves_sees_each_view_before_white_and_before_a_pastel(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    """Both are what a render before either is; without pairs, or with a graph, each camera looks once."""
    asked = replace(task, views=4, carve=1)
    state, single, uncarved = (
        opened(each, ball, prior, randomness)
        for each in (asked, replace(asked, views=1), replace(asked, carve=0))
    )
    with torch.no_grad():
        view = state.view(randomness, original=True, depth=True)
        seen = state._seen
        assert view.alike == 2
        assert len(view.latents[EDIT]) == len(view.latents[ORIGINAL]) == len(view.depth[EDIT]) == 4
        assert torch.equal(view.depth[EDIT][::2], view.depth[EDIT][1::2])
        assert view.depth[EDIT].max() > 1
        in_turn = prior.encode_renders(seen.pictures.flatten(0, 1))
        torch.testing.assert_close(view.latents[EDIT], in_turn)
        assert (seen.backgrounds[:, 0] == 1).all()
        assert (seen.backgrounds[:, 1] < 1).any(dim=1).all()
        for camera, backgrounds, pictures in zip(seen.cameras, seen.backgrounds, seen.pictures, strict=True):
            renders = [state._render(state._edited, camera, colour) for colour in backgrounds]
            torch.testing.assert_close(pictures, torch.stack([x.rgb.permute(2, 0, 1) for x in renders]))
        assert single.view(randomness, False).alike == uncarved.view(randomness, False).alike == 1
    assert state.view(randomness, original=False).alike == 1


def test_a_step_moves_the_edit_and_never_the_original(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(task, ball, prior, randomness)
    before = state.compare()
    for _ in range(4):
        latents = state.view(randomness, original=False).latents
        latents[EDIT].backward(torch.ones_like(latents[EDIT]))
        state.step()
    after = state.compare()
    torch.testing.assert_close(after.before, before.before)
    assert (after.after - before.after).abs().max() > 0.01


def test_between_refreshes_a_step_waits_for_the_device_only_for_numbers_of_samples(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(replace(task, views=2, refresh_every=100), ball, prior, randomness)
    waits = []
    for _ in range(2):
        with Operations() as seen:
            view = state.view(randomness, original=True, depth=True)
            view.latents[EDIT].sum().backward()
            state.step()
        waits.append(seen.waits)
    renders = 2 * 2  # views of two scenes, each with the hits, the samples and those that light reaches
    poses = 2  # numpy's, copied in the background
    assert waits[1] == {"nonzero": 3 * renders, "lift_fresh": poses}
    assert waits[0] == waits[1]  # a refresh asks once whether the scene is alive, by `tolist`, not seen here


def test_an_edited_hash_grid_is_restored_as_it_was(ball: Path, prior: Prior, randomness: Randomness) -> None:
    small = [f"field.{words}" for words in ("radius=1", "threshold=0.5", *HASH)]
    task = build(
        NerfTask,
        compose("task=nerf", "field=hash", "task.turntable=1", "task.turntable_size=16", *small).task,
        "task",
    )
    state = opened(task, ball, prior, randomness)
    for _ in range(3):
        latents = state.view(randomness, original=False).latents[EDIT]
        latents.backward(torch.ones_like(latents))
        state.step()
    compared = state.compare()
    assert (compared.after - compared.before).abs().max() > 0.01
    field, occupancy, _ = restored(state.state_dict(), task.field, torch.device("cpu"))
    wanted, got = (
        render_image(
            *f, torch.from_numpy(ring(1, 15, 3.0)[0]), pinhole(40, 16), torch.ones(3), task.field.step
        ).rgb.detach()
        for f in (state._tight()[:2], (field, occupancy))
    )
    assert torch.equal(got, wanted)


def test_density_and_colour_have_their_own_rates(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(task, ball, prior, randomness)
    start = {name: value.clone() for name, value in state.checkpoint()["field"].items()}
    latents = state.view(randomness, original=False).latents
    latents[EDIT].backward(torch.ones_like(latents[EDIT]))
    state.step()
    field = state.checkpoint()["field"]
    moved = {name: (value - start[name]).abs().max().item() for name, value in field.items()}
    assert moved == pytest.approx(
        {"raw_density": task.field.edit.lr_density, "raw_colour": task.field.edit.lr_colour}, rel=1e-3
    )  # Adam's first step


def test_an_edit_leaves_no_haze(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    """What is saved and measured has nothing thinner than a fit leaves, and the rest as it was."""
    state = opened(task, ball, prior, randomness)
    haze = FLOOR + 0.1
    assert 0 < to_density(torch.tensor(haze), task.field.radius) < task.field.threshold
    with torch.no_grad():
        state._edited.field.raw_density.clamp_(min=haze)
    field = state.checkpoint()["field"]["raw_density"]
    saved = state.state_dict()["raw_density"]
    assert (field == haze).any()
    assert (saved[field == haze] == FLOOR).all()
    assert torch.equal(saved[field > haze], field[field > haze])
    assert torch.equal(state.compare().before, state.compare().after)


def test_an_edit_has_room_to_grow(task: NerfTask, ball: Path, prior: Prior, randomness: Randomness) -> None:
    state = opened(task, ball, prior, randomness)
    tight = state.state_dict()["occupied"].sum()
    state.view(randomness, original=False)
    assert state._edited.occupancy.occupied.sum() > 1.2 * tight
    assert state.state_dict()["occupied"].sum() == tight  # what is kept has no such room


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "not finite"), (-4.0, "empty")])
def test_a_field_that_is_lost_stops_the_edit(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, value: float, what: str
) -> None:
    state = opened(task, ball, prior, randomness)
    for _ in range(2):  # the grid is refreshed, and looked at, every second step
        latents = state.view(randomness, original=False).latents
        latents[EDIT].backward(torch.ones_like(latents[EDIT]))
        state.step()
    state._edited.field.raw_density.data.fill_(value)
    with pytest.raises(FloatingPointError, match=f"edit ball, step 2: the field.* {what}"):
        state.view(randomness, original=False)


def test_looking_at_an_edit_does_not_change_it(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    state = opened(task, ball, prior, randomness)
    state.view(randomness, original=False)
    before = state._edited.occupancy.occupied.clone()
    state.compare()
    assert torch.equal(state._edited.occupancy.occupied, before)


def test_a_scene_is_fitted_once(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(task, ball, prior, randomness).compare()

    def never(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr("piva.nerf.fit.fit", never)
    second = opened(task, ball, prior, randomness).compare()
    torch.testing.assert_close(first.before, second.before)


def test_the_truth_is_compared_at_the_scenes_test_cameras(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, tmp_path: Path
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for i in range(2):
            Image.open(ball / f"test/r_{i}.png").convert("RGBA" if part == "images" else "L").save(
                tmp_path / part / f"r_{i}.png"
            )
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


def test_the_field_follows_its_views(task: NerfTask, ball: Path, randomness: Randomness) -> None:
    """More than half of what is painted into the views is there after, from the same cameras."""
    toys = load(str(Path(piva.__file__).parent / "toys" / "prior"), "cpu", "float32")
    state = opened(replace(task, views=3, follow_steps=60), ball, toys, randomness)
    cameras = randomness.host.get_state()

    def look() -> Tensor:
        randomness.host.set_state(cameras)
        with torch.no_grad():
            return state.view(randomness, original=False).latents[EDIT]

    before = look()
    moved = toys.encode(toys.decode(before) * torch.tensor([1.0, 0.2, 1.0])[:, None, None])
    state.follow(moved, randomness)
    assert (look() - moved).square().sum() < 0.5 * (before - moved).square().sum()


def test_a_field_whose_views_stay_stays_bit_for_bit(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness
) -> None:
    asked = replace(task, views=2, follow_steps=3, harden=1, carve=1)
    state = opened(asked, ball, prior, randomness)
    before = {name: value.clone() for name, value in state.checkpoint()["field"].items()}
    for _ in range(8):  # all of the edit: nothing is hardened in its first half
        with torch.no_grad():
            latents = state.view(randomness, original=False).latents[EDIT]
        state.follow(latents.clone(), randomness)
    assert all(torch.equal(state.checkpoint()["field"][name], value) for name, value in before.items())


def test_what_changes_is_hardened_late(task: NerfTask, ball: Path, randomness: Randomness) -> None:
    """Of a fog that is asked for everywhere less is left half covering; the first half is the same."""
    toys = load(str(Path(piva.__file__).parent / "toys" / "prior"), "cpu", "float32")
    steps, half = 8, {}
    around = [(torch.from_numpy(c2w), lens) for c2w, lens in turntable(3, 24, 20, 45, 4)]
    for harden in (0.0, 10.0):
        drawn = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
        state = opened(replace(task, views=2, harden=harden), ball, toys, drawn)
        for step in range(steps):
            with torch.no_grad():
                latents = state.view(drawn, original=False).latents[EDIT]
            state.follow(toys.encode(0.7 * toys.decode(latents) + 0.1), drawn)
            scene = task.field.scene(state.state_dict())
            seen = [scene.view(task.field, *view, torch.ones(3)).opacity for view in around]
            half[harden, step] = torch.stack([o * (1 - o) for o in seen]).mean().item()
    assert half[10.0, steps // 2] == half[0.0, steps // 2]
    assert half[10.0, steps - 1] < 0.8 * half[0.0, steps - 1]


@pytest.mark.parametrize("paint", [False, True])
def test_what_is_to_go_is_carved_and_what_is_painted_is_not(task: NerfTask, ball: Path, paint: bool) -> None:
    """Of a ball that is asked to become what is behind it less is left; of one that is asked to become white
    before either background, as much.
    """
    toys = load(str(Path(piva.__file__).parent / "toys" / "prior"), "cpu", "float32")
    view = (torch.from_numpy(turntable(3, 24, 20, 45, 4)[1][0]), pinhole(45, 24))
    left = {}
    for carve in (1e-9, 1.0):
        drawn = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
        state = opened(replace(task, views=2, carve=carve), ball, toys, drawn)
        for _ in range(3):
            with torch.no_grad():
                latents = state.view(drawn, original=False).latents[EDIT]
            shown, behind = toys.decode(latents), state._seen.backgrounds[0, :, :, None, None]
            ball_there = 1 - see_through(shown, state._seen.backgrounds[0])
            become = torch.ones_like(behind) if paint else behind
            state.follow(toys.encode(shown + 0.6 * ball_there.clamp(0, 1) * (become - shown)), drawn)
        scene = task.field.scene(state.state_dict())
        left[carve] = scene.view(task.field, *view, torch.ones(3)).opacity.mean().item()
    assert left[1.0] > 0.98 * left[1e-9] if paint else left[1.0] < 0.8 * left[1e-9]


@pytest.mark.parametrize("follows", [False, True])
def test_a_restored_edit_goes_on_as_if_nothing_had_happened(
    task: NerfTask, ball: Path, prior: Prior, randomness: Randomness, tmp_path: Path, follows: bool
) -> None:
    """Through the file, with the occupancy refreshed at every second step and a checkpoint in between."""

    def steps(state: NerfState, count: int) -> None:
        for _ in range(count):
            with torch.set_grad_enabled(not follows):
                latents = state.view(randomness, original=False).latents[EDIT]
            if follows:
                state.follow(0.9 * latents, randomness)
            else:
                latents.backward(latents.detach())
                state.step()

    unbroken = opened(task, ball, prior, randomness)
    steps(unbroken, 3)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, unbroken.checkpoint())
    newest, drawn = checkpoints.newest(), randomness.host.get_state()
    assert newest is not None
    steps(unbroken, 4)
    resumed = opened(task, ball, prior, randomness)
    resumed.restore(load_checkpoint(newest[1]))
    randomness.host.set_state(drawn)
    steps(resumed, 4)
    expected, found = unbroken.checkpoint(), resumed.checkpoint()
    assert found["step"] == expected["step"] == 7
    for part in ("field", "occupancy"):
        assert all(torch.equal(found[part][name], value) for name, value in expected[part].items())
    assert found["decay"] == expected["decay"]
