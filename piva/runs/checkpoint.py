"""The state of an unfinished edit, and the checkpoints from which it resumes with the same numbers.

A checkpoint is a plain tree of dicts, lists, tensors, numbers and texts, by `torch.save`, and is read with
`weights_only`: it cannot run code. Its name holds the step and the SHA-256 of its bytes, so that a damaged
one is recognised and the one before it used.
"""

import hashlib
import io
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from piva.errors import InputError, one_line
from piva.files import atomic, is_regular
from piva.models.denoiser import NetworkEvaluations
from piva.models.learned import LearnedModels
from piva.tasks.base import Randomness, TaskState

log = logging.getLogger(__name__)

KEPT = 2

Tree = Any  # dict, list or tuple of trees, Tensor, number, text or None


class Checkpoints:
    """Those of one edit, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, step: int, tree: Tree) -> None:
        """Write `tree`, the state after `step` steps, and remove all but the newest `KEPT`.

        Raises:
            FloatingPointError: a tensor of `tree` is not finite; earlier checkpoints are left alone.
            TypeError: `tree` holds something that could not be read back.
            WriteError: the file cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(_checked(tree, step), buffer)
        content = buffer.getvalue()
        path = self._folder / f"{step:08}-{hashlib.sha256(content).hexdigest()}.pt"
        with atomic(path) as temporary, temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for old in self._files()[:-KEPT]:
            old.unlink()

    def newest(self) -> tuple[int, Path] | None:
        """Return the step and file of the newest undamaged checkpoint; remove damaged ones with a warning."""
        for path in reversed(self._files()):
            step, _, digest = path.stem.partition("-")
            if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
                return int(step), path
            log.warning("checkpoint %s is damaged; the one before it is used", path)
            path.unlink()
        return None

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        names = re.compile(r"\d{8,18}-[0-9a-f]{64}\.pt")  # pipes and links to elsewhere have such names too
        return sorted(p for p in self._folder.glob("*.pt") if names.fullmatch(p.name) and is_regular(p))


def load(path: Path) -> Tree:
    """Return the tree of a checkpoint, its tensors on the CPU."""
    return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn whatever a checkpoint's odd contents raise when they are read into an `InputError`."""
    try:
        yield
    except Exception as error:
        found, remedy = (
            f"contents that do not fit ({one_line(error)[:200]})",
            "remove it: the edit begins anew",
        )
        raise InputError(path, found, "the state of this edit", remedy) from error


def _checked(tree: Tree, step: int, path: str = "") -> Tree:
    """Return `tree` as plain dicts, lists and numbers, tensors on the CPU; raises as `Checkpoints.save`."""
    match tree:
        case Tensor():
            if not bool(tree.isfinite().all()):
                raise FloatingPointError(f"after step {step} {path} is not finite")
            return tree.detach().cpu()
        case Mapping():
            return {key: _checked(value, step, f"{path}/{key}".strip("/")) for key, value in tree.items()}
        case list() | tuple():
            items = [_checked(value, step, f"{path}/{i}".strip("/")) for i, value in enumerate(tree)]
            return tuple(items) if isinstance(tree, tuple) else items
        case None | bool() | int() | str():
            return tree
        case float():
            return float(tree)  # numpy's are no plain numbers
    raise TypeError(f"{path}: a checkpoint cannot hold a {type(tree).__name__}")


class Clock:
    """Seconds between laps; laps of one name add up."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last, self._sharers = time.perf_counter(), 1

    def share(self, sharers: int) -> None:
        """Start a lap whose time so many edits share."""
        self._last, self._sharers = time.perf_counter(), sharers

    def lap(self, name: str) -> None:
        """End a lap, and start one of this edit alone."""
        now = time.perf_counter()
        self.laps[name] = round(self.laps.get(name, 0) + (now - self._last) / self._sharers, 2)
        self._last, self._sharers = now, 1

    def add(self, laps: Mapping[str, float]) -> None:
        """Add the laps of an earlier process."""
        names = {**laps, **self.laps}
        self.laps = {name: round(laps.get(name, 0) + self.laps.get(name, 0), 2) for name in names}


@dataclass(frozen=True, kw_only=True)
class EditState:
    """One edit between two steps: all that changes from step to step."""

    state: TaskState
    models: LearnedModels | None
    randomness: Randomness
    evaluations: NetworkEvaluations
    clock: Clock
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, Tensor] = field(default_factory=dict)  # drawn so far, by step

    def checkpoint(self) -> Tree:
        """Return all of it; restored into a state opened in the same way, the edit goes on as before."""
        return {
            "state": self.state.checkpoint(),
            "models": self.models.checkpoint() if self.models else None,
            "host": self.randomness.host.get_state(),
            "device": self.randomness.device.get_state(),
            "evaluations": dict(vars(self.evaluations)),
            "seconds": self.clock.laps,
            "snapshots": self.snapshots,
            "samples": self.samples,
        }

    def restore(self, saved: Tree) -> None:
        """Take over what `checkpoint` returned."""
        self.state.restore(saved["state"])
        if self.models:
            self.models.restore(saved["models"])
        self.randomness.host.set_state(saved["host"])
        self.randomness.device.set_state(saved["device"])
        vars(self.evaluations).update(saved["evaluations"])
        self.clock.add(saved["seconds"])
        self.snapshots[:] = saved["snapshots"]
        self.samples.update({step: drawn.cpu() for step, drawn in saved["samples"].items()})
