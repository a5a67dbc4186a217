"""How a run shows that it goes on: a bar over the edits, one over the steps, and metrics.jsonl."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from piva.runs.folder import RunFolder, json_safe
from piva.runs.tracking import Mirror

FLUSH_EVERY = 25  # steps between two readings of the device's numbers


@contextmanager
def edits_bar(total: int, done: int) -> Iterator[Any]:
    """Show a bar over `total` edits, `done` of them finished before; for several edits, on a terminal."""
    hidden = None if total > 1 else True
    with logging_redirect_tqdm(), tqdm(total=total, desc="edits", unit="edit", disable=hidden) as bar:
        bar.update(done)
        bar.unpause()  # what was finished before took no time: the rest is estimated from here
        yield bar


class StepLogger:
    """Logs a row a step to metrics.jsonl, tracker and bar, reading the device's numbers now and then."""

    def __init__(self, edit: str, steps: range, folder: RunFolder, mirror: Mirror | None) -> None:
        self._edit, self._folder, self._mirror = edit, folder, mirror
        self._waiting: list[dict[str, Tensor | float]] = []
        bar = {"desc": edit, "unit": "step", "disable": None, "dynamic_ncols": True, "leave": False}
        self.bar = tqdm(total=steps.stop, initial=steps.start, **bar)

    def __call__(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        self._waiting.append({"step": step, **values})
        self.bar.update()
        if len(self._waiting) == FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises `FloatingPointError` if a direction was not finite."""
        rows: list[dict[str, Any]] = [
            {"edit": self._edit} | {key: _rounded(value) for key, value in row.items()}
            for row in self._waiting
        ]
        self._waiting = []
        self._folder.append_steps([json_safe(row) for row in rows])
        if self._mirror:
            self._mirror.steps(rows)
        for row in rows:
            if not math.isfinite(row["train/direction_rms"]):
                raise FloatingPointError(f"step {row['step']}, t {row['t']}: the direction is not finite")
        if rows:
            self.bar.set_postfix(direction_rms=rows[-1]["train/direction_rms"], refresh=False)


def _rounded(value: Tensor | float) -> float | int:
    number = value.item() if isinstance(value, Tensor) else value
    return float(f"{number:.6g}") if isinstance(number, float) else number
