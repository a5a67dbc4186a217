"""`piva edit PATH SOURCE TARGET [KEY=VALUE ...]`, a run of one photo or scene; `piva.edit` from Python."""

import io
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from PIL import Image

from piva.cli import run, run_cli, run_hydra, run_job
from piva.config import compose, quoted
from piva.errors import EditsFailed, InputError
from piva.files import CONF, cache_file, user_path
from piva.priors.stable_diffusion import Loaded
from piva.runs.fingerprint import check_run
from piva.runs.run import Run

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor

    from piva.experiment.edit import Callback
    from piva.priors.prior import Prior

NOT_IN_PNG = ("CMYK", "YCbCr", "HSV", "LAB")  # a PIL image's modes of colours that it converts


@dataclass(frozen=True)
class Edited:
    """A finished edit, as its folder has it; a notebook shows its `comparison`."""

    run: Run
    metrics: dict[str, float]
    folder: Path

    @cached_property
    def before(self) -> Image.Image:
        return self._picture("before")

    @cached_property
    def after(self) -> Image.Image:
        return self._picture("after")

    @cached_property
    def comparison(self) -> Image.Image:
        """Original and edit in one labelled picture."""
        return self._picture("comparison")

    @property
    def film(self) -> Path | None:
        """The film of a scene, original beside edit."""
        return next(self.folder.glob("turntable.mp4"), None)

    def tensor(self, name: str = "after") -> "Tensor":
        """Return the picture `name` (before, after) as (3, h, w) in [0, 1]."""
        from piva.tasks.image import read_pictures

        return read_pictures([self.folder / f"{name}.png"])[0]

    def _picture(self, name: str) -> Image.Image:
        with Image.open(self.folder / f"{name}.png") as image:
            return image.copy()

    def _repr_png_(self) -> bytes:
        return (self.folder / "comparison.png").read_bytes()


def edit(
    picture: "str | Path | Image.Image",
    source: str,
    target: str,
    *overrides: str,
    score: str = "piva",
    prior: "str | Path | Prior | DiffusionPipeline | None" = None,
    callback: "Callback | None" = None,
) -> Edited:
    """Edit a picture, or the scene in a folder, from what it shows to what it should show.

        piva.edit("mug.png", "a red mug", "a blue mug", "lambda=0.2", "steps=100").after

    Args:
        picture: a picture, or the path of one, or of a scene's folder.
        source: what it shows.
        target: what it should show.
        overrides: further settings, as on the command line.
        score: an option of conf/score.
        prior: an option of conf/prior, a folder or hub id in diffusers' layout, or a loaded pipeline, which
            edits on its own device; None: the profile's.
        callback: called with a `Progress` after each step; what it raises ends the edit.

    Raises:
        InputError: something the caller can mend.
        EditsFailed: the edit did not come to its end.
    """
    for name, value in (("source", source), ("target", target)):
        if not isinstance(value, str):
            raise InputError(name, repr(value)[:100], "a text: what the picture shows, or should show")
    words, loaded = _prior(prior)
    given = as_overrides([str(_path(picture)), source, target, f"score={score}", *words, *overrides])
    result = run(_in_a_new_folder(given), prior=loaded, callback=callback)
    for failure in result.summary["failures"]:
        raise EditsFailed(f"{failure['id']}: {failure['reason']}")
    (row,) = result.rows
    return Edited(result, {k: v for k, v in row.items() if isinstance(v, float)}, result.edit(row["id"]))


def _in_a_new_folder(given: Sequence[str]) -> DictConfig:
    """Compose the configuration; folders are named by the second, in which another edit may have begun."""
    cfg = compose(*given)
    first = Path(cfg.hydra.run.dir)
    if any(word.startswith("hydra.run.dir=") for word in given) or not first.exists():
        return cfg
    others = (first.with_name(f"{first.name}-{count}") for count in itertools.count(2))
    folder = next(other for other in others if not other.exists())
    return compose(*given, f"hydra.run.dir={quoted(str(folder))}")


def _path(picture: "str | Path | Image.Image") -> str | Path:
    """Return the path of a picture; one without is put into the cache."""
    if isinstance(picture, str | Path):
        return picture
    if not isinstance(picture, Image.Image):
        found = f"a {type(picture).__name__}"
        raise InputError("picture", found, "a path or a PIL image", "such as PIL.Image.fromarray(array)")
    png = io.BytesIO()
    in_png = picture.convert("RGB") if picture.mode in NOT_IN_PNG else picture
    in_png.save(png, "PNG")
    return cache_file("pictures", "picture", ".png", png.getvalue())


def _prior(prior: Any) -> tuple[list[str], Loaded | None]:
    """Return the overrides that name a prior, and its settings if it is loaded already."""
    if prior is None:
        return [], None
    if isinstance(prior, str | Path):
        option = (CONF / "prior" / f"{prior}.yaml").is_file()
        return [f"prior={prior}" if option else f"prior.path={quoted(str(prior))}"], None
    from piva.priors.prior import Prior

    loaded = Loaded(prior=prior if isinstance(prior, Prior) else Prior.from_pipeline(prior))
    path = loaded.prior.path or "a pipeline"
    own = {"prior.path": quoted(path), "prior.dtype": loaded.dtype, "device": loaded.prior.device}
    return [f"{key}={value}" for key, value in own.items()], loaded


def as_overrides(argv: Sequence[str]) -> list[str]:
    """Return a command line of piva.run for PATH, SOURCE, TARGET and what follows. Raises `InputError`."""
    if len(argv) < 3 or any(word.startswith("-") for word in argv[:3]):
        found = " ".join(map(repr, argv)) or "nothing"
        remedy = 'such as: piva edit photo.png "a red mug" "a blue mug"'
        raise InputError("piva edit", found, "PATH SOURCE TARGET, then keys", remedy)
    path, source, target, *others = argv
    if resume := next((word for word in others if word.startswith("resume=")), None):
        remedy = "piva run resume=FOLDER goes on with one"
        raise InputError(resume, "a run to go on with", "a new edit", remedy)
    splats = path.lower().endswith(".ply")
    task = "nerf" if splats or user_path(path, "PATH").is_dir() else "image"
    named = {"path": path, "source": source, "target": target}
    given = [f"dataset.{key}={quoted(value)}" for key, value in named.items()]
    return [f"task={task}", "dataset=single", *["field=splats"] * splats, *given, *others]


def main() -> None:
    def start() -> None:
        sys.argv[1:] = as_overrides(sys.argv[1:])
        run_hydra("config", check_run, run_job)

    run_cli(start, "config")
