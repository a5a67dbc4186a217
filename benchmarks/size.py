"""One step at Stable Diffusion 2.1's size on a CPU, with random weights: `make check-size`, some minutes.

DDS and Piva on a picture of 512x512, and Piva on a scene of 256x256 with a depth ControlNet, in float32, each
in a process of its own. Says seconds, peak memory and network evaluations, and fails if these are not as they
must be.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.sd_size import opened, write_photos, write_random
from piva.optimise import take_step

COMMON = ("profile=gpu", "device=cpu", "prior.dtype=float32", "metrics=pixels", "edits=1", "reference=edit")
PICTURE = ("task=image", "dataset=noe", "resolution=512")
SCENE = (
    "task=nerf",
    "dataset=noe",
    "root=toys",
    "resolution=256",
    "model=controlnet",
    "field=hash",
    "field.steps=20",
)
# overrides; rows through the U-Net forward and backward, its calls, rows of the ControlNet; gigabytes
CASES = {
    "DDS, picture of 512x512": ((*PICTURE, "score=dds"), (2, 0, 1, 0, 0), 8.5),
    "Piva, picture of 512x512": ((*PICTURE, "score=piva"), (5, 2, 2, 0, 0), 13.0),
    "Piva, scene of 256x256, ControlNet": ((*SCENE, "score=piva"), (5, 2, 2, 3, 0), 12.0),
}


def measure(prior: str, *overrides: str) -> dict[str, object]:
    """Take one step; return its seconds, the process's peak memory in GB, and the evaluations."""
    with opened(*COMMON, f"prior.path={prior}", "prior.controlnet=null", *overrides) as run:
        begin = time.perf_counter()
        ((work, step),) = take_step(run.works, run.method, 1000)
        seconds = time.perf_counter() - begin
    assert step.direction_rms.isfinite()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "s": round(seconds, 1),
        "peak_gb": round(peak, 1),
        "passes": list(vars(work.edit.evaluations).values()),
    }


def main() -> None:
    """Run every case; print a table; exit with 1 if one misses its bounds."""
    missed = []
    print("| step | seconds | peak GB | U-Net forward + backward, calls; ControlNet |\n|---|---|---|---|")
    with TemporaryDirectory() as folder:
        prior, photos = write_random(Path(folder) / "sd"), write_photos(Path(folder) / "photos", 1, 512)
        for name, (words, passes, limit) in CASES.items():
            root = (f"dataset.root={photos}",) if "task=image" in words else ()
            command = [sys.executable, "-m", "benchmarks.size", str(prior), *words, *root]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            got = json.loads(done.stdout.splitlines()[-1])
            print(f"| {name} | {got['s']} | {got['peak_gb']} | {got['passes']} |", flush=True)
            if tuple(got["passes"]) != passes or got["peak_gb"] > limit:
                missed.append(f"{name}: wanted passes {passes} and at most {limit} GB")
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(*sys.argv[1:])))
    else:
        main()
