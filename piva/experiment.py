"""One run: load the prior, then for each edit open it, optimise it, look at it, measure it, save it."""

import hashlib
import logging
import math
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from piva.config import Settings
from piva.machine import check_device, provenance
from piva.metrics.measure import measure
from piva.metrics.perceptual import Judges
from piva.optimise import Method, Sizes, Timesteps, optimise
from piva.pictures import save_comparison
from piva.priors.prior import Prior
from piva.results import Result, RunFolder, json_safe, means
from piva.sampling import Painters, Samples
from piva.scores.evaluate import learned_networks
from piva.scores.terms import Prompt
from piva.tracking import Mirror
from piva.types import Edit, Randomness

log = logging.getLogger(__name__)

FLUSH_EVERY = 25  # steps between two readings of the device's numbers


def run_experiment(settings: Settings, path: Path) -> Result:
    """Run every edit of checked `settings` and leave the results in `path`."""
    device = settings.run.device
    check_device(device)
    prior = settings.prior.load(device)
    judges = settings.metrics.load(device)
    folder = RunFolder(path)
    folder.write_config(settings.config)
    mirror = settings.tracker.open(settings, path)
    rows: list[dict[str, Any]] = []
    snapshots: list[dict[str, Any]] = []
    timing: list[dict[str, Any]] = []
    for edit in settings.edits:
        log.info('%s: "%s" -> "%s"', edit.id, edit.source_prompt, edit.target_prompt)
        row, early, seconds = run_edit(edit, settings, prior, judges, folder, mirror)
        rows.append(row)
        snapshots += early
        timing.append({"id": edit.id, **seconds})
        folder.write_rows("metrics.csv", rows)
        if snapshots:
            folder.write_rows("snapshots.csv", snapshots)
        folder.write_json("timing.json", {"edits": timing, "peak_gb": _peak_gb()})
        if mirror:
            mirror.edit(row, path / "edits" / edit.id)
    summary = summarise(settings, prior, judges, rows)
    folder.write_json("summary.json", summary)
    if mirror:
        mirror.finish(summary)
    log.info("results in %s", path)
    for edit in settings.edits[:3]:
        log.info(
            "look at %s",
            next(iter(sorted((path / "edits" / edit.id).glob("turntable.mp4"))), path / "edits" / edit.id / "after.png"),
        )
    return Result(path, rows, summary)


def run_edit(
    edit: Edit, settings: Settings, prior: Prior, judges: Judges | None, folder: RunFolder, mirror: Mirror | None
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, float]]:
    """Optimise one edit and save its folder. Every draw depends on seed and edit alone.

    Returns its row of metrics.csv, its rows of snapshots.csv, and the seconds its stages took.
    """
    clock = Clock()
    run, score = settings.run, settings.score
    host = seeded(run.seed, edit.id, "host", "cpu")
    randomness = Randomness(host, seeded(run.seed, edit.id, "noise", run.device))
    size = run.resolution or prior.resolution
    state = settings.task.open(edit, prior, size, run.steps, randomness)
    prompts = {Prompt.SOURCE: edit.source_prompt, Prompt.TARGET: edit.target_prompt, Prompt.NULL: ""}
    contexts = {prompt: prior.text(text) for prompt, text in prompts.items()}
    learned = learned_networks(score, prior.schedule)
    adapters = settings.model.attach(prior, learned, seeded(run.seed, edit.id, "lora", run.device)) if learned else None
    length = len(prior.schedule)
    low, high, late = (round(t * length) for t in (run.t_min, run.t_max, run.t_max_late))
    timesteps = Timesteps(low, high, late, round(run.late_from * run.steps))
    sizes = Sizes([(round(until * run.steps), size) for until, size in zip(run.coarse_until, run.coarse, strict=True)])
    method = Method(score, prior, adapters, timesteps, sizes)
    painters = Painters(
        prior=prior,
        models=adapters,
        learned=learned,
        contexts=contexts,
        steps=run.samples_steps,
        guidance_scale=run.samples_guidance,
    )
    samples = Samples(painters, run.samples_at, run.samples, lambda: seeded(run.seed, edit.id, "samples", run.device))
    clock.lap("open_s")
    journal = Journal(edit.id, run.steps, folder, mirror)
    snapshots: list[dict[str, Any]] = []

    def log_step(step: int, values: Mapping[str, Tensor | float]) -> None:
        journal(step, values)
        if step + 1 in run.measure_at:
            snapshots.append({"id": edit.id, "step": step + 1} | measure(state.compare(), edit, judges))

    try:
        optimise(state, method, contexts, run.steps, randomness, log_step, samples)
        journal.close()
        clock.lap("optimise_s")
        comparison = state.compare()
        with folder.edit(edit.id) as place:
            save_comparison(comparison, place)
            samples.save(place)
            save_file({k: v.contiguous().cpu() for k, v in state.state_dict().items()}, place / "state.safetensors")
            if adapters:
                adapters.save(place / "adapters")
    finally:
        journal.bar.close()
        if adapters:
            adapters.detach()
    about = {"id": edit.id, "type": edit.type, "source_prompt": edit.source_prompt, "target_prompt": edit.target_prompt}
    row = about | measure(comparison, edit, judges)
    clock.lap("look_s")
    return row, snapshots, clock.laps


class Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 2), now


class Journal:
    """Collects what the loop logs, one row a step, and reads the device's numbers now and then: a progress bar and a file."""

    def __init__(self, edit: str, steps: int, folder: RunFolder, mirror: Mirror | None) -> None:
        self._edit, self._folder, self._mirror = edit, folder, mirror
        self._waiting: list[dict[str, Tensor | float]] = []
        self.bar = tqdm(total=steps, desc=edit, unit="step", disable=None, dynamic_ncols=True)

    def __call__(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        self._waiting.append({"step": step, **values})
        self.bar.update()
        if len(self._waiting) == FLUSH_EVERY:
            self.close()

    def close(self) -> None:
        """Write what waits. Raises `FloatingPointError` if a direction was not finite."""
        rows = [{"edit": self._edit} | {k: _rounded(v) for k, v in row.items()} for row in self._waiting]
        self._waiting = []
        self._folder.append_steps([json_safe(row) for row in rows])
        if self._mirror:
            self._mirror.steps(rows)
        for row in rows:
            if not math.isfinite(row["train/direction_rms"]):  # type: ignore[arg-type]
                raise FloatingPointError(f"edit {self._edit}, step {row['step']}, t {row['t']}: the direction is not finite")
        if rows:
            self.bar.set_postfix(direction_rms=rows[-1]["train/direction_rms"], refresh=False)


def summarise(settings: Settings, prior: Prior, judges: Judges | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the edits, the cost of a step in passes of the networks, and where the numbers come from."""
    steps = settings.run.steps * len(rows)
    cost = {name: count / steps for name, count in asdict(prior.evaluations).items()}
    return {
        "mean": json_safe(means(rows)),
        "edits": [json_safe(row) for row in rows],
        "unet": {f"{name}_per_step": cost[name] for name in ("forward", "backward", "calls")},
        "controlnet": {f"{name}_per_step": cost[f"control_{name}"] for name in ("forward", "backward")},
        "metric_networks": dict(judges.names) if judges else {},
        "choices": settings.choices,
        "seed": settings.run.seed,
        "steps": settings.run.steps,
        "provenance": provenance(settings.run.device),
    }


def seeded(seed: int, edit: str, purpose: str, device: str) -> torch.Generator:
    """A generator that depends on these words alone, so that an edit draws the same alone or in a sweep."""
    digest = hashlib.sha256(f"{seed}/{edit}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def _rounded(value: Tensor | float) -> float | int:
    number = value.item() if isinstance(value, Tensor) else value
    return float(f"{number:.6g}") if isinstance(number, float) else number


def _peak_gb() -> float:
    """The process's largest resident set so far, in GB."""
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2)
