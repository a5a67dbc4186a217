"""One run: load the prior, then open, optimise, measure and save each edit.

A stopped run is resumed in its folder: finished edits are read, the unfinished one continues from its
checkpoint.
"""

import hashlib
import logging
import resource
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from piva.config import RunSettings, Settings
from piva.datasets.edit import Edit
from piva.errors import InputError, WriteError
from piva.metrics.comparison import save_comparison
from piva.metrics.measure import measure
from piva.metrics.perceptual import MetricNetworks
from piva.models.learned import Denoiser, needs
from piva.models.sampling import Sampler, save_samples
from piva.optimise import Method, Sizes, optimise
from piva.priors.prior import Prior
from piva.runs.checkpoint import Checkpoints, Clock, EditState, load
from piva.runs.folder import EditRecord, RunFolder, main_metrics, summarise
from piva.runs.progress import StepLogger, edits_bar
from piva.runs.provenance import check_device, forget_peak, peak_gpu_gb, provenance
from piva.runs.run import Run
from piva.runs.tracking import Mirror
from piva.scores.terms import EDIT, Prompt
from piva.tasks.base import Randomness

log = logging.getLogger(__name__)


def run_experiment(settings: Settings, path: Path) -> Run:
    """Run every edit of checked `settings` that is not finished in `path` yet, and write the results there.

    The caller must hold the folder's lock. An edit that fails is named in the summary, and the others go on.
    Raises `InputError` if results cannot be written, and if no edit was finished for bad input alone.
    """
    run, folder = settings.run, RunFolder(path)
    check_device(run.device)
    forget_peak(run.device)
    prior = settings.prior.load(run.device)
    networks = settings.metrics.load(run.device)
    folder.write_config(settings.config)
    mirror = settings.tracker.open(settings, path)
    done = _resume(settings, folder)
    errors = _run_edits(settings, prior, networks, folder, mirror, done)
    results = _in_order(settings, done)
    metadata = {
        "metric_networks": dict(networks.names) if networks else {},
        "choices": settings.choices,
        "seed": run.seed,
        "steps": run.steps,
        "provenance": provenance(run.device),
    }
    summary = summarise(results, errors, metadata)
    folder.write_json("summary.json", summary)
    if mirror:
        mirror.finish(summary)
    if not errors:
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
    elif not done and all(isinstance(error, InputError) for error in errors.values()):
        raise next(iter(errors.values()))
    log.info("results in %s", path)
    for result in results[:3]:
        place = path / "edits" / result.row["id"]
        log.info("look at %s", next(iter(place.glob("turntable.mp4")), place / "after.png"))
    return Run.read(path)


def _run_edits(
    settings: Settings,
    prior: Prior,
    networks: MetricNetworks | None,
    folder: RunFolder,
    mirror: Mirror | None,
    done: dict[str, EditRecord],
) -> dict[str, Exception]:
    """Run the edits that are not in `done` and add them; return the errors of others by id."""
    errors: dict[str, Exception] = {}
    with edits_bar(len(settings.edits), len(done)) as bar:
        for edit in settings.edits:
            if edit.id in done:
                continue
            log.info('%s: "%s" -> "%s"', edit.id, edit.source_prompt, edit.target_prompt)
            try:
                done[edit.id] = result = run_edit(edit, settings, prior, networks, folder, mirror)
            except WriteError:
                raise
            except (InputError, FloatingPointError) as error:
                log.error("%s failed: %s", edit.id, error)
                errors[edit.id] = error
            else:
                log.info("%s: %.1f s, %s", edit.id, sum(result.seconds.values()), main_metrics(result.row))
                folder.write_tables(_in_order(settings, done), _cost(settings.run.device))
                if mirror:
                    mirror.edit(result.row, folder.path / "edits" / edit.id)
            bar.update()
    return errors


def _resume(settings: Settings, folder: RunFolder) -> dict[str, EditRecord]:
    """Return the finished edits by id; drop what a stopped process logged after its checkpoint."""
    done = {edit.id: result for edit in settings.edits if (result := folder.record(edit.id))}
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
        folder.write_tables(_in_order(settings, done), _cost(settings.run.device))
    return done


def run_edit(
    edit: Edit,
    settings: Settings,
    prior: Prior,
    networks: MetricNetworks | None,
    folder: RunFolder,
    mirror: Mirror | None,
) -> EditRecord:
    """Optimise one edit, from its newest checkpoint if it has one, and save its folder.

    Draws depend on seed and edit alone. Raises `FloatingPointError` if a direction or the state is not
    finite, and `InputError`.
    """
    run, clock = settings.run, Clock()
    generator = partial(seeded, run.seed, edit.id)
    randomness = Randomness(generator("host", "cpu"), generator("noise", run.device))
    state = settings.task.open(edit, prior, run.resolution or prior.resolution, run.steps, randomness)
    prompts = {Prompt.SOURCE: edit.source_prompt, Prompt.TARGET: edit.target_prompt, Prompt.NULL: ""}
    contexts = {prompt: prior.text(text) for prompt, text in prompts.items()}
    learned = needs(settings.score).learned
    models = settings.model.attach(prior, learned, generator("lora", run.device)) if learned else None
    denoiser = Denoiser(prior, contexts, models)
    method = Method(settings.score, settings.schedule, denoiser, _sizes(run))
    sampler = Sampler(
        denoiser=denoiser, learned=learned, steps=run.samples.steps, guidance_scale=run.samples.guidance
    )
    clock.lap("open_s")
    edit_state = EditState(
        state=state, models=models, randomness=randomness, evaluations=prior.evaluations, clock=clock
    )
    checkpoints, start = _checkpoints(folder, edit), 0
    if newest := checkpoints.newest():
        start, path = newest
        edit_state.restore(load(path))
        log.info("%s goes on after step %d", edit.id, start)
    logger = StepLogger(edit.id, range(start, run.steps), folder, mirror)
    try:
        if settings.objective.metric:  # a name that is not measured shows before the work, not after
            settings.objective.of(measure(state.compare(), edit, networks))
        for step in optimise(state, method, run.steps, randomness, start):
            done = step.index + 1
            logger(step.index, step.logged)
            if done in run.measure_at:
                measured = measure(state.compare(), edit, networks)
                edit_state.snapshots.append({"id": edit.id, "step": done} | measured)
            if done in run.samples.at:  # always from the same noise, so that steps can be compared
                noise = generator("samples", run.device)
                samples = sampler.sample(step.view.latents[EDIT], step.view.depth, run.samples.count, noise)
                edit_state.samples[str(done)] = samples.cpu()
            if done % run.checkpoint_every == 0 and done < run.steps:
                logger.flush()
                clock.lap("optimise_s")
                checkpoints.save(done, edit_state.checkpoint())
        logger.flush()
        clock.lap("optimise_s")
        result = _save(edit, edit_state, networks, folder)
        checkpoints.clear()
    finally:
        logger.bar.close()
        if models:
            models.detach()
    return result


def _save(
    edit: Edit, edit_state: EditState, networks: MetricNetworks | None, folder: RunFolder
) -> EditRecord:
    """Measure an optimised edit and write its folder."""
    comparison = edit_state.state.compare()
    row = {key: getattr(edit, key) for key in ("id", "type", "source_prompt", "target_prompt")}
    row |= measure(comparison, edit, networks)
    tensors = {name: x.contiguous().cpu() for name, x in edit_state.state.state_dict().items()}
    with folder.edit(edit.id) as place:
        save_comparison(comparison, place)
        save_samples(edit_state.samples, place)
        save_file(tensors, place / "state.safetensors")
        if edit_state.models:
            edit_state.models.save(place / "adapters")
        edit_state.clock.lap("look_s")
        result = EditRecord(
            row=row,
            snapshots=edit_state.snapshots,
            seconds=edit_state.clock.laps,
            passes=vars(edit_state.evaluations).copy(),
        )
        result.write(place)
    return result


def _sizes(run: RunSettings) -> Sizes:
    until = [round(part * run.steps) for part in run.coarse_until]
    return Sizes(list(zip(until, run.coarse, strict=True)))


def seeded(seed: int, edit: str, purpose: str, device: str) -> torch.Generator:
    """Return a generator of these arguments alone, so that an edit draws the same alone and in a sweep."""
    digest = hashlib.sha256(f"{seed}/{edit}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def _checkpoints(folder: RunFolder, edit: Edit) -> Checkpoints:
    return Checkpoints(folder.path / "checkpoints" / edit.id)


def _in_order(settings: Settings, done: Mapping[str, EditRecord]) -> list[EditRecord]:
    return [done[edit.id] for edit in settings.edits if edit.id in done]


def _cost(device: str) -> dict[str, float | None]:
    """Return the process's largest resident set and the run's peak on its GPU so far, in GB, and the number
    of compute threads.
    """
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    gpu = peak_gpu_gb(device)
    return {"peak_gb": round(peak, 2), "peak_gpu_gb": gpu, "threads": torch.get_num_threads()}
