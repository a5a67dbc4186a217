"""One run: load the prior, then for each edit open it, optimise it, look at it, measure it, save it.

A run that was stopped goes on in its folder: finished edits are read from it, the unfinished one continues from its checkpoint.
"""

import hashlib
import logging
import resource
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from piva.config import Settings
from piva.datasets.edit import Edit
from piva.errors import InputError, WriteError
from piva.metrics.measure import measure
from piva.metrics.perceptual import Judges
from piva.models.base import LearnedModels
from piva.models.sampling import Painters, Samples
from piva.optimise import Method, Sizes, optimise
from piva.pictures import save_comparison
from piva.priors.prior import Prior
from piva.runs.checkpoint import Checkpoints, load
from piva.runs.edit_state import Clock, Underway
from piva.runs.folder import EditResult, Result, RunFolder, main_metrics
from piva.runs.progress import Journal, edits_bar
from piva.runs.provenance import check_device, provenance
from piva.runs.summary import summarise
from piva.runs.tracking import Mirror
from piva.scores.needs import learned_networks
from piva.scores.terms import Prompt
from piva.tasks.base import Randomness

log = logging.getLogger(__name__)


def run_experiment(settings: Settings, path: Path) -> Result:
    """Run every edit of checked `settings` that is not finished in `path` yet, and leave the results there.

    The folder must be held by the caller. An edit that fails is named in the summary, and the others go on. Raises `InputError`
    if results cannot be written, and if nothing but bad input was found.
    """
    check_device(settings.run.device)
    prior = settings.prior.load(settings.run.device)
    judges = settings.metrics.load(settings.run.device)
    result = _run(settings, prior, judges, RunFolder(path))
    log.info("results in %s", path)
    for row in result.rows[:3]:
        place = path / "edits" / row["id"]
        log.info("look at %s", next(iter(place.glob("turntable.mp4")), place / "after.png"))
    return result


def _run(settings: Settings, prior: Prior, judges: Judges | None, folder: RunFolder) -> Result:
    folder.write_config(settings.config)
    mirror = settings.tracker.open(settings, folder.path)
    done = _go_on(settings, folder)
    errors = _run_edits(settings, prior, judges, folder, mirror, done)
    results = _in_order(settings, done)
    summary = summarise(results, errors, about(settings, judges))
    folder.write_json("summary.json", summary)
    if mirror:
        mirror.finish(summary)
    if not errors:
        shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)
    elif not done and all(isinstance(error, InputError) for error in errors.values()):
        raise next(iter(errors.values()))
    return Result(folder.path, [result.row for result in results], summary)


def _run_edits(
    settings: Settings,
    prior: Prior,
    judges: Judges | None,
    folder: RunFolder,
    mirror: Mirror | None,
    done: dict[str, EditResult],
) -> dict[str, Exception]:
    """Run the edits that are not in `done` and add them there; returns what made others fail, by their ids."""
    errors: dict[str, Exception] = {}
    with edits_bar(len(settings.edits), len(done)) as bar:
        for edit in settings.edits:
            if edit.id in done:
                continue
            log.info('%s: "%s" -> "%s"', edit.id, edit.source_prompt, edit.target_prompt)
            try:
                done[edit.id] = result = run_edit(edit, settings, prior, judges, folder, mirror)
            except WriteError:
                raise
            except (InputError, FloatingPointError) as error:
                log.error("%s failed: %s", edit.id, error)
                errors[edit.id] = error
            else:
                log.info("%s: %.1f s, %s", edit.id, sum(result.seconds.values()), main_metrics(result.row))
                folder.write_tables(_in_order(settings, done), _cost())
                if mirror:
                    mirror.edit(result.row, folder.path / "edits" / edit.id)
            bar.update()
    return errors


def about(settings: Settings, judges: Judges | None) -> dict[str, Any]:
    """What the summary says beside the edits' numbers."""
    return {
        "metric_networks": dict(judges.names) if judges else {},
        "choices": settings.choices,
        "seed": settings.run.seed,
        "steps": settings.run.steps,
        "provenance": provenance(settings.run.device),
    }


def _go_on(settings: Settings, folder: RunFolder) -> dict[str, EditResult]:
    """What is finished already, by id; what its writer was stopped in the middle of is tidied up."""
    done = {edit.id: result for edit in settings.edits if (result := folder.finished(edit.id))}
    steps = dict.fromkeys(done, settings.run.steps)
    for edit in settings.edits:
        checkpoints = _checkpoints(folder, edit)
        if edit.id in done:
            checkpoints.clear()
        elif newest := checkpoints.newest():
            steps[edit.id], _ = newest
    folder.keep_steps(steps)
    if done:
        log.info("%d of %d edits are finished already", len(done), len(settings.edits))
        folder.write_tables(_in_order(settings, done), _cost())
    return done


def run_edit(
    edit: Edit,
    settings: Settings,
    prior: Prior,
    judges: Judges | None,
    folder: RunFolder,
    mirror: Mirror | None,
) -> EditResult:
    """Optimise one edit, from its newest checkpoint if it has one, and save its folder. Draws depend on seed and edit alone.

    Raises `FloatingPointError` if a direction or the state is not finite, and `InputError`.
    """
    clock = Clock()
    run, score = settings.run, settings.score
    randomness = Randomness(
        seeded(run.seed, edit.id, "host", "cpu"), seeded(run.seed, edit.id, "noise", run.device)
    )
    state = settings.task.open(edit, prior, run.resolution or prior.resolution, run.steps, randomness)
    prompts = {Prompt.SOURCE: edit.source_prompt, Prompt.TARGET: edit.target_prompt, Prompt.NULL: ""}
    contexts = {prompt: prior.text(text) for prompt, text in prompts.items()}
    learned = learned_networks(score, prior.schedule)
    models = (
        settings.model.attach(prior, learned, seeded(run.seed, edit.id, "lora", run.device))
        if learned
        else None
    )
    clock.lap("open_s")
    underway = Underway(
        state=state, models=models, randomness=randomness, evaluations=prior.evaluations, clock=clock
    )
    checkpoints, start = _checkpoints(folder, edit), 0
    if newest := checkpoints.newest():
        start, kept = newest
        underway.restore(load(kept))
        log.info("%s goes on after step %d", edit.id, start)
    painters = Painters(
        prior=prior,
        models=models,
        learned=learned,
        contexts=contexts,
        steps=run.samples.steps,
        guidance_scale=run.samples.guidance,
    )
    brushes = partial(seeded, run.seed, edit.id, "samples", run.device)
    samples = Samples(painters, run.samples.at, run.samples.count, brushes, underway.samples)
    journal = Journal(edit.id, range(start, run.steps), folder, mirror)

    def log_step(step: int, values: Mapping[str, Tensor | float]) -> None:
        journal(step, values)
        if (done := step + 1) in run.measure_at:
            underway.snapshots.append({"id": edit.id, "step": done} | measure(state.compare(), edit, judges))
        if done % run.checkpoint_every == 0 and done < run.steps:
            journal.flush()
            clock.lap("optimise_s")
            checkpoints.save(done, underway.checkpoint())

    try:
        if settings.objective.metric:  # a name that is not measured shows before the work, not after
            settings.objective.of(measure(state.compare(), edit, judges))
        optimise(
            state, _method(settings, prior, models), contexts, run.steps, randomness, log_step, start, samples
        )
        journal.flush()
        clock.lap("optimise_s")
        comparison = state.compare()
        named = {key: getattr(edit, key) for key in ("id", "type", "source_prompt", "target_prompt")}
        row = named | measure(comparison, edit, judges)
        with folder.edit(edit.id) as place:
            save_comparison(comparison, place)
            samples.save(place)
            save_file(
                {k: v.contiguous().cpu() for k, v in state.state_dict().items()}, place / "state.safetensors"
            )
            if models:
                models.save(place / "adapters")
            clock.lap("look_s")
            result = EditResult(
                row=row,
                snapshots=underway.snapshots,
                seconds=clock.laps,
                passes=vars(prior.evaluations).copy(),
            )
            result.write(place)
        checkpoints.clear()
    finally:
        journal.bar.close()
        if models:
            models.detach()
    return result


def _method(settings: Settings, prior: Prior, models: LearnedModels | None) -> Method:
    run = settings.run
    sizes = Sizes(
        [(round(until * run.steps), size) for until, size in zip(run.coarse_until, run.coarse, strict=True)]
    )
    return Method(settings.score, prior, models, settings.schedule, sizes)


def seeded(seed: int, edit: str, purpose: str, device: str) -> torch.Generator:
    """A generator that depends on these words alone, so that an edit draws the same alone or in a sweep."""
    digest = hashlib.sha256(f"{seed}/{edit}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def _checkpoints(folder: RunFolder, edit: Edit) -> Checkpoints:
    return Checkpoints(folder.path / "checkpoints" / edit.id)


def _in_order(settings: Settings, done: Mapping[str, EditResult]) -> list[EditResult]:
    return [done[edit.id] for edit in settings.edits if edit.id in done]


def _cost() -> dict[str, float]:
    """The process's largest resident set so far, in GB, and the threads it computes with."""
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"peak_gb": round(peak, 2), "threads": torch.get_num_threads()}
