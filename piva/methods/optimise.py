"""Editing by optimisation, as all scores do: `method=optimise`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from piva.config import RunSettings
from piva.models.needs import Model, Regulariser, passes_of_step
from piva.scores.terms import Score

if TYPE_CHECKING:
    from piva.optimise import Method, Step, Work


@dataclass(frozen=True, kw_only=True)
class Optimise:
    """Steps of the task's optimiser down the score's direction (Algorithm 1)."""

    unread: ClassVar[frozenset[str]] = frozenset()
    checkpoints: ClassVar[bool] = True
    instructed: ClassVar[bool] = False

    def check(self, parts: Mapping[str, Any], run: RunSettings) -> None:
        """Accept every run."""

    def passes_of_step(self, score: Score, model: Model, regulariser: Regulariser, rows: int) -> float:
        """Return a step's rows through the U-Net, forward and backward; it has `rows` views and noises."""
        return passes_of_step(score, model, regulariser, rows)

    def edit(self, works: "Sequence[Work]", method: "Method", steps: int) -> "Iterator[tuple[Work, Step]]":
        from piva.optimise import optimise

        return optimise(works, method, steps)
