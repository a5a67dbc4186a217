"""What a run will need on its device, by part, told before it starts; and switches that make it need less."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import Module

from piva.config import Settings
from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.models.learned import LearnedModels
from piva.models.needs import TRAINING_PAIRS, needs
from piva.nerf.memory import free_bytes
from piva.optimise import step_length
from piva.priors.schedule import Schedule
from piva.scores.terms import EDIT, ORIGINAL, Network, Prediction, Prompt

log = logging.getLogger(__name__)

LARGE = 1e8  # parameters of a U-Net; one with fewer is not worth a word
CONTEXT = 1.0e9  # of CUDA itself and the workspaces of cuBLAS and cuDNN


def tell(settings: Settings, denoiser: Denoiser) -> None:
    """Log an estimate; warn, with what would help, where it is more than the device has left."""
    if sum(p.numel() for p in denoiser.prior.unet.parameters()) < LARGE:
        return
    parts = estimate(settings, denoiser)
    held = parts["networks"]  # which are there already
    total, free = sum(parts.values()), free_bytes(denoiser.prior.device)
    listed = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items() if size > 5e7)
    log.info("memory, GB: about %.1f (%s)", total / 1e9, listed)
    if total - held > free:
        message = "about %.1f GB are needed beside the networks and %.1f are free; what needs less: %s"
        log.warning(message, (total - held) / 1e9, free / 1e9, ", ".join(_switches(settings)))


def estimate(settings: Settings, denoiser: Denoiser) -> dict[str, float]:
    """Return bytes by part: networks, adapters, what backward passes keep, and the work of the largest call.

    What is kept is counted exactly, by a call of the real networks on tensors without contents; the work is a
    rule of thumb. What a scene's field needs is not in it (`nerf.memory`).
    """
    prior, run = denoiser.prior, settings.run
    views = settings.task.views * run.batch
    side = (run.resolution or prior.resolution) // prior.factor
    modules: list[Module] = [prior.unet, prior.vae, prior.text_encoder]
    modules += [denoiser.control.network] if denoiser.control else []
    width = prior.unet.config.block_out_channels[0]
    size = prior.unet.conv_in.weight.element_size()
    rows = 5 * views * run.noises  # of the larger call of the dearest score
    parts = {
        "networks": float(sum(p.numel() * p.element_size() for m in modules for p in m.parameters())),
        "adapters": 0.0,
        "kept by the U-Net": 0.0,
        "kept by the autoencoder": 0.0,
        "work": 12.0 * rows * width * side**2 * size,
        "CUDA": CONTEXT if prior.device.type == "cuda" else 0.0,
    }
    kept_rows = views * run.noises
    edit = Conditioning({prompt: torch.empty_like(prior.text("")) for prompt in Prompt})
    if "regulariser" not in settings.unread and (graphs := settings.regulariser.kept):
        parts["kept by the U-Net"] = float(kept_rows * _kept_by_unet(denoiser, edit, graphs, side, True))
    learned = needs(settings.score).learned
    if denoiser.low_rank and learned:
        models = LearnedModels(
            denoiser.low_rank, denoiser.low_rank.draw(learned, torch.Generator(prior.device)), 1e-4
        )
        elements = sum(matrix.numel() for matrix in models.weights.values())
        parts["adapters"] = 16.0 * run.batch * elements  # weights, gradients and AdamW's two moments
        pairs = [TRAINING_PAIRS[Network(network)] for network in models.learning]
        kept = kept_rows * _kept_by_unet(denoiser, replace(edit, models=models), pairs, side)
        parts["kept by the U-Net"] = max(parts["kept by the U-Net"], float(kept))  # one after the other
    if "score" not in settings.unread and settings.task.renders and not _followed(settings, prior.schedule):
        counter = Kept()
        with FakeTensorMode(allow_non_fake_inputs=True), counter.counting():
            pictures = torch.empty((1, 3, side * prior.factor, side * prior.factor), device=prior.device)
            latents = prior.encode_renders(pictures.requires_grad_(True))
        parts["kept by the autoencoder"] = float(views * counter.bytes)
        del latents
    return parts


def _followed(settings: Settings, noise: Schedule) -> bool:
    """Return whether views move and the field follows them: no gradient goes through the autoencoder."""
    return step_length(settings.schedule, settings.score, noise, 0, settings.run.steps) is not None


def _kept_by_unet(
    denoiser: Denoiser, edit: Conditioning, asked: Sequence[Prediction], side: int, to_latents: bool = False
) -> int:
    """Return the bytes that predictions for one view keep for their backward pass, to learned models or to
    latents.
    """
    prior = denoiser.prior
    channels = prior.unet.config.in_channels
    prior.timestep(0)  # made once for all steps: not of what has no contents
    kept = Kept()
    with FakeTensorMode(allow_non_fake_inputs=True), kept.counting():
        x = torch.empty((1, channels, side, side), device=prior.device, requires_grad=to_latents)
        depth = torch.empty((1, side * prior.factor, side * prior.factor), device=prior.device)
        query = Query(edit, asked, {EDIT: x, ORIGINAL: x}, 1, {EDIT: depth, ORIGINAL: depth})
        answers = denoiser.predict([query])
    del answers
    if denoiser.low_rank:  # what is in force has no contents
        for host in denoiser.low_rank.hosts:
            denoiser.low_rank.select(host, [])
    return kept.bytes


class Kept:
    """Counts the bytes that are saved for backward passes, each storage once, parameters apart."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: dict[int, Tensor] = {}  # kept alive: a freed storage's number comes again

    @contextmanager
    def counting(self) -> Iterator[None]:
        with saved_tensors_hooks(self._pack, lambda x: x):
            yield

    def _pack(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if not isinstance(x, torch.nn.Parameter) and storage._cdata not in self._seen:
            self._seen[storage._cdata] = x
            self.bytes += storage.nbytes()
        return x


def _switches(settings: Settings) -> list[str]:
    """Return the switches that are left to make this run smaller, those that cost least first."""
    run, model = settings.run, settings.model
    switches = {
        "noises=1": run.noises > 1,
        f"batch={run.batch // 2}": run.batch > 1,
        "prior.dtype=float16": settings.prior.dtype == "float32",
        "speed.checkpointing=true": not run.speed.checkpointing,
        "model.layers=decoder": model.layers == "all",
        "prior.taesd=madebyollin/taesd": settings.task.renders and settings.prior.taesd is None,
        "a smaller resolution": True,
    }
    return [switch for switch, helps in switches.items() if helps]
