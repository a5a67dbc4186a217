"""How a run shows that it goes on: a bar over the edits, one over the steps, and metrics.jsonl."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm as moving
from tqdm.contrib.logging import logging_redirect_tqdm

from piva.runs import bars
from piva.runs.folder import RunFolder, json_safe
from piva.runs.tracking import Mirror

FLUSH_EVERY = 25  # steps between two readings of the device's numbers


@contextmanager
def edits_bar(total: int, done: int) -> Iterator[Any]:
    """Show a bar over `total` edits, `done` of them finished before; for several edits, on a terminal."""
    hidden = total == 1 or not bars.watched()
    with logging_redirect_tqdm(), moving(total=total, desc="edits", unit="edit", disable=hidden) as bar:
        bar.update(done)
        bar.unpause()  # what was finished before took no time: the rest is estimated from here
        yield bar


@contextmanager
def steps_bar(edits: Sequence[str], steps: int, start: int) -> Iterator[Any]:
    """Show a bar over the steps of edits that are optimised together."""
    name = edits[0] if len(edits) == 1 else f"{len(edits)} edits"
    with bars.bar(len(edits) * steps, name, "step", done=start) as bar:
        yield bar


class StepLogger:
    """Logs an edit's steps to metrics.jsonl and tracker, reading the device's numbers now and then."""

    def __init__(self, edit: str, folder: RunFolder, mirror: Mirror | None) -> None:
        self._edit, self._folder, self._mirror = edit, folder, mirror
        self._waiting: list[dict[str, Tensor | float]] = []

    def __call__(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        self._waiting.append({"step": step, **values})
        if len(self._waiting) == FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises `FloatingPointError` if a direction or a loss was not finite."""
        rows: list[dict[str, Any]] = [{"edit": self._edit} | row for row in _on_host(self._waiting)]
        self._waiting = []
        self._folder.append_steps([json_safe(row) for row in rows])
        if self._mirror:
            self._mirror.steps(rows)
        for row in rows:
            for name, what in (("train/direction_rms", "direction"), ("train/loss", "loss")):
                if not math.isfinite(row.get(name, 0)):
                    where = f"step {row['step']}" + (f", t {row['t']}" if "t" in row else "")
                    raise FloatingPointError(f"{where}: the {what} is not finite")


def _on_host(rows: Sequence[Mapping[str, Tensor | float]]) -> list[dict[str, float]]:
    """Return the rows as plain numbers; the device is asked once."""
    tensors = [value for row in rows for value in row.values() if isinstance(value, Tensor)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    plain = [{k: next(read) if isinstance(v, Tensor) else v for k, v in row.items()} for row in rows]
    return [{k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()} for row in plain]
