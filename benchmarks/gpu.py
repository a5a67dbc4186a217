"""What Stable Diffusion's size costs on a GPU: `make gpu-check`, at most nine minutes on one.

Runs the tests marked gpu; writes a prior of random weights at Stable Diffusion 2.1's size; then times steps
of DDS and Piva, counts kernels and peak memory, looks for host synchronisations in a step, and fits a scene.
What tells most comes first, and `--minutes` ends it early. Writes gpu.json and the table gpu.md into `--out`.
`--dry` runs a miniature of it on the CPU, which keeps this file alive where there is no GPU.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.sd_size import NARROW, Opened, Widths, opened, write_photos, write_random
from piva.optimise import take_step
from piva.runs.provenance import provenance

HERE = Path(__file__).parent
# Not all of tests/: collecting it would want every development tool.
TESTS = [HERE.parent / "tests" / name for name in ("test_optimise.py", "nerf", "runs/test_provenance.py")]
PARTS = ("pictures", "scenes", "tests", "fit", "cheaper", "compiled")
Row = dict[str, Any]
PICTURE = ("task=image", "dataset=noe", "edits=all", "metrics=pixels", "reference=edit")
SCENE = ("task=nerf", "dataset=noe", "root=toys", "edits=1", "metrics=pixels", "reference=edit")


class Check:
    """One check of a machine: its device, its sizes and what it has measured so far."""

    def __init__(self, dry: bool, folder: Path, minutes: float) -> None:
        self.device, self.size, self.repeats = ("cpu", 64, 1) if dry else ("cuda", 512, 10)
        self.dtypes = ["float32"] if dry else ["float16", "bfloat16"]
        self.seconds = 60 * minutes
        self.batches = [1, 2] if dry else [1, 4, 8]
        self.compiles = [] if dry else ["regions", "full"]
        self.folder, self.rows, self.begin = folder, list[Row](), time.perf_counter()
        self.prior = write_random(folder / "sd", NARROW if dry else Widths(), device=self.device)
        self.photos = {n: write_photos(folder / f"photos{n}", n, self.size) for n in self.batches}
        prior = f"prior.path={self.prior}", "prior.controlnet=null"
        self.common = ("profile=gpu", f"device={self.device}", *prior)

    def pictures(self) -> None:
        """Time steps of pictures, by score and number of edits."""
        for score in ("dds", "piva"):
            for batch in self.batches:
                self._picture(batch, f"score={score}")

    def compiled(self) -> None:
        """Time compiled steps."""
        for how in self.compiles:
            for score in ("dds", "piva"):
                self._picture(1, f"score={score}", f"speed.compile={how}")

    def cheaper(self) -> None:
        """Time Piva's cheaper settings, checkpointing and the other precisions."""
        words = ["model.layers=decoder", "speed.checkpointing=true", "speed.channels_last=false"]
        for word in words + [f"prior.dtype={dtype}" for dtype in self.dtypes[1:]]:
            self._picture(1, "score=piva", word)

    def _picture(self, batch: int, *words: str) -> None:
        dtype = () if any("dtype" in word for word in words) else (f"prior.dtype={self.dtypes[0]}",)
        self._steps("picture", batch, *PICTURE, f"dataset.root={self.photos[batch]}", *words, *dtype)

    def scenes(self) -> None:
        """Time steps of a scene with a depth ControlNet; a short fit comes before them."""
        for score in ("dds", "piva"):
            words = (f"score={score}", "model=controlnet", "model.path=null", f"prior.dtype={self.dtypes[0]}")
            sizes = ("field=hash", "field.steps=10") if self.device == "cpu" else ("field.steps=100",)
            self._steps("scene, ControlNet", 1, *SCENE, *words, *sizes)

    def _steps(self, what: str, batch: int, *overrides: str) -> None:
        """Add a row of one kind of step: milliseconds, kernels, gigabytes, synchronisations; none if late."""
        if time.perf_counter() - self.begin > self.seconds:
            return
        row: Row = {"what": what, "batch": batch, "settings": " ".join(_told(overrides))}
        try:
            with opened(*self.common, *overrides, f"resolution={self.size}") as run:
                row |= self._measured(run)
        except Exception as error:  # the others still say something
            row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def _measured(self, run: Opened) -> Row:
        def step() -> None:
            take_step(run.works, run.method, 1000)

        begin = time.perf_counter()
        step(), step()  # what is made once: kernels chosen, graphs compiled
        self._wait()
        first = time.perf_counter() - begin
        with _peak(self.device) as peak:
            milliseconds = 1e3 * self._seconds(step)
        return {
            "first_s": round(first, 1),
            "ms": round(milliseconds, 1),
            "ms_an_edit": round(milliseconds / len(run.works), 1),
            "launches": self._launches(step),
            "syncs": self._synchronisations(step),
            **peak,
        }

    def _seconds(self, work: Callable[[], None]) -> float:
        self._wait()
        begin = time.perf_counter()
        for _ in range(self.repeats):
            work()
        self._wait()
        return (time.perf_counter() - begin) / self.repeats

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _launches(self, work: Callable[[], None]) -> int | None:
        """Return the kernels of one call, None without a GPU."""
        if self.device == "cpu":
            return None
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            work()
            self._wait()
        kernels = [
            event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA
        ]
        return len(kernels)

    def _synchronisations(self, work: Callable[[], None]) -> str | None:
        """Return where one call first waits for the device, "none" if nowhere; None without a GPU."""
        if self.device == "cpu":
            return None
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
        except RuntimeError as error:
            return str(error).splitlines()[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return "none"

    def tests(self) -> None:
        """Run the tests marked gpu."""
        if self.device == "cpu":
            return
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *map(str, TESTS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout[-4000:], flush=True)
        says = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()[-1]
        self.rows.append({"what": "tests", "settings": "-m gpu", "says": says})

    def fit(self) -> None:
        """Time the fit of a scene by its command-line benchmark."""
        words = ["edits=1", "field=hash", f"device={self.device}"] + (
            ["field.steps=20"] if self.device == "cpu" else []
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fit", *words], capture_output=True, text=True, check=False
        )
        last = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()[-1]
        self.rows.append({"what": "fit", "settings": " ".join(words), "says": last})
        print(json.dumps(self.rows[-1]), flush=True)

    def write(self, to: Path) -> None:
        """Write gpu.json and gpu.md."""
        origin = provenance(self.device)
        seconds = round(time.perf_counter() - self.begin)
        (to / "gpu.json").write_text(
            json.dumps({"provenance": origin, "seconds": seconds, "rows": self.rows}, indent=1)
        )
        keys = [
            "what",
            "batch",
            "settings",
            "ms",
            "ms_an_edit",
            "launches",
            "syncs",
            "peak_gb",
            "first_s",
            "error",
        ]
        lines = [
            f"# Steps at Stable Diffusion's size\n\n`make gpu-check` in {seconds} s: {json.dumps(origin)}\n"
        ]
        lines += ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
        lines += [
            "| " + " | ".join(str(row.get(key, "")) for key in keys) + " |"
            for row in self.rows
            if "says" not in row
        ]
        lines += [f"\n{row['what']}: `{row['says']}`" for row in self.rows if "says" in row]
        (to / "gpu.md").write_text("\n".join(lines) + "\n")


@contextmanager
def _peak(device: str) -> Iterator[Row]:
    """Give the peak of the device's memory within, in GB, once it is left."""
    row: Row = {}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield row
    row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2) if device == "cuda" else None


def _told(overrides: tuple[str, ...]) -> list[str]:
    """Return the overrides that tell one row from another."""
    return [
        word for word in overrides if not word.startswith(("dataset", "edits", "metrics", "root", "task"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="a miniature on the CPU")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no other row is begun")
    parser.add_argument("--out", type=Path, default=HERE, help="a folder for gpu.json and gpu.md")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    dry = arguments.dry
    if not dry and not torch.cuda.is_available():
        sys.exit("no GPU here: `make gpu-check` wants one; `python -m benchmarks.gpu --dry` runs without")
    with TemporaryDirectory() as folder:
        check = Check(dry, Path(folder), arguments.minutes)
        to = Path(folder) if dry else arguments.out
        for part in arguments.parts:
            getattr(check, part)()
            check.write(to)  # a run that is cut short leaves what it has


if __name__ == "__main__":
    main()
