"""The edits that a run of task=nerf left behind, found and looked at without torch."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open

from piva.config import build
from piva.errors import InputError, one_line
from piva.files import read_text

STATE = "state.safetensors"
WANTED = "the folder of a run of task=nerf, or of one of its edits"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One edit of a scene, as it lies on disk."""

    id: str
    folder: Path
    field: Any  # settings of the field
    dataset: DictConfig  # as the run had it
    prompts: tuple[str, str]  # source and target, empty if the run did not come to its end
    captured: bool  # seen from within, whose cameras are its own
    original: bool  # whether the original's field lies there too

    @property
    def state(self) -> Path:
        return self.folder / STATE

    @property
    def near(self) -> float:
        """Nothing of the scene is nearer to a camera than this."""
        return float(self.dataset.get("near", 0.0)) if self.captured else 0.0


def given(words: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """PATH and the settings after it on a command line. Raises `InputError`."""
    if not words:
        raise InputError("PATH", "nothing", WANTED, "give it as the first word")
    return Path(words[0]).expanduser(), words[1:]


def find(path: Path) -> list[Finished]:
    """The edits of the run in `path`, or the one edit whose folder it is, by name. Raises `InputError`."""
    if not path.is_dir():
        raise InputError("PATH", f"no folder {str(path)!r}", WANTED, "check the path")
    run = _run_of(path.resolve())
    config = _read_config(run / "config.yaml")
    prompts = _read_prompts(run / "metrics.csv")
    below = run / "edits" if path.resolve() == run else path.resolve()
    states = sorted(
        state
        for state in below.rglob(STATE)
        if not any(part.startswith(".") for part in state.parts[len(run.parts) :])
    )
    if not states:
        raise InputError(path, f"no {STATE} in it", WANTED, "wait for the run's first edit to be finished")
    field = field_settings(config.task.get("field"), run / "config.yaml")
    found = []
    for state in states:
        name, tensors = state.parent.relative_to(run / "edits").as_posix(), _names(state)
        found.append(
            Finished(
                id=name,
                folder=state.parent,
                field=field,
                dataset=config.get("dataset") or OmegaConf.create(),
                prompts=prompts.get(name, ("", "")),
                captured="world" in tensors,
                original="original.occupied" in tensors,
            )
        )
    return found


def field_settings(node: Any, where: Path) -> Any:
    """The checked settings of a field that `where` holds. Raises `InputError` that names it."""
    try:
        for part in (node, *(value for value in node.values() if isinstance(value, DictConfig))):
            if not str(part["_target_"]).startswith("piva.nerf."):
                raise ValueError(f"a field of {part['_target_']}")
        return build(get_class(node["_target_"]), node, "field")
    except Exception as error:  # whatever else such a file may hold
        raise InputError(
            where, one_line(error), "the settings of a field", "use the version of piva that wrote it"
        ) from None


def _run_of(path: Path) -> Path:
    """The run that `path` is or lies in."""
    for run in (path, *path.parents):
        if (run / "config.yaml").is_file() and path.relative_to(run).parts[:1] in ((), ("edits",)):
            return run
    raise InputError("PATH", f"no config.yaml in {str(path)!r} or above its edits", WANTED, "check the path")


def _read_config(path: Path) -> DictConfig:
    text = read_text(path)
    try:
        config = OmegaConf.create(text)
        task = str(config.task["_target_"]).rpartition(".")[2]
    except Exception as error:
        raise InputError(path, one_line(error), "what piva.run wrote", "check the path") from None
    if task != "NerfTask":
        raise InputError(
            path, f"a run of {task}, which has no scene", WANTED, "its results are the pictures beside it"
        )
    assert isinstance(config, DictConfig)
    return config


def _read_prompts(path: Path) -> dict[str, tuple[str, str]]:
    """Of each edit in a run's metrics.csv."""
    if not path.is_file():
        return {}
    rows = csv.DictReader(read_text(path).splitlines())
    return {
        str(row.get("id")): (str(row.get("source_prompt") or ""), str(row.get("target_prompt") or ""))
        for row in rows
    }


def _names(state: Path) -> set[str]:
    """What tensors a file holds, from its header. Raises `InputError`."""
    try:
        with safe_open(state, framework="np") as file:
            names = set(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(
            state, f"an unreadable file ({one_line(error)})", "what piva.run wrote", "run the edit again"
        ) from None
    if "occupied" not in names:
        raise InputError(
            state, "no occupancy in it", "the state of a field", "run the edit again with task=nerf"
        )
    return names
