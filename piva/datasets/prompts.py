"""Checks on a pair of prompts that every reader makes."""

import logging

from piva.errors import InputError

log = logging.getLogger(__name__)


def check_prompts(where: object, source: str, target: str) -> None:
    """Raise `InputError` if a prompt is empty; warn if the two are equal, for then nothing tells the edit from its source."""
    for name, prompt in (("source", source), ("target", target)):
        if not prompt.strip():
            raise InputError(f"{where}: {name} prompt", "nothing", "a few words, such as 'a red mug'")
    if source == target:
        log.warning("%s: source and target prompt are both %r: no edit is asked for", where, source)
