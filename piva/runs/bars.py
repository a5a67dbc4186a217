"""How work that takes long shows that it goes on: a bar on a terminal and in a notebook, lines in a log."""

import logging
import sys
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as moving

log = logging.getLogger(__name__)

EVERY_S = 30.0  # from one line of a log to the next
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, {remaining} to go"


class _Log:
    """The file that a bar without a terminal writes to."""

    def write(self, text: str) -> None:
        if line := text.strip():
            log.info("%s", line)

    def flush(self) -> None:
        """Keep nothing back."""


def watched() -> bool:
    """Return whether a bar that moves can be seen: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or moving.__mro__[1].__module__ == "tqdm.notebook"


def bar(total: int, name: str, unit: str, done: int = 0) -> Any:
    """Return a tqdm bar over `total` units, `done` of them before; unwatched, it writes lines to the log."""
    if watched():
        return moving(total=total, initial=done, desc=name, unit=unit, leave=False)
    quiet = {"mininterval": EVERY_S, "maxinterval": EVERY_S, "miniters": 1, "delay": EVERY_S}
    return tqdm(
        total=total, initial=done, desc=name, unit=unit, leave=False, file=_Log(), bar_format=LINE, **quiet
    )
