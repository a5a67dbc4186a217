"""Drawing in several processes, with one bar for the user."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

WORKERS = min(os.cpu_count() or 1, 8)


def draw_all(draw: Callable[[Job], Result], jobs: Sequence[Job], workers: int, what: str) -> list[Result]:
    """`draw(job)` of every job, in order. `draw` is a function of a module; with one worker it runs in this process."""
    from tqdm import tqdm

    bar = {"total": len(jobs), "desc": f"drawing {what} (once)", "unit": "job"}
    if workers == 1:
        return [draw(job) for job in tqdm(jobs, **bar)]
    with ProcessPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(draw, jobs), **bar))
