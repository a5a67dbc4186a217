"""Cost of the W&B mirror per step, offline: `python -m benchmarks.tracker [steps]`."""

import sys
import tempfile
import time
from pathlib import Path

from piva.runs.progress import FLUSH_EVERY
from piva.runs.tracking import RunMetadata, WandB


def main(steps: int = 2000) -> None:
    rows = [
        {"edit": "a", "step": i, "t": 500, "train/direction_rms": 0.5, "train/loss_source": 0.1}
        for i in range(steps)
    ]
    with tempfile.TemporaryDirectory() as folder:
        metadata = RunMetadata(config={}, choices={}, edits=["a"], steps=steps)
        tracker = WandB(project="benchmark", mode="offline", start_timeout=5, finish_timeout=60)
        mirror = tracker.mirror(metadata, Path(folder))
        assert mirror
        mirror.steps(rows[:1])  # the first imports what wandb puts off
        wall, cpu = time.perf_counter(), time.process_time()
        for first in range(1, steps, FLUSH_EVERY):
            mirror.steps(rows[first : first + FLUSH_EVERY])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{1e3 * wall / steps:.2f} ms a step, {1e3 * cpu / steps:.2f} ms of CPU in this process")
        mirror.finish({})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
