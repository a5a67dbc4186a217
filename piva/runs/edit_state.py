"""An edit between two steps: everything about it that changes from step to step, and so all that a checkpoint must hold."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from piva.models.learned import LearnedModels
from piva.priors.prior import NetworkEvaluations
from piva.runs.checkpoint import Tree
from piva.tasks.base import Randomness, TaskState


class Clock:
    """Seconds between laps; laps of one name add up."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(self.laps.get(name, 0) + now - self._last, 2), now

    def add(self, laps: dict[str, float]) -> None:
        """Of a process before this one."""
        self.laps = {
            name: round(laps.get(name, 0) + self.laps.get(name, 0), 2) for name in {**laps, **self.laps}
        }


@dataclass(frozen=True, kw_only=True)
class Underway:
    """One edit being optimised. `evaluations` counts its network evaluations from zero."""

    state: TaskState
    models: LearnedModels | None
    randomness: Randomness
    evaluations: NetworkEvaluations
    clock: Clock
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, Tensor] = field(default_factory=dict)  # painted so far, by step

    def __post_init__(self) -> None:
        self._count(vars(NetworkEvaluations()))

    def checkpoint(self) -> Tree:
        """All of it; `restore` into one that was opened in the same way goes on as if nothing had happened."""
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
        self.state.restore(saved["state"])
        if self.models:
            self.models.restore(saved["models"])
        self.randomness.host.set_state(saved["host"])
        self.randomness.device.set_state(saved["device"])
        self._count(saved["evaluations"])
        self.clock.add(saved["seconds"])
        self.snapshots[:] = saved["snapshots"]
        self.samples.update({step: painted.cpu() for step, painted in saved["samples"].items()})

    def _count(self, counted: Mapping[str, int]) -> None:
        vars(self.evaluations).update(counted)
