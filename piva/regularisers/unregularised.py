"""No regulariser: `regulariser=none`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Unregularised:
    """The noise of a step stays as it is drawn."""
