"""Edits from the page without a browser: what a session does, on tiny random models."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.ball import FIELD, write_ball
from helpers.plys import ball_of_splats, write_ply
from PIL import Image
from safetensors.torch import load_file

import piva
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.export.__main__ import export
from piva.nerf.splats.ply import read_splats
from piva.view.looks import BOTH, EDIT, ORIGINAL, Camera, picture
from piva.view.origin import Origin, Wish, origins
from piva.view.session import THREAD, Desk, Session

CAMERA = Camera(orbit(-70, 20, 3.0), np.radians(45), 2.0)
WISH = Wish(source="a cat", target="a dog", lam=0.4, steps=3)
OTHER = Wish(source="a cat", target="a red dog", lam=0.0, steps=2)
Opened = Callable[..., tuple[Session, list[str]]]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.mgrid[:32, :32]
    pixels = np.stack([x * 5, y * 7, 255 - x], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def words(prior_folder: Path) -> list[str]:
    return [f"prior.path={prior_folder}", "metrics=pixels", "resolution=32"]


def edit_ball(folder: Path, target: str, steps: int, words: list[str]) -> Path:
    """Edit a ball in closed form; return the run's folder."""
    small = [f"field.{each}" for each in FIELD]
    own = ["task.turntable=2", "task.turntable_size=16", "task.refresh_every=2", f"steps={steps}"]
    ball = folder.parent / "ball"
    if not ball.is_dir():
        write_ball(ball)
    piva.edit(ball, "a ball", target, *small, *own, *words, f"hydra.run.dir={folder}")
    return folder


def opened(origin: Origin, tmp_path: Path) -> tuple[Session, list[str]]:
    """A session, and all that it says."""
    said: list[str] = []
    desk = Desk(device="cpu", root=tmp_path / "view", export=export, tell=lambda: said.append(session.said))
    session = Session(origin, desk)
    return session, said


def seen(session: Session) -> bytes:
    return picture(session.look(), BOTH, 0.5, CAMERA, 64).tobytes()


def begun(said: list[str]) -> bool:
    return any(text.startswith("step") for text in said)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("nothing came")


def test_an_edit_of_a_picture_is_the_run_that_the_command_makes(
    photo: Path, words: list[str], tmp_path: Path
) -> None:
    session, said = opened(*origins(photo, words, "cpu"), tmp_path)
    session.edit(WISH)
    session.wait()
    own = [*words, "lambda=0.4", "steps=3", f"hydra.run.dir={tmp_path / 'command'}"]
    edited = piva.edit(photo, WISH.source, WISH.target, *own)
    assert (session.place / "after.png").read_bytes() == (edited.folder / "after.png").read_bytes()
    assert session.prompts == ("a cat", "a dog")
    steps = [text.split(",")[0] for text in said if text.startswith("step")]
    assert steps == [f"step {i} of 3" for i in (1, 2, 3)]
    assert said[-1].startswith("3 steps, ")
    assert " passes; " in said[-1]


def test_undo_gives_back_what_was_seen_bit_for_bit(photo: Path, words: list[str], tmp_path: Path) -> None:
    session, _ = opened(*origins(photo, words, "cpu"), tmp_path)
    views = [seen(session)]
    for wish in (WISH, OTHER):
        session.edit(wish)
        session.wait()
        views.append(seen(session))
    assert len(set(views)) == 3
    for view in views[1::-1]:
        session.undo()
        assert seen(session) == view
    assert session.place == photo
    assert not session.undoable
    session.undo()
    assert session.place == photo


def test_the_original_is_the_picture_itself_however_coarse_the_run(
    photo: Path, words: list[str], tmp_path: Path
) -> None:
    session, _ = opened(*origins(photo, [*words, "resolution=16"], "cpu"), tmp_path)
    first = picture(session.look(), ORIGINAL, 0.5, CAMERA, 64)
    session.edit(WISH)
    session.wait()
    np.testing.assert_array_equal(picture(session.look(), ORIGINAL, 0.5, CAMERA, 64), first)


def test_a_second_edit_begins_with_the_original(photo: Path, words: list[str], tmp_path: Path) -> None:
    after = []
    for name, wishes in (("both", (WISH, OTHER)), ("one", (OTHER,))):
        session, _ = opened(*origins(photo, words, "cpu"), tmp_path / name)
        for wish in wishes:
            session.edit(wish)
            session.wait()
        after.append((session.place / "after.png").read_bytes())
    assert after[0] == after[1]


def test_a_stopped_edit_leaves_nothing_and_another_can_begin(
    photo: Path, words: list[str], tmp_path: Path
) -> None:
    session, said = opened(*origins(photo, words, "cpu"), tmp_path)
    before = seen(session)
    session.edit(Wish(source="a cat", target="a dog", lam=0.4, steps=10_000))
    wait_for(lambda: begun(said))
    assert THREAD in {thread.name for thread in threading.enumerate()}
    assert seen(session) != before  # it is seen at work
    session.edit(OTHER)
    assert any("an edit or export at work" in text for text in said)
    session.undo()  # not while it is at work
    session.stop()
    session.wait()
    assert (said[-1], session.working) == ("stopped", False)
    assert THREAD not in {thread.name for thread in threading.enumerate()}
    assert seen(session) == before
    assert list((tmp_path / "view").iterdir()) == []
    session.edit(OTHER)
    session.wait()
    assert session.prompts == ("a cat", "a red dog")


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        (Wish(source="a cat", target=" ", lam=0.4, steps=2), "the panel: target prompt: found nothing"),
        (Wish(source="", target="a cat", lam=0.4, steps=2), "the panel: source prompt: found nothing"),
        (Wish(source="a red mug", target="a zeppelin", lam=0.4, steps=2), "'zeppelin', which prior=toys"),
        (Wish(source="a red mug", target="a blue mug", lam=-1.0, steps=2), "lambda: found -1.0"),
        (Wish(source="a red mug", target="a blue mug", lam=0.4, steps=0), "steps: found 0"),
    ],
)
def test_a_bad_wish_is_one_line_and_nothing_else(photo: Path, tmp_path: Path, wish: Wish, what: str) -> None:
    session, said = opened(*origins(photo, ["metrics=pixels"], "cpu"), tmp_path)
    session.edit(wish)
    assert what in said[-1]
    assert "\n" not in said[-1]
    assert not session.working
    assert not (tmp_path / "view").exists()
    session.edit(wish)
    assert what in said[-1]  # the turn was given back


def test_what_fails_at_work_is_said(photo: Path, words: list[str], tmp_path: Path) -> None:
    session, said = opened(*origins(photo, words, "cpu"), tmp_path)
    (tmp_path / "view").write_text("in the way")
    session.edit(WISH)
    session.wait()
    assert str(tmp_path / "view") in said[-1]
    assert not session.working


def test_an_edit_of_a_scene_is_the_run_that_the_command_makes(words: list[str], tmp_path: Path) -> None:
    (origin,) = origins(edit_ball(tmp_path / "run", "a red ball", 2, words), [], "cpu")
    session, said = opened(origin, tmp_path)
    first, state = seen(session), load_file(session.place / "state.safetensors")
    session.edit(Wish(source="a ball", target="a blue ball", lam=0.4, steps=4))
    session.wait()
    alone = edit_ball(tmp_path / "alone", "a blue ball", 4, [*words, "lambda=0.4"])
    one, other = (load_file(at / "state.safetensors") for at in (session.place, alone / "edits/ball"))
    assert all(torch.equal(one[name], x) for name, x in other.items()), "looking changed it"
    (again,) = origins(session.place, [], "cpu")  # a run like any other
    assert again.prompts == ("a ball", "a blue ball")
    session.export("mesh")
    assert (session.place / "export/edit/mesh.glb").is_file()
    assert said[-1].startswith("exported to ")
    edited = seen(session)
    session.undo()
    assert (seen(session) == first, edited == first) == (True, False)
    unchanged = load_file(session.place / "state.safetensors")
    assert all(torch.equal(unchanged[name], x) for name, x in state.items())


def test_a_scene_at_work_is_seen_at_work(words: list[str], tmp_path: Path) -> None:
    (origin,) = origins(edit_ball(tmp_path / "run", "a red ball", 2, words), [], "cpu")
    session, said = opened(origin, tmp_path)
    before = seen(session)
    session.edit(Wish(source="a ball", target="a blue ball", lam=0.4, steps=10_000))
    wait_for(lambda: begun(said))
    look = session.look()
    first = picture(look, BOTH, 0.5, CAMERA, 64).tobytes()
    wait_for(lambda: seen(session) != first)
    assert picture(look, BOTH, 0.5, CAMERA, 64).tobytes() == first  # further steps do not change it
    session.stop()
    session.wait()
    assert first != before
    assert (said[-1], seen(session) == before) == ("stopped", True)


def test_an_edit_that_a_run_made_is_undone_to(photo: Path, words: list[str], tmp_path: Path) -> None:
    run = piva.edit(photo, "a cat", "a dog", *words, "steps=2", f"hydra.run.dir={tmp_path / 'run'}")
    for path in (tmp_path / "run", run.folder):
        (origin,) = origins(path, [], "cpu")
        assert (origin.place, origin.prompts) == (run.folder, ("a cat", "a dog"))
    session, said = opened(origin, tmp_path)
    assert origin.first_wish() == Wish(source="a cat", target="a dog", lam=0.4, steps=2)
    before = seen(session)
    session.edit(OTHER)
    session.wait()
    assert session.prompts == ("a cat", "a red dog"), said
    assert seen(session) != before
    with pytest.raises(InputError, match="and their prompts"):  # its overrides are those of the run before
        piva.run(piva.compose(f"resume={session.place.parents[1]}"))
    session.undo()
    assert seen(session) == before


def test_a_file_of_splats_is_seen_and_edited(words: list[str], tmp_path: Path) -> None:
    path = write_ply(tmp_path / "ball.ply", ball_of_splats())
    small = ["task.views=1", "task.follow_steps=2", "task.turntable=2", "task.turntable_size=16"]
    (origin,) = origins(path, [*words, *small, "dataset.up=-y"], "cpu")
    assert (origin.up, origin.prompts, origin.scene is not None) == ("-y", ("", ""), True)
    session, said = opened(origin, tmp_path)
    assert not session.exportable
    first = seen(session)
    left, right = np.split(picture(session.look(), BOTH, 0.5, CAMERA, 64), 2, axis=1)
    assert (left == right).all(), "no edit yet"
    assert len(np.unique(left.reshape(-1, 3), axis=0)) > 20
    session.edit(Wish(source="a ball", target="a blue ball", lam=0.4, steps=2))
    session.wait()
    assert session.exportable, said
    assert (
        picture(session.look(), ORIGINAL, 0.5, CAMERA, 64).tobytes()
        != picture(session.look(), EDIT, 0.5, CAMERA, 64).tobytes()
    )
    original = read_splats(path, "-y", torch.device("cpu")).state_dict()
    state = load_file(session.place / "state.safetensors")
    assert torch.equal(state["original.means"], original["means"].half())
    session.export("mesh")
    assert (session.place / "export/edit/mesh.glb").is_file(), said
    session.undo()
    assert seen(session) == first


def test_an_edit_of_splats_is_edited_again_from_its_original(words: list[str], tmp_path: Path) -> None:
    few = ["field=splats", "field.splats=300", "field.steps=30", "field.radius=1", "field.occupancy=24"]
    run = tmp_path / "run"
    write_ball(tmp_path / "ball")
    own = ["task.views=1", "task.follow_steps=2", "task.turntable=2", "task.turntable_size=16"]
    piva.edit(
        tmp_path / "ball", "a ball", "a red ball", *few, *own, *words, "steps=2", f"hydra.run.dir={run}"
    )
    (origin,) = origins(run, [], "cpu")
    session, said = opened(origin, tmp_path)
    before = picture(session.look(), ORIGINAL, 0.5, CAMERA, 64)
    session.edit(Wish(source="a ball", target="a blue ball", lam=0.4, steps=2))
    session.wait()
    assert session.prompts == ("a ball", "a blue ball"), said
    assert (picture(session.look(), ORIGINAL, 0.5, CAMERA, 64) == before).all()
