"""A loaded text-to-image model: latents, text, noise predictions."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, PreTrainedTokenizerBase

from piva.errors import InputError, one_line
from piva.priors.layout import FITS, NETWORKS, PARTS, check_configs, longer_side, variant
from piva.priors.schedule import Schedule
from piva.priors.words import SMALL_VOCABULARY, unknown_words

log = logging.getLogger(__name__)

Residuals = tuple[Sequence[Tensor], Tensor]  # for the features of the U-Net's way down, and of its middle


@dataclass(frozen=True)
class Prior:
    """The parts of a Stable Diffusion model, frozen."""

    path: str  # the folder or hub id they came from; of a single file, that of its configurations
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    scheduler: DDIMScheduler
    schedule: Schedule
    prediction_type: str
    taesd: AutoencoderTiny | None = None

    @classmethod
    def from_pipeline(cls, pipe: DiffusionPipeline) -> "Prior":
        """Return the parts of a loaded StableDiffusionPipeline, frozen, on its U-Net's device and in its
        precision.

        They are the pipeline's own, not copies; it must not be moved while they are in use. Raises
        `InputError` if it is no text-to-image Stable Diffusion 1 or 2.

            pipe = StableDiffusionPipeline.from_pretrained(FOLDER, torch_dtype=torch.float16).to("cuda")
            prior = Prior.from_pipeline(pipe)
            eps = prior.predict(prior.encode(images), prior.timestep(500), prior.text("a cat"))
        """
        path = str(getattr(pipe, "name_or_path", None) or "")
        where = f"{type(pipe).__name__} {path}".strip()
        parts = {name: getattr(pipe, name, None) for name in PARTS}
        if absent := [name for name, part in parts.items() if part is None]:
            raise InputError(where, f"no {absent[0]}", FITS)
        return _assemble(parts, path, where)

    # diffusers looks through all modules for these two, which took a twentieth of a step
    @cached_property
    def device(self) -> torch.device:
        device: torch.device = self.unet.device
        return device

    @cached_property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.unet.dtype
        return dtype

    @property
    def factor(self) -> int:
        """Return the image pixels along one side of a latent pixel: what image sides are multiples of."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def resolution(self) -> int:
        """Return the image size the model was trained at; of a (height, width) the longer side."""
        side = longer_side(self.unet.config.sample_size)
        assert side is not None  # check_configs
        return side * self.factor

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """Return latents in float32: the posterior's mean, scaled. Differentiable."""
        posterior = self.vae.encode((2 * images - 1).to(self.dtype)).latent_dist
        latents: Tensor = (posterior.mean * self.vae.config.scaling_factor).float()
        return latents

    def encode_renders(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """Return latents as `encode` does, by the tiny autoencoder where there is one. Differentiable."""
        if self.taesd is None:
            return self.encode(images)
        # in the U-Net's scale already: its scaling factor is 1
        latents: Tensor = self.taesd.encode((2 * images - 1).to(self.dtype)).latents
        scaled: Tensor = latents.float() * self.taesd.config.scaling_factor
        return scaled

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Return images in [0, 1], float32."""
        images: Tensor = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.dtype)).sample
        return (images.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def text(self, prompt: str) -> Float[Tensor, "1 n d"]:
        """Return a prompt's context; warn of words past the text encoder's limit and of unknown words."""
        ids, tokens = self.tokenizer(prompt).input_ids, self.tokens(prompt)
        if len(ids) > (limit := tokens.shape[1]):
            message = "prompt %r has %d tokens, the text encoder reads %d: the end is cut off"
            log.warning(message, prompt, len(ids), limit)
        small = len(self.tokenizer) <= SMALL_VOCABULARY  # large ones spell known words in pieces, too
        if small and (unknown := unknown_words(prompt, self.tokenizer.tokenize)):
            log.warning("prompt %r: this prior has never seen %s", prompt, ", ".join(map(repr, unknown)))
        context: Tensor = self.text_encoder(tokens.to(self.device))[0]
        return context

    def tokens(self, prompt: str) -> Int[Tensor, "1 n"]:
        """Return a prompt's tokens as the text encoder reads them: cut or padded to its length."""
        # a tokenizer saved without its limit says 1e30
        limit = min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)
        read = self.tokenizer(
            [prompt], padding="max_length", max_length=limit, truncation=True, return_tensors="pt"
        )
        tokens: Tensor = read.input_ids
        return tokens

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor]:
        """Every timestep, and its alpha and sigma (t, 2), on the device: slices of them copy nothing."""
        t = range(len(self.schedule))
        table = [(self.schedule.alpha(i), self.schedule.sigma(i)) for i in t]
        return torch.arange(len(t), device=self.device), torch.tensor(table, device=self.device)

    def timestep(self, t: int) -> Int[Tensor, "1"]:
        """Return a timestep on the device, without a host synchronisation."""
        return self._steps[0][t : t + 1]

    def predict(
        self,
        noisy: Float[Tensor, "b _ y x"],
        t: Int[Tensor, "b"] | Int[Tensor, "1"],
        context: Float[Tensor, "b n d"],
        residuals: Residuals | None = None,
    ) -> Float[Tensor, "b _ y x"]:
        """Return noise predictions in float32, whatever the network was trained to predict.

        InstructPix2Pix sees a picture's latents, which are not scaled, after the noisy ones.

        `residuals` are what a ControlNet adds to the U-Net's features.
        """
        down, mid = residuals or (None, None)
        eps: Tensor = self.unet(
            noisy.to(self.dtype),
            t,
            context.to(self.dtype),
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0].float()
        if self.prediction_type == "v_prediction":  # v = alpha eps - sigma x
            alpha, sigma = self._steps[1].index_select(0, t)[:, :, None, None, None].unbind(1)
            eps = alpha * eps + sigma * noisy[:, : eps.shape[1]]
        return eps


def load(
    path: str,
    device: str,
    dtype: str,
    *,
    file: Path | None = None,
    taesd: str | None = None,
    instructed: bool = False,
) -> Prior:
    """Load a folder or hub id in diffusers' Stable Diffusion layout; with `file`, the networks from that.

    `taesd` is the folder or hub id of a tiny autoencoder; `instructed`: an InstructPix2Pix is wanted. Reads
    safetensors alone and runs no code of a model's own. Raises `InputError`.
    """
    transformers.utils.logging.disable_progress_bar()
    precision, where = getattr(torch, dtype), f"prior.path={file or path}"
    with _explained(where, "a model in diffusers' Stable Diffusion layout"):
        tokenizer = AutoTokenizer.from_pretrained(path, subfolder="tokenizer", trust_remote_code=False)
        scheduler = DDIMScheduler.from_pretrained(path, subfolder="scheduler")
        _schedule(scheduler, where)  # before the networks, which take long
        networks = _read_file(file, path, precision) if file else _read_folder(path, precision)
    networks["unet"].to(device)
    tiny = None
    if taesd is not None:
        with _explained(f"prior.taesd={taesd}", "an AutoencoderTiny in diffusers' layout"):
            tiny = AutoencoderTiny.from_pretrained(taesd, torch_dtype=precision, use_safetensors=True)
        tiny.to(device).requires_grad_(False).eval()
    parts = {**networks, "tokenizer": tokenizer, "scheduler": scheduler}
    return _assemble(parts, path, where, tiny, instructed)


@contextmanager
def _explained(where: str, wanted: str) -> Iterator[None]:
    """Turn what diffusers and transformers raise for bad files into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever its files hold
        remedy = "give a local folder, or an id that is in the hub's cache or can be downloaded"
        raise InputError(where, one_line(error), wanted, remedy) from error


def _read_folder(path: str, precision: torch.dtype) -> dict[str, torch.nn.Module]:
    """Read the networks; where a part has weights in half precision alone, those."""
    classes = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    return {
        name: network.from_pretrained(
            path,
            subfolder=name,
            variant=variant(Path(path) / name),
            use_safetensors=True,
            **{"dtype" if network is CLIPTextModel else "torch_dtype": precision},
        )
        for name, network in classes.items()
    }


def _read_file(file: Path, configs: str, precision: torch.dtype) -> dict[str, torch.nn.Module]:
    """Read the networks of a single safetensors file, shaped as in the folder `configs`."""
    diffusers.utils.logging.disable_progress_bar()
    others = dict.fromkeys(("tokenizer", "scheduler", "safety_checker", "feature_extractor"))
    pipe = StableDiffusionPipeline.from_single_file(
        str(file),
        config=configs,
        local_files_only=True,
        torch_dtype=precision,
        requires_safety_checker=False,
        **others,
    )
    return {name: getattr(pipe, name) for name in NETWORKS}


def _assemble(
    parts: Mapping[str, Any],
    path: str,
    where: str,
    taesd: AutoencoderTiny | None = None,
    instructed: bool = False,
) -> Prior:
    """Freeze the networks where the U-Net is. Raises `InputError` if they are no Stable Diffusion."""
    named = {
        name: {**parts[name].config, "_class_name": type(parts[name]).__name__}
        for name in ("unet", "vae", "scheduler")
    }
    configs = {**named, "text_encoder": parts["text_encoder"].config.to_dict()}
    check_configs(configs, where, instructed)
    # latents have no range to be clipped to
    scheduler = DDIMScheduler.from_config(parts["scheduler"].config, clip_sample=False)
    schedule, unet = _schedule(scheduler, where), parts["unet"]
    for network in (unet, parts["vae"], parts["text_encoder"]):
        network.to(unet.device).requires_grad_(False).eval()
        if network.dtype != unet.dtype:
            network.to(unet.dtype)
    return Prior(
        path=path,
        **{name: parts[name] for name in NETWORKS},
        tokenizer=parts["tokenizer"],
        scheduler=scheduler,
        schedule=schedule,
        prediction_type=scheduler.config.prediction_type,
        taesd=taesd,
    )


def _schedule(scheduler: DDIMScheduler, where: str) -> Schedule:
    """Return the noise schedule, whose last alpha may be 0 (zero terminal SNR). Raises `InputError`."""
    alphas = scheduler.alphas_cumprod
    if not (alphas[-1] >= 0 and alphas[0] < 1 and bool((alphas.diff() < 0).all())):
        found = f"alphas_cumprod from {alphas[0]:.3g} to {alphas[-1]:.3g} that do not fall at every timestep"
        raise InputError(where, found, "a noise schedule: falling between 1 and 0")
    return Schedule(tuple(alphas.tolist()))
