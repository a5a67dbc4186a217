"""Which run a folder holds: `run.json` names the words it was started with and all that its numbers depend on.

A run goes on in a folder of the same identity and is refused in another's. What a run does not read is no part of it: with
`score=dds`, neither lambda nor how the learned models are made.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from piva import config
from piva.config import PARTS, RunSettings, Settings
from piva.errors import InputError
from piva.priors.schedule import Schedule
from piva.runs.folder import Result, RunFolder
from piva.runs.lock import hold
from piva.scores.needs import learned_networks

RECORD = "run.json"
FREE = ("device", "checkpoint_every")  # may differ when a run goes on; of the device only its kind counts
UNBEGUN = {".hydra", ".lock", "piva.log", RECORD}  # what a folder holds before the run begins
ANY_SCHEDULE = Schedule((0.99, 0.5, 0.01))  # which models a score needs does not depend on the prior's
Identity = dict[str, Any]


def identity(settings: Settings) -> Identity:
    """The settings that a run reads, resolved, and its edits with their prompts."""
    keys = [field.name for field in dataclasses.fields(RunSettings) if field.name not in FREE]
    unread = {"tracker"} if learned_networks(settings.score, ANY_SCHEDULE) else {"tracker", "model"}
    read = {key: settings.config[key] for key in (*keys, *PARTS) if key not in unread}
    edits = [[edit.id, edit.source_prompt, edit.target_prompt] for edit in settings.edits]
    return {**read, "device": settings.run.device.partition(":")[0], "edits": edits}


def digest(of: Identity) -> str:
    """A short name for it."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def claimed(settings: Settings, folder: Path) -> Iterator[None]:
    """Within, the run alone writes to `folder`, where its record is. If it ends in bad input before anything was begun, no trace
    is left. Raises `InputError` if another run is at work there or has been.
    """
    with hold(folder):
        refuse_other(settings, folder)
        RunFolder(folder).write_json(RECORD, {"words": settings.overrides, "identity": identity(settings)})
        try:
            yield
        except InputError:
            if {path.name for path in folder.iterdir()} <= UNBEGUN:
                shutil.rmtree(folder)
            raise


def refuse_other(settings: Settings, folder: Path) -> None:
    """Raise `InputError` if `folder` holds a run of other settings; names the first that differs."""
    record = read_record(folder)
    if record is None:
        return
    if difference := differing(record["identity"], identity(settings)):
        remedy = "choose another folder, or resume=FOLDER alone to go on with it"
        raise InputError(folder, *difference, remedy)


def differing(one: Identity, other: Identity) -> tuple[str, str] | None:
    """Of the first setting in which they differ, what each says, in the words of an error."""
    there, here = dict(_leaves(one)), dict(_leaves(other))
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key):
            return f"a run of {_said(key, there)}", _said(key, here)
    return None


def finished(settings: Settings, folder: Path) -> Result | None:
    """What is in `folder`, if that is this run and nothing of it is left to do. Imports no torch."""
    record, place = read_record(folder), folder / "summary.json"
    if record is None or record["identity"] != identity(settings) or not place.is_file():
        return None
    summary = json.loads(place.read_text())
    results = [RunFolder(folder).finished(edit.id) for edit in settings.edits]
    if summary["failures"] or None in results:
        return None
    return Result(folder, [result.row for result in results if result], summary)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The contents of run.json; None where there is none."""
    path = folder / RECORD
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def words_of(folder: Path) -> list[str]:
    """The words that go on with the run, or the sweep, in `folder`. Raises `InputError` if there is none."""
    if record := read_record(folder):
        return [*record["words"], f"hydra.run.dir={_quoted(folder)}"]
    try:
        given = OmegaConf.load(folder / "multirun.yaml").hydra.overrides
        words = [*config.as_typed(given.hydra), *config.as_typed(given.task)]
        return [*words, f"hydra.sweep.dir={_quoted(folder)}", "--multirun"]
    except (OSError, OmegaConfBaseException):
        raise InputError(
            "resume", f"no {RECORD} and no multirun.yaml in {folder}", "the folder of a run or of a sweep"
        ) from None


def expand(words: list[str]) -> list[str]:
    """`words` with those of the run that `resume=FOLDER` names in its place; what is said beside it wins."""
    folders = [word.partition("=")[2] for word in words if word.startswith("resume=")]
    if not folders or folders[-1] in ("", "null"):
        return words
    return [
        *words_of(Path(folders[-1]).expanduser()),
        *(word for word in words if not word.startswith("resume=")),
    ]


def check_run(cfg: DictConfig) -> Settings:
    """`config.check`, and whether the run may write to its folder. Raises `InputError`; imports no torch."""
    settings = config.check(cfg)
    hydra = cfg.hydra if "hydra" in cfg else HydraConfig.get()
    folder = Path(hydra.run.dir)
    if folder.is_dir():
        with hold(folder):
            refuse_other(settings, folder)
    return settings


def _quoted(folder: Path) -> str:
    """A path as Hydra reads it whatever is in it: a sweep's folders are named lambda=0.1,score=dds."""
    return '"' + str(folder).replace('"', '\\"') + '"'


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}".strip("."))
    else:
        yield path, tree


def _said(key: str, leaves: Mapping[str, Any]) -> str:
    if key == "edits":
        return f"{len(leaves[key])} edits ({', '.join(edit[0] for edit in leaves[key][:3])}...) and their prompts"
    return f"{key}={leaves[key]}" if key in leaves else f"no {key}"
