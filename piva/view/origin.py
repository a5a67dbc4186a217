"""What the page of piva.view shows and edits: the edits of a run, or a picture without one. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from piva.config import Settings, build, check, compose, quoted, settings_class
from piva.datasets.edit import check_prompts
from piva.datasets.single import check_picture
from piva.errors import InputError
from piva.export.edits import EditedScene, find, run_of
from piva.nerf.splats.ply import read_header
from piva.nerf.splats.settings import SplatFit
from piva.runs.fingerprint import overrides_of
from piva.runs.run import Run

WANTED = "a picture, a .ply of splats, or the folder of a finished run or of one of its edits"
PLAIN = ("measure_at=[]", "samples.at=[]", "passes=null")  # what steps of another number could contradict


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the panel asks for."""

    source: str
    target: str
    lam: float | None  # None: the score reads no lambda
    steps: int


@dataclass(frozen=True, kw_only=True)
class Origin:
    """An edit of a run, or a picture or a .ply of one's own; what the page makes of it begins with its
    original.
    """

    id: str
    place: Path  # the folder of the finished edit, or the file
    prompts: tuple[str, str]  # source and target, empty where they are not known
    overrides: Sequence[str] | None  # of the run; None: it left no run.json, and can only be looked at
    scene: EditedScene | None = None  # None: a picture
    up: str = "z"  # the axis that points up in a .ply

    def settings(self, wish: Wish) -> Settings:
        """Return the settings of a run of this edit alone, as wished, checked. Raises `InputError`."""
        if self.overrides is None:
            found, wanted = "a run without run.json", "one that says how it was made"
            raise InputError(self.id, found, wanted, "run it again to edit it")
        check_prompts("the panel", wish.source, wish.target)
        weighed = [] if wish.lam is None else [f"lambda={wish.lam}"]
        asked = [*self.overrides, *PLAIN, f"steps={wish.steps}", *weighed]
        if self.place.is_file():
            named = {"source": wish.source, "target": wish.target}
            return check(compose(*asked, *(f"dataset.{key}={quoted(text)}" for key, text in named.items())))
        settings = check(compose(*asked))
        edit = next((edit for edit in settings.edits if edit.id == self.id), None)
        if edit is None:
            wanted = f"the edit {self.id}"
            raise InputError("dataset", "other edits", wanted, "it has changed since the run")
        edit = replace(edit, source_prompt=wish.source, target_prompt=wish.target)
        edit = replace(edit, instruction="", mask=None, truth=None)  # those are of the run's own prompts
        settings.prior.check_prompts(edit.prompts)
        return replace(settings, edits=[edit])

    def first_wish(self) -> Wish:
        """Return what the panel says at first: the run's own prompts, lambda and steps."""
        cfg, (source, target) = compose(*(self.overrides or ())), self.prompts
        lam = float(cfg["lambda"]) if "lam" in cfg.score else None
        return Wish(source=source, target=target, lam=lam, steps=int(cfg.steps))


def origins(path: Path, overrides: Sequence[str], device: str) -> list[Origin]:
    """Return what there is at `path`, by name; `overrides` are for edits of it, on `device`. Raises
    `InputError`.
    """
    given = [*overrides, f"device={device}"]
    if path.is_file() and path.suffix.lower() == ".ply":
        return [_splats(path, given)]
    if path.is_file():
        check_picture(path)
        own = ["task=image", "dataset=single", f"dataset.path={quoted(str(path.resolve()))}", *given]
        compose(*own)  # keys that are none show now
        return [Origin(id=path.name, place=path, prompts=("", ""), overrides=own)]
    if not path.is_dir():
        raise InputError("PATH", f"nothing that can be read at {str(path)!r}", WANTED, "check the path")
    run = run_of(path.resolve(), WANTED)
    known = [*overrides_of(run.folder), *given] if run.record else None
    compose(*(known or given))
    if run.task == "NerfTask":
        return [
            Origin(id=scene.id, place=scene.folder, prompts=scene.prompts, overrides=known, scene=scene)
            for scene in find(path)
        ]
    return [
        Origin(id=name, place=place, prompts=prompts, overrides=known)
        for name, place, prompts in _pictures(run, path.resolve())
    ]


def _splats(path: Path, given: Sequence[str]) -> Origin:
    """Return a file of splats, which are the original. Raises `InputError`."""
    at = f"dataset.path={quoted(str(path.resolve()))}"
    own = ["task=nerf", "dataset=single", "field=splats", at, *given]
    cfg = compose(*own)
    read_header(path)
    field, dataset = (build(settings_class(cfg[key], key), cfg[key], key) for key in ("field", "dataset"))
    if not isinstance(field, SplatFit):
        raise InputError("field", "settings of another representation", "field=splats", "leave it out")
    place, nothing = path.resolve(), ("", "")
    scene = EditedScene(
        id=path.stem,
        folder=place.parent,
        field=field,
        dataset={},
        prompts=nothing,
        captured=False,
        original=True,
    )
    return Origin(id=path.stem, place=place, prompts=nothing, overrides=own, scene=scene, up=dataset.up)


def _pictures(run: Run, path: Path) -> list[tuple[str, Path, tuple[str, str]]]:
    """Return id, folder and prompts of the finished edits of pictures in a run, or of the one at `path`."""
    rows = {row["id"]: (row.get("source_prompt", ""), row.get("target_prompt", "")) for row in run.rows}
    root = run.folder / "edits"
    below, hidden = root if path == run.folder else path, len(run.folder.parts)
    places = [after.parent for after in sorted(below.rglob("after.png"))]
    places = [at for at in places if not any(part.startswith(".") for part in at.parts[hidden:])]
    if not places:
        raise InputError(path, "no after.png in it", WANTED, "wait for the run's first edit to be finished")
    names = [(at.relative_to(root).as_posix(), at) for at in places]
    return [(name, at, rows.get(name, ("", ""))) for name, at in names]
