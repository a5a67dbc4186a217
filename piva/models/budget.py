"""How many steps a budget of network passes allows: `passes=N` in place of `steps=N`. No torch."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from piva.errors import InputError
from piva.models.needs import passes_before
from piva.scores.terms import guided_from

BETWEEN = 0.382  # of a run: where its guidance is hardly just 1, at which a step costs less than the others


def steps_within(
    passes: int, parts: Mapping[str, Any], noises: int, guidance_start: float | None, relevance_noises: int
) -> int:
    """Return how many steps of an edit take no more rows through the U-Net, forward and backward, than
    `passes`; `parts` are the run's settings by group.

    Raises `InputError` if not one does, and for a direction that asks no network.
    """
    method, score, model, task = (parts[name] for name in ("method", "score", "model", "task"))
    guided = guided_from(score, guidance_start, BETWEEN)
    step = method.passes_of_step(guided, model, parts["regulariser"], task.views * noises)
    before = 0
    if "score" not in method.unread:
        before += passes_before(score, model, task.views)
        located = 2 * relevance_noises * task.views
        if task.renders:  # its views are new in each step
            step += located
        else:
            before += located
    if not step:
        wanted = "a direction that asks the network, or steps=N"
        raise InputError("passes", f"{passes}, of which a step takes none", wanted)
    if passes < before + step:
        each = f"{step:g} for a step" + (f" and {before} before the first" if before else "")
        raise InputError("passes", str(passes), f"at least {ceil(before + step)}: {each}")
    return int((passes - before) / step)
