"""One run: load the prior, then open, optimise, measure and save its edits, one by one or in batches.

A stopped run is resumed in its folder: finished edits are read, others continue from their checkpoints.
"""

import gc
import logging
import resource
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from piva.config import RunSettings, Settings
from piva.datasets.edit import Edit
from piva.errors import InputError, WriteError, one_line, out_of_memory
from piva.experiment import memory
from piva.experiment.edit import Bench, Callback, EditRun, checkpoints
from piva.metrics.pixels import psnr
from piva.models.denoiser import Denoiser
from piva.optimise import LossRegulariser, Method, NoiseRegulariser, Sizes
from piva.priors.prior import Prior
from piva.priors.words import REAL
from piva.runs.folder import EditRecord, RunFolder, main_metrics, summarise
from piva.runs.progress import edits_bar, steps_bar
from piva.runs.provenance import forget_peak, peak_gpu_gb, provenance
from piva.runs.run import Run
from piva.tasks.image import fitting, read_pictures, resize

log = logging.getLogger(__name__)

# What the toys' autoencoder gives back at 64x64, measured: toys before plain grounds 22.9 to 38.7 dB (242
# pictures), in rooms 21.0 to 27.4 (56); scikit-image's 26 photos and drawings 14.2 to 31.0, eleven below 20.
LEAST_DB = 20.0

Errors = dict[str, Exception]  # why edits failed, by id


def run_experiment(settings: Settings, path: Path, callback: Callback | None = None) -> Run:
    """Run every edit of checked `settings` that is not finished in `path` yet, and write the results there.

    `callback` is told of each step of each edit; what it raises ends the run, which can be resumed.
    The caller must hold the folder's lock, and know that the device is there.
    An edit that fails is named in the summary, and the others go on.
    Raises `InputError` if results cannot be written, and if no edit was finished for bad input alone.
    """
    run, folder = settings.run, RunFolder(path)
    forget_peak(run.device)
    prior = settings.prior.load(run.device)
    if settings.prior.only_toys:
        _check_toys(settings.edits, prior)
    run.speed.apply(prior)
    learns = "model" not in settings.unread
    denoiser = settings.model.denoiser(prior) if learns else Denoiser(prior)
    memory.tell(settings, denoiser)
    networks = settings.metrics.load(run.device)
    folder.write_config(settings.config)
    mirror = settings.tracker.open(settings, path)
    regulariser = settings.regulariser
    method = Method(
        schedule=settings.schedule,
        denoiser=denoiser,
        sizes=_sizes(run),
        noises=run.noises,
        learning_steps=settings.model.steps_per_iteration,
        guidance_start=run.guidance_start,
        relevance=run.relevance if run.relevance.noises and settings.task.renders else None,
        regulariser=regulariser if isinstance(regulariser, NoiseRegulariser | LossRegulariser) else None,
        lpips=networks.lpips if networks else None,
    )
    bench = Bench(
        settings=settings, method=method, networks=networks, folder=folder, mirror=mirror, callback=callback
    )
    done = _resume(settings, folder)
    try:
        errors = _run_edits(bench, done)
    finally:
        denoiser.detach()
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
        log.info("look at %s", next(iter(place.glob("turntable.mp4")), place / "comparison.png"))
    return Run.read(path)


def _check_toys(edits: Sequence[Edit], prior: Prior) -> None:
    """Raise `InputError` for a picture that the toys' autoencoder does not give back."""
    for path in dict.fromkeys(edit.image for edit in edits if edit.image):
        picture = read_pictures([path]).contiguous().to(prior.device)
        height, width = picture.shape[-2:]
        picture = resize(picture, fitting((height, width), prior.resolution, prior.factor))
        with torch.no_grad():
            fidelity = float(psnr(prior.decode(prior.encode(picture)), picture))
        if fidelity < LEAST_DB:
            found = f"a picture that prior=toys gives back at {fidelity:.1f} dB"
            wanted = f"one of toys, {LEAST_DB:g} dB and more (piva toys lists some)"
            raise InputError(path, found, wanted, REAL)


def _run_edits(bench: Bench, done: dict[str, EditRecord]) -> Errors:
    """Run the edits that are not in `done`, in batches, and add them; return why others failed, in order."""
    settings, errors = bench.settings, Errors()
    waiting = [edit for edit in settings.edits if edit.id not in done]
    with edits_bar(len(settings.edits), len(done)) as bar:
        for first in range(0, len(waiting), settings.run.batch):
            batch = waiting[first : first + settings.run.batch]
            errors |= _run_batch(bench, batch, done)
            bar.update(len(batch))
    return {edit.id: errors[edit.id] for edit in settings.edits if edit.id in errors}


def _run_batch(bench: Bench, edits: Sequence[Edit], done: dict[str, EditRecord]) -> Errors:
    """Run some edits together; where they do not fit in memory, halves of them, at last each one alone."""
    try:
        return _run_together(bench, edits, done)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        reason = one_line(error)
    gc.collect()  # the traceback, which held the batch's tensors, is gone
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    left = [edit for edit in edits if edit.id not in done]
    if len(edits) == 1:
        wanted = "less: a smaller resolution, or another switch of docs/stable_diffusion.md"
        errors: Errors = {edit.id: InputError(edit.id, f"no memory left ({reason})", wanted) for edit in left}
        log.error("%s failed: %s", left[0].id, errors[left[0].id])
        return errors
    half = (len(left) + 1) // 2
    log.warning("%d edits together do not fit in memory (%s): going on with %d", len(edits), reason, half)
    _keep_steps(bench.settings, bench.folder, done)
    errors = _run_batch(bench, left[:half], done)
    return errors | (_run_batch(bench, left[half:], done) if left[half:] else {})


def _run_together(bench: Bench, edits: Sequence[Edit], done: dict[str, EditRecord]) -> Errors:
    """Run some edits, a step of each at a time, and add those that are finished to `done`."""
    run, errors = bench.settings.run, Errors()
    opened: list[EditRun] = []
    for edit in edits:
        log.info('%s: "%s" -> "%s"', edit.id, edit.source_prompt, edit.target_prompt)
        with _failing(edit, errors):
            opened.append(EditRun(edit, bench))
    for each in opened:
        each.begin(len(opened))
    by_work = {id(each.work): each for each in opened}
    start = sum(each.work.step for each in opened)
    with steps_bar([each.edit.id for each in opened], run.steps, start) as bar:
        works = [each.work for each in opened]
        for work, step in bench.settings.method.edit(works, bench.method, run.steps):
            by_work[id(work)].after(step)
            bar.update()
    for each in opened:
        with _failing(each.edit, errors):
            _finish(each, bench, done)
    return errors


@contextmanager
def _failing(edit: Edit, errors: Errors) -> Iterator[None]:
    """Add to `errors` why the block failed; a folder that cannot be written ends the run."""
    try:
        yield
    except WriteError:
        raise
    except (InputError, FloatingPointError) as error:
        log.error("%s failed: %s", edit.id, error)
        errors[edit.id] = error


def _finish(each: EditRun, bench: Bench, done: dict[str, EditRecord]) -> None:
    """Save a finished edit and the tables that it belongs to."""
    name = each.edit.id
    done[name] = record = each.finish()
    log.info("%s: %.1f s, %s", name, sum(record.seconds.values()), main_metrics(record.row))
    bench.folder.write_tables(_in_order(bench.settings, done), _cost(bench.settings.run.device))
    if bench.mirror:
        bench.mirror.edit(record.row, bench.folder.path / "edits" / name)


def _resume(settings: Settings, folder: RunFolder) -> dict[str, EditRecord]:
    """Return the finished edits by id; drop what a stopped process logged after its checkpoint."""
    done = {edit.id: result for edit in settings.edits if (result := folder.record(edit.id))}
    _keep_steps(settings, folder, done)
    if done:
        log.info("%d of %d edits are finished already", len(done), len(settings.edits))
        folder.write_tables(_in_order(settings, done), _cost(settings.run.device))
    return done


def _keep_steps(settings: Settings, folder: RunFolder, done: Mapping[str, EditRecord]) -> None:
    """Keep the logged steps of finished edits, and of the others those before their newest checkpoints."""
    steps = dict.fromkeys(done, settings.run.steps)
    for edit in settings.edits:
        if edit.id in done:
            checkpoints(folder, edit).clear()
        elif newest := checkpoints(folder, edit).newest():
            steps[edit.id], _ = newest
    folder.keep_steps(steps)


def _sizes(run: RunSettings) -> Sizes:
    until = [round(part * run.steps) for part in run.coarse_until]
    return Sizes(list(zip(until, run.coarse, strict=True)))


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
