"""No regulariser: `regulariser=none`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from piva.models.denoiser import Denoiser, Query


@dataclass(frozen=True, kw_only=True)
class Unregularised:
    """The noise of a step stays as it is drawn."""

    acts: ClassVar[bool] = False

    def renoise(
        self, denoiser: "Denoiser", queries: "Sequence[Query]", originals: "Sequence[Tensor]"
    ) -> "list[Tensor]":
        raise AssertionError("it does not act")
