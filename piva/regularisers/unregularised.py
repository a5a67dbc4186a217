"""No regulariser: `regulariser=none`."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from piva.priors.stable_diffusion import Speed
from piva.scores.terms import Prediction


@dataclass(frozen=True, kw_only=True)
class Unregularised:
    """The noise of a step stays as it is drawn, and its direction is the score's."""

    def check(self, task: Any, speed: Speed) -> None:
        """Accept every run."""

    @property
    def kept(self) -> list[Prediction]:
        return []

    def passes(self, asked: Set[Prediction]) -> float:
        return 0
