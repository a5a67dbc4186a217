"""One edit at work: opened or gone on with, logged, measured, sampled, checkpointed and saved."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from piva.config import Settings
from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.metrics.comparison import save_comparison
from piva.metrics.measure import measure
from piva.metrics.perceptual import MetricNetworks
from piva.models.denoiser import Conditioning, NetworkEvaluations
from piva.models.learned import LearnedModels
from piva.models.needs import needs
from piva.models.sampling import Sampler, save_samples
from piva.optimise import Method, Step, Work, learn_source
from piva.runs.checkpoint import Checkpoints, Clock, EditState, explained, load
from piva.runs.folder import EditRecord, RunFolder
from piva.runs.progress import StepLogger
from piva.runs.tracking import Mirror
from piva.scores.terms import EDIT, ORIGINAL, Network, Prompt
from piva.tasks.base import PhotographedState, Randomness

log = logging.getLogger(__name__)


Source = tuple[Path | None, Path | None, str]  # picture, scene and prompt


@dataclass(frozen=True)
class Progress:
    """A step that was taken, for a callback."""

    id: str  # of the edit
    step: int  # counted from 1
    steps: int  # in all
    evaluations: NetworkEvaluations  # so far
    _decode: Callable[[], Tensor]
    state: Callable[[], dict[str, Tensor]]  # theta, as it would be saved now; shares memory with the edit

    def picture(self) -> Tensor:
        """Return the edit (3, h, w) in [0, 1] after the step, decoded; of a scene what the step saw from its
        first camera, or a dataset update's from that of the first training picture, as it is now.
        """
        return self._decode()


Callback = Callable[[Progress], object]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all edits of a run share."""

    settings: Settings
    method: Method
    networks: MetricNetworks | None  # that measure
    folder: RunFolder
    mirror: Mirror | None
    callback: Callback | None = None
    # eps_psi of each source that was learned beforehand, and what that cost
    sources: dict[Source, tuple[Tensor, NetworkEvaluations]] = field(default_factory=dict)


class EditRun:
    """An edit of a run. What it draws depends on the run's seed and the edit's id alone."""

    def __init__(self, edit: Edit, bench: Bench) -> None:
        """Open the edit and restore it from its newest checkpoint, if it has one. Raises `InputError`."""
        settings, prior, clock = bench.settings, bench.method.denoiser.prior, Clock()
        run = settings.run
        self.edit, self._bench = edit, bench
        self._generator = partial(seeded, run.seed, edit.id)
        randomness = Randomness(self._generator("host", "cpu"), self._generator("noise", run.device))
        state = settings.task.open(edit, prior, run.resolution or prior.resolution, run.steps, randomness)
        if settings.objective.metric:  # a name that is not measured shows before the work, not after
            settings.objective.of(measure(state.compare(), edit, bench.networks))
        target = settings.method.instruct(edit) if settings.method.instructed else edit.target_prompt
        prompts = {Prompt.SOURCE: edit.source_prompt, Prompt.TARGET: target, Prompt.NULL: ""}
        contexts = {prompt: prior.text(text) for prompt, text in prompts.items()}
        tokens = {prompt: prior.tokens(text) for prompt, text in prompts.items()}
        conditioning = Conditioning(contexts, self._models(), tokens=tokens)
        self.work = Work(state, settings.score, conditioning, randomness)
        if "relevance" not in settings.unread and not settings.task.renders:
            original = state.view(randomness, original=True).latents[ORIGINAL]
            noise, denoiser = self._generator("relevance", run.device), bench.method.denoiser
            self.work.relevance = run.relevance.weights(denoiser, conditioning, original, noise)
        self._saved = EditState(
            state=state,
            models=conditioning.models,
            randomness=randomness,
            evaluations=conditioning.evaluations,
            clock=clock,
        )
        clock.lap("open_s")
        self._checkpoints = checkpoints(bench.folder, edit)
        if newest := self._checkpoints.newest():
            self.work.step, path = newest
            if not 0 < self.work.step < run.steps:
                raise InputError(path, f"step {self.work.step}", f"one before the last of {run.steps}")
            with explained(path):
                self._saved.restore(load(path))
            log.info("%s goes on after step %d", edit.id, self.work.step)
        elif conditioning.models and settings.model.source_warmup:
            self._share_source(conditioning.models)
        self._logger = StepLogger(edit.id, bench.folder, bench.mirror)

    def _models(self) -> LearnedModels | None:
        """Return the learned models that the score needs, if any."""
        low_rank, model = self._bench.method.denoiser.low_rank, self._bench.settings.model
        if low_rank is None:
            return None
        learned = needs(self._bench.settings.score).learned
        weights = low_rank.draw(learned, self._generator("lora", self._bench.settings.run.device))
        return LearnedModels(low_rank, weights, model.lr, model.train_every)

    def _share_source(self, models: LearnedModels) -> None:
        """Give the edit an eps_psi that has learned the original, the same for all edits of one source."""
        bench, model, edit = self._bench, self._bench.settings.model, self.edit
        if Network.SOURCE not in models.learning:
            return
        source = source_of(edit)
        sharers = sum(source_of(other) == source for other in bench.settings.edits)
        files = [path.name for path in source[:2] if path]  # not their folders: those differ by machine
        generator = partial(seeded, bench.settings.run.seed, "/".join([*files, edit.source_prompt]))
        device, low_rank = bench.settings.run.device, bench.method.denoiser.low_rank
        assert low_rank is not None
        if source not in bench.sources:
            drawn = low_rank.draw([Network.SOURCE], generator("lora", device))
            alone = Conditioning(self.work.edit.contexts, LearnedModels(low_rank, drawn, model.lr))
            randomness = Randomness(generator("host", "cpu"), generator("noise", device))
            work = Work(self.work.state, self.work.score, alone, randomness)
            learn_source(work, bench.method, model.source_warmup)
            bench.sources[source] = drawn[Network.SOURCE].detach(), alone.evaluations
        matrix, spent = bench.sources[source]
        models.settle(Network.SOURCE, matrix)
        for name, count in vars(spent).items():  # an equal part for each edit, whoever came first
            vars(self.work.edit.evaluations)[name] += count / sharers

    def begin(self, together: int) -> None:
        """Start the clock of the steps, which so many edits take together."""
        self._together = together
        self._saved.clock.share(together)

    def after(self, step: Step) -> None:
        """Log a step, and do what the settings want after it; what fails here becomes the work's `error`."""
        try:
            self._after(step)
        except FloatingPointError as error:
            self.work.error = error

    def _after(self, step: Step) -> None:
        run, saved, done = self._bench.settings.run, self._saved, step.index + 1
        self._logger(step.index, step.logged)
        if done in run.measure_at:
            measured = measure(saved.state.compare(), self.edit, self._bench.networks)
            saved.snapshots.append({"id": self.edit.id, "step": done} | measured)
        if done in run.samples.at:  # always from the same noise, so that steps can be compared
            sampler = Sampler(
                denoiser=self._bench.method.denoiser,
                edit=self.work.edit,
                steps=run.samples.steps,
                guidance_scale=run.samples.guidance,
            )
            noise = self._generator("samples", run.device)
            samples = sampler.sample(step.view.latents[EDIT], step.view.depth, run.samples.count, noise)
            saved.samples[str(done)] = samples.cpu()
        if callback := self._bench.callback:
            evaluations, state = self.work.edit.evaluations, saved.state.state_dict
            callback(Progress(self.edit.id, done, run.steps, evaluations, self._look(step), state))
        midway = done % run.checkpoint_every == 0 and done < run.steps
        if midway and self._bench.settings.method.checkpoints:
            self._logger.flush()
            saved.clock.lap("optimise_s")
            self._checkpoints.save(done, saved.checkpoint())
            saved.clock.share(self._together)

    def _look(self, step: Step) -> Callable[[], Tensor]:
        """Return what shows the edit after a step; where that saw single rays, from a training camera."""
        state, prior = self._saved.state, self._bench.method.denoiser.prior
        if EDIT not in step.view.latents and isinstance(state, PhotographedState):
            return lambda: state.render_photo(0)[0]
        seen = step.view.latents[EDIT][:1].detach().clone()  # of a picture they are theta, which moves on
        return lambda: prior.decode(seen)[0]

    def finish(self) -> EditRecord:
        """Measure the optimised edit, write its folder and return its record.

        Raises `FloatingPointError` where that failed in the course of the run.
        """
        if self.work.error:
            raise self.work.error
        edit, saved, networks = self.edit, self._saved, self._bench.networks
        self._logger.flush()
        saved.clock.lap("optimise_s")
        comparison = saved.state.compare()
        row = {key: getattr(edit, key) for key in ("id", "type", "source_prompt", "target_prompt")}
        row |= measure(comparison, edit, networks)
        tensors = {name: x.contiguous().cpu() for name, x in saved.state.state_dict().items()}
        diverged = self._diverged(tensors)
        with self._bench.folder.edit(edit.id) as place:
            save_comparison(comparison, place, edit.prompts)
            save_samples(saved.samples, place)
            save_file(tensors, place / "state.safetensors")
            if saved.models:
                saved.models.save(place / "adapters")
            saved.clock.lap("look_s")
            record = EditRecord(
                row=row,
                snapshots=saved.snapshots,
                seconds=saved.clock.laps,
                passes=vars(saved.evaluations).copy(),
                diverged=diverged,
            )
            record.write(place)
        self._checkpoints.clear()
        return record

    def _diverged(self, tensors: Mapping[str, Tensor]) -> str:
        """Return how far the edit is from its original if no picture is as far; else nothing.

        Latents of noise, of unit variance, are at a mean square of 1 + |x|^2 from those of the original;
        those of a picture as strong as the original are at 4 |x|^2 at most.
        Raises `FloatingPointError` if a tensor of the edit is not finite.
        """
        if odd := [name for name, x in tensors.items() if not bool(x.isfinite().all())]:
            raise FloatingPointError(f"after the last step {odd[0]} is not finite")
        with torch.no_grad():
            latents = self._saved.state.view(self._saved.randomness, original=True).latents
        square = (latents[EDIT] - latents[ORIGINAL]).square().mean().item()
        strength = latents[ORIGINAL].square().mean().item()
        noise, opposite = 1 + strength, 4 * strength
        times = (square / noise) ** 0.5
        return f"{times:.1f} times as far from the original as noise" if square > max(noise, opposite) else ""


def source_of(edit: Edit) -> Source:
    """Return what eps_psi learns from."""
    return edit.image, edit.scene, edit.source_prompt


def checkpoints(folder: RunFolder, edit: Edit) -> Checkpoints:
    """Return the place of an edit's checkpoints."""
    return Checkpoints(folder.path / "checkpoints" / edit.id)


def seeded(seed: int, edit: str, purpose: str, device: str) -> torch.Generator:
    """Return a generator of these arguments alone, so that an edit draws the same alone and in a sweep."""
    digest = hashlib.sha256(f"{seed}/{edit}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))
