"""The contract of a method: how an edit is made. No torch at run time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from piva.config import RunSettings
from piva.models.needs import Model, Regulariser
from piva.scores.terms import Score

if TYPE_CHECKING:
    from piva.optimise import Method, Step, Work


@runtime_checkable
class EditingMethod(Protocol):
    """Settings of how edits are made: their results are the same files, whatever made them."""

    unread: ClassVar[frozenset[str]]  # the groups that it takes nothing from
    checkpoints: ClassVar[bool]  # whether an edit can go on in its middle; else it begins anew

    instructed: ClassVar[bool]  # whether its prior is an InstructPix2Pix, and it has `instruct`

    def check(self, parts: Mapping[str, Any], run: RunSettings) -> None:
        """Raise `InputError` if it cannot do what the run asks for; `parts` are its settings by group."""

    def passes_of_step(self, score: Score, model: Model, regulariser: Regulariser, rows: int) -> float:
        """Return a step's rows through the U-Net, forward and backward, as a mean over the steps.

        `rows` are a step's views times its noises.
        """

    def edit(self, works: "Sequence[Work]", method: "Method", steps: int) -> "Iterator[tuple[Work, Step]]":
        """Take all edits on to `steps` steps, together, and yield each step after it was taken."""
