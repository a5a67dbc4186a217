"""An edit between two steps: everything about it that changes from step to step, and so all that a checkpoint must hold."""

import time
from dataclasses import dataclass, field
from typing import Any

from piva.checkpoints import Tree
from piva.models.lora import Adapters
from piva.priors.prior import Evaluations
from piva.types import Randomness, TaskState


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
        self.laps = {name: round(laps.get(name, 0) + self.laps.get(name, 0), 2) for name in {**laps, **self.laps}}


@dataclass(frozen=True, kw_only=True)
class Underway:
    """One edit being optimised. `evaluations` counts its network evaluations from zero."""

    state: TaskState
    adapters: Adapters | None
    randomness: Randomness
    evaluations: Evaluations
    clock: Clock
    snapshots: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._count(forward=0, backward=0, calls=0)

    def checkpoint(self) -> Tree:
        """All of it; `restore` into one that was opened in the same way goes on as if nothing had happened."""
        return {
            "state": self.state.checkpoint(),
            "adapters": self.adapters.checkpoint() if self.adapters else None,
            "host": self.randomness.host.get_state(),
            "device": self.randomness.device.get_state(),
            "evaluations": vars(self.evaluations),
            "seconds": self.clock.laps,
            "snapshots": self.snapshots,
        }

    def restore(self, saved: Tree) -> None:
        self.state.restore(saved["state"])
        if self.adapters:
            self.adapters.restore(saved["adapters"])
        self.randomness.host.set_state(saved["host"])
        self.randomness.device.set_state(saved["device"])
        self._count(**saved["evaluations"])
        self.clock.add(saved["seconds"])
        self.snapshots[:] = saved["snapshots"]

    def _count(self, *, forward: int, backward: int, calls: int) -> None:
        self.evaluations.forward, self.evaluations.backward, self.evaluations.calls = forward, backward, calls
