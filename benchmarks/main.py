"""Time, memory and network evaluations of main commands: `make bench` or `python -m benchmarks.main FOLDER`.

Each command runs in a process of its own with an empty cache, as for a new user.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = [
    "task=nerf dataset=noe score=piva lambda=0.4",
    "task=nerf dataset=noe score=piva lambda=0.4 score.reference=edit",
    "task=nerf dataset=noe score=dds",
    "task=image dataset=noe score=piva lambda=0.4",
    "task=image dataset=noe score=piva lambda=0.4 score.reference=edit",
    "task=image dataset=noe score=dds",
    "task=image dataset=noe score=dds score.reference=edit",
]


def main(folder: Path) -> None:
    print("| command | in all, s | fit, s | edit steps | ms a step | peak GB | U-Net passes a step (calls) |")
    print("|---|---|---|---|---|---|---|")
    for index, overrides in enumerate(COMMANDS):
        out = folder / str(index)
        environment = {**os.environ, "PIVA_CACHE": str(folder / f"cache-{index}")}
        begin = time.perf_counter()
        command = [sys.executable, "-m", "piva.run", *overrides.split(), f"hydra.run.dir={out}"]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        seconds = time.perf_counter() - begin
        timing = json.loads((out / "timing.json").read_text())
        summary = json.loads((out / "summary.json").read_text())
        unet, edit = summary["unet"], timing["edits"][0]
        passes = f"{unet['forward_per_step']:g} + {unet['backward_per_step']:g} ({unet['calls_per_step']:g})"
        step = 1000 * edit["optimise_s"] / summary["steps"]
        cells = f"{seconds:.0f} | {edit['open_s']} | {summary['steps']} | {step:.0f} | {timing['peak_gb']}"
        print(f"| {overrides} | {cells} | {passes} |")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
