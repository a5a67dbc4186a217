"""Which run a folder holds: run.json has its overrides, and a fingerprint of all that its numbers depend on.

A run goes on in a folder with its own fingerprint and is refused in another's. What a run does not read is no
part of it: with `score=dds`, neither lambda nor how the learned models are made.
"""

import dataclasses
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from piva import config
from piva.config import PARTS, RunSettings, Settings
from piva.errors import InputError
from piva.files import get, read_yaml, user_path
from piva.runs.folder import RunFolder, lock
from piva.runs.run import RECORD, Run, one_set_of_networks

OWN = r"(?!hydra\b)\w[\w./@]*="  # overrides that a run may store: of piva's own keys
HYDRAS = (  # and of Hydra's: how and where jobs run, in plain values that no shell reads, and below the sweep
    r"hydra(/launcher|/sweeper|\.mode|\.(launcher|sweeper)\.[\w.]+)=[\w.,:+-]*$"
    r"|hydra\.job\.config\.override_dirname\.exclude_keys=\[[\w.,/@+~]*\]$"
    r"|hydra\.sweep\.dir=|hydra\.sweep\.subdir=(?!.*\.\.)[^/]"
)
FREE = (
    "device",
    "checkpoint_every",
    "batch",
    "speed",
)  # may differ when a run goes on; of the device only its kind counts
RESULTS = ("config.yaml", "metrics.csv", "metrics.jsonl", "summary.json", "edits", "checkpoints")
UNBEGUN = {".hydra", ".lock", "piva.log", RECORD}  # what a folder holds before the run begins
Fingerprint = dict[str, Any]


def fingerprint(settings: Settings) -> Fingerprint:
    """Return the settings that a run reads, resolved, and its edits with their prompts."""
    keys = [field.name for field in dataclasses.fields(RunSettings) if field.name not in FREE]
    unread = settings.unread | {"tracker"}
    read = {key: settings.config[key] for key in (*keys, *PARTS) if key not in unread}
    edits = [[edit.id, edit.source_prompt, edit.target_prompt] for edit in settings.edits]
    if settings.method.instructed:
        edits = [[*each, edit.instruction] for each, edit in zip(edits, settings.edits, strict=True)]
    return {**read, "device": settings.run.device.partition(":")[0], "edits": edits}


@contextmanager
def locked(settings: Settings, folder: Path) -> Iterator[None]:
    """Lock `folder` for this run and write its record there; bad input before the run begins leaves no trace.

    Raises `InputError` if another run is at work there or has been.
    """
    with lock(folder):
        _refuse_other(settings, folder)
        if (folder / RECORD).exists():  # of a process that was killed while it wrote
            for leftover in list(folder.rglob(".*.tmp")):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        record = {"overrides": settings.overrides, "fingerprint": fingerprint(settings)}
        RunFolder(folder).write_json(RECORD, record)
        try:
            yield
        except InputError:
            if {path.name for path in folder.iterdir()} <= UNBEGUN:
                shutil.rmtree(folder)
            raise


def finished(settings: Settings, folder: Path) -> Run | None:
    """Return the run in `folder` if it is that of `settings` and has finished. Imports no torch.

    Raises `InputError` for a torn record of an edit.
    """
    run = Run(folder)
    if not run.summary or run.failures or run.record.get("fingerprint") != fingerprint(settings):
        return None
    return run if all(RunFolder(folder).record(edit.id) for edit in settings.edits) else None


def check_run(cfg: DictConfig) -> Settings:
    """Check the configuration and whether the run may write to its folder. Raises `InputError`; no torch."""
    settings = config.check(cfg)
    folder = user_path((cfg.hydra if "hydra" in cfg else HydraConfig.get()).run.dir, "hydra.run.dir")
    if folder.is_dir():
        with lock(folder):
            _refuse_other(settings, folder)
    return settings


def check_shards(runs: Sequence[Run]) -> None:
    """Raise `InputError` unless `runs` are all shards of one run, measured by one set of networks."""
    found, prints = [], [_read_fingerprint(run) for run in runs]
    for run, each in zip(runs, prints, strict=True):
        if (shard := each["dataset"].get("shard")) is None:
            raise InputError(run.folder, "a run of all its edits", "one with dataset.shard")
        if difference := _difference(_without_shard(each), _without_shard(prints[0])):
            raise InputError(run.folder, *difference, f"as in {runs[0].folder}: give shards of one run")
        found.append(tuple(map(int, shard.split("/"))))
    one_set_of_networks(runs)
    count = found[0][1]
    if sorted(found) != [(i, count) for i in range(1, count + 1)]:
        names = ", ".join(f"{i}/{n}" for i, n in found)
        raise InputError("folders", f"the shards {names}", f"each of 1/{count} to {count}/{count} once")


def overrides_of(folder: Path) -> list[str]:
    """Return the overrides that resume the run or sweep in `folder`. Raises `InputError` without one."""
    quoted = '"' + str(folder).replace('"', '\\"') + '"'  # a sweep's folders are named lambda=0.1,score=dds
    if record := Run(folder).record:
        overrides = _checked(get(record, "overrides", list, folder / RECORD), OWN, folder / RECORD)
        return [*overrides, f"hydra.run.dir={quoted}"]
    where = folder / "multirun.yaml"
    if not where.exists():
        found = f"no {RECORD} and no multirun.yaml in {folder}"
        raise InputError("resume", found, "the folder of a run or of a sweep")
    given = get(get(read_yaml(where), "hydra", dict, where), "overrides", dict, where)
    overrides = [
        *_checked(get(given, "hydra", list, where), HYDRAS, where),
        *_checked(get(given, "task", list, where), OWN, where),
    ]
    return [*overrides, f"hydra.sweep.dir={quoted}", "--multirun"]


def _checked(overrides: list[Any], allowed: str, where: Path) -> list[str]:
    """Return stored overrides that only choose values; raise `InputError` for others, which may run code
    or write elsewhere.

    A run folder may be somebody else's: what it would add to Hydra's own configuration, or name as a class to
    make, is for the user to type.
    """
    for each in overrides:
        fits = isinstance(each, str) and re.match(allowed, each)
        if not fits or "_target_" in each or "${oc." in each:
            remedy = "if it is meant, put it after resume=FOLDER, and take it out of the file"
            raise InputError(where, repr(each), "overrides of piva's own keys", remedy)
    return overrides


def expand_resume(argv: list[str]) -> list[str]:
    """Replace `resume=FOLDER` by the overrides of that run; those beside it win."""
    folders = [word.partition("=")[2] for word in argv if word.startswith("resume=")]
    if not folders or folders[-1] == "null":
        return argv
    if not folders[-1]:
        raise InputError("resume", "no value", "the folder of a run or of a sweep")
    others = [word for word in argv if not word.startswith("resume=")]
    *own, last = overrides_of(user_path(folders[-1], "resume"))
    # argparse wants its flags after or before all other words
    return [*own, *others, last] if last == "--multirun" else [*own, last, *others]


def _refuse_other(settings: Settings, folder: Path) -> None:
    """Raise `InputError` if `folder` holds a run of other settings, and names the first that differs; or
    somebody else's files where a run's would be.
    """
    run = Run(folder)
    if not run.record and (others := sorted(name for name in RESULTS if (folder / name).exists())):
        found, wanted_ = f"{', '.join(others)} and no {RECORD}", "a new folder, or that of a run"
        raise InputError(folder, found, wanted_, "choose another by hydra.run.dir")
    if run.record and (difference := _difference(_read_fingerprint(run), fingerprint(settings))):
        raise InputError(
            folder, *difference, "choose another folder, or resume=FOLDER alone to go on with it"
        )


def _read_fingerprint(run: Run) -> Fingerprint:
    return get(run.record, "fingerprint", dict, run.folder / RECORD)


def _without_shard(of: Fingerprint) -> Fingerprint:
    return of | {"dataset": of["dataset"] | {"shard": None}, "edits": []}


def _difference(one: Fingerprint, other: Fingerprint) -> tuple[str, str] | None:
    """Return what each says of the first setting in which they differ, as an error's `found` and `wanted`."""
    there, here = dict(_leaves(one)), dict(_leaves(other))
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key):
            return f"a run of {_assignment(key, there)}", _assignment(key, here)
    return None


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}".strip("."))
    else:
        yield path, tree


def _assignment(key: str, leaves: Mapping[str, Any]) -> str:
    if key == "edits":
        first = ", ".join(edit[0] for edit in leaves[key][:3])
        return f"{len(leaves[key])} edits ({first}...) and their prompts"
    return f"{key}={leaves[key]}" if key in leaves else f"no {key}"
