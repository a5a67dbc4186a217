"""summary.json: a run in a few numbers, and where they come from."""

from collections.abc import Mapping, Sequence
from typing import Any

from piva.errors import one_line
from piva.runs.folder import EditResult, json_safe, means

ABOUT = ("metric_networks", "choices", "seed", "steps", "provenance")


def summarise(
    results: Sequence[EditResult], errors: Mapping[str, Exception], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Means over the finished edits, the edits that failed (`errors`, by id) and why, and what a step costs in network passes.

    `about` holds the keys of `ABOUT`; equal results make equal summaries.
    """
    rows = [result.row for result in results]
    steps = about["steps"] * len(rows)
    cost = (
        {name: sum(result.passes[name] for result in results) / steps for name in results[0].passes}
        if rows
        else {}
    )
    return {
        "mean": json_safe(means(rows)),
        "edits": [json_safe(row) for row in rows],
        "failures": [{"id": name, "reason": one_line(error)} for name, error in errors.items()],
        "unet": {f"{name}_per_step": cost[name] for name in ("forward", "backward", "calls") if rows},
        "controlnet": {
            f"{name}_per_step": cost[f"control_{name}"] for name in ("forward", "backward") if rows
        },
        **{key: about[key] for key in ABOUT},
    }
