"""The edits that a run of task=nerf left behind, found and looked at without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from piva.errors import InputError, one_line
from piva.files import as_kind, as_number, regular, user_path
from piva.runs.run import ORIGIN, Run
from piva.runs.stored import stored_settings

STATE = "state.safetensors"
WANTED = "the folder of a run of task=nerf, or of one of its edits"


@dataclass(frozen=True, kw_only=True)
class EditedScene:
    """One finished edit of a scene, as it lies on disk."""

    id: str
    folder: Path
    field: Any  # settings of the field
    dataset: dict[str, Any]  # as the run had it
    prompts: tuple[str, str]  # source and target, empty if the run did not come to its end
    captured: bool  # a capture, seen from within by cameras of its own
    original: bool  # whether the original's field is there, too

    @property
    def state(self) -> Path:
        return self.folder / STATE

    @property
    def near(self) -> float:
        """The distance to a camera below which nothing of the scene is."""
        return as_number(self.dataset.get("near", 0.0), "dataset.near") if self.captured else 0.0


def given(argv: Sequence[str], wanted: str = WANTED) -> tuple[Path, Sequence[str]]:
    """Return PATH and the overrides after it on a command line. Raises `InputError`."""
    if not argv:
        raise InputError("PATH", "nothing", wanted, "give it as the first word")
    return user_path(argv[0], "PATH"), argv[1:]


def find(path: Path) -> list[EditedScene]:
    """Return the edits of the run in `path`, or the one whose folder it is, by name. Raises `InputError`."""
    if not path.is_dir():
        raise InputError("PATH", f"no folder {str(path)!r}", WANTED, "check the path")
    run = run_of(path.resolve())
    where = run.folder / "config.yaml"
    if run.task != "NerfTask":
        remedy = "its results are the pictures beside it"
        raise InputError(where, f"a run of {run.task}, which has no scene", WANTED, remedy)
    field = stored_settings(run.config["task"].get("field"), "field", where, "nerf")
    prompts = {row["id"]: (row.get("source_prompt", ""), row.get("target_prompt", "")) for row in run.rows}
    below = run.folder / "edits" if path.resolve() == run.folder else path.resolve()
    hidden = len(run.folder.parts)  # edits that are being written are hidden
    states = [s for s in below.rglob(STATE) if not any(part.startswith(".") for part in s.parts[hidden:])]
    if not states:
        raise InputError(path, f"no {STATE} in it", WANTED, "wait for the run's first edit to be finished")
    dataset = as_kind(run.config.get("dataset", {}), dict, f"{where}: dataset")
    found = []
    for state in sorted(states):
        name, tensors = state.parent.relative_to(run.folder / "edits").as_posix(), _names(state)
        found.append(
            EditedScene(
                id=name,
                folder=state.parent,
                field=field,
                dataset=dataset,
                prompts=prompts.get(name, ("", "")),
                captured="world" in tensors,
                original=any(name.startswith("original.") for name in tensors),
            )
        )
    return found


def run_of(path: Path, wanted: str = WANTED) -> Run:
    """Return the run that `path` is or lies in."""
    for run in (path, *path.parents):
        if (run / "config.yaml").is_file() and path.relative_to(run).parts[:1] in ((), ("edits",)):
            return Run(run)
    raise InputError("PATH", f"no config.yaml in {str(path)!r} or above its edits", wanted, "check the path")


def _names(state: Path) -> set[str]:
    """Return the names of a file's tensors, from its header. Raises `InputError`."""
    try:
        with safe_open(regular(state, ORIGIN), framework="np") as file:
            names = set(file.keys())
    except (SafetensorError, OSError) as error:
        found = f"an unreadable file ({one_line(error)})"
        raise InputError(state, found, ORIGIN, "run the edit again") from None
    if not names & {"occupied", "means"}:
        remedy = "run the edit again with task=nerf"
        raise InputError(state, "no occupancy and no splats in it", "the state of a field", remedy)
    return names
