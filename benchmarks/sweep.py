"""Speed-up of two parallel runs over one after the other: `python -m benchmarks.sweep [REPEATS] [OVERRIDE]`.

Each run is a process of its own, as in a sweep by hydra/launcher=joblib, and counts from its start to its
end: a run's imports and loading are part of a sweep. "One after the other" is the better of one thread and
all. The load beside the runs is shown: on a busy machine the ratio says little.
"""

import os
import subprocess
import sys
import tempfile
import time

SWEEP = ("-m", "seed=0,1", "task=image", "dataset=noe", "score=piva", "dataset.edits=[mug/blue]")


def seconds(launcher: str, threads: int, overrides: tuple[str, ...]) -> float:
    """Return the seconds that a sweep of two runs takes."""
    limit = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    with tempfile.TemporaryDirectory() as folder:
        place = f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}/sweep"
        command = [sys.executable, "-m", "piva.run", *SWEEP, *overrides, *place]
        begin = time.perf_counter()
        subprocess.run(command, env=os.environ | limit, check=True, capture_output=True)
        return time.perf_counter() - begin


def main(repeats: int = 1, *overrides: str) -> None:
    cores = len(os.sched_getaffinity(0))
    overrides = ("steps=100", *overrides)  # enough that starting up is a small part
    seconds("basic", 1, (*overrides, "steps=1"))  # the toys are drawn, the files are in memory
    print("| load before | one after the other, 1 thread | ..., all threads | in parallel | ratio |")
    print("|---|---|---|---|---|")
    for _ in range(repeats):
        load = os.getloadavg()[0]
        one, every = seconds("basic", 1, overrides), seconds("basic", cores, overrides)
        parallel = seconds("joblib", max(cores // 2, 1), overrides)
        times = f"{one:.1f} s | {every:.1f} s | {parallel:.1f} s"
        print(f"| {load:.1f} | {times} | {min(one, every) / parallel:.2f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, *sys.argv[2:])
