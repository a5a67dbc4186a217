"""A loaded text-to-image model: latents, text, noise predictions."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, PreTrainedTokenizerBase

from piva.errors import InputError
from piva.priors.schedule import Schedule

log = logging.getLogger(__name__)

SMALL_VOCABULARY = 5000  # tokens; below, a word was learned whole or not at all
PREDICTION_TYPES = ("epsilon", "v_prediction")

Residuals = tuple[Sequence[Tensor], Tensor]  # for the features of the U-Net's way down, and of its middle


@dataclass(frozen=True)
class Prior:
    """The parts of a Stable Diffusion model, frozen."""

    path: str  # the folder or hub id they came from
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    schedule: Schedule
    prediction_type: str

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
        """Return the image pixels along one side of a latent pixel."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """Return what image sides must be multiples of, so that the U-Net can halve the latents."""
        return self.factor * int(2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def resolution(self) -> int:
        """Return the image size the model was trained at."""
        return int(self.unet.config.sample_size) * self.factor

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """Return latents in float32: the posterior's mean, scaled. Differentiable."""
        posterior = self.vae.encode((2 * images - 1).to(self.dtype)).latent_dist
        latents: Tensor = (posterior.mean * self.vae.config.scaling_factor).float()
        return latents

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Return images in [0, 1], float32."""
        images: Tensor = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.dtype)).sample
        return (images.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def text(self, prompt: str) -> Float[Tensor, "1 n d"]:
        """Return a prompt's context; warn of words past the text encoder's limit and of unknown words."""
        ids = self.tokenizer(prompt).input_ids
        limit = self.tokenizer.model_max_length
        if len(ids) > limit:
            message = "prompt %r has %d tokens, the text encoder reads %d: the end is cut off"
            log.warning(message, prompt, len(ids), limit)
        if unknown := self._unknown_words(prompt):
            log.warning("prompt %r: this prior has never seen %s", prompt, ", ".join(map(repr, unknown)))
        tokens = self.tokenizer([prompt], padding="max_length", truncation=True, return_tensors="pt")
        context: Tensor = self.text_encoder(tokens.input_ids.to(self.device))[0]
        return context

    def _unknown_words(self, prompt: str) -> list[str]:
        """Return words that a small tokenizer spells in pieces; large ones do so with words they know."""
        if len(self.tokenizer) > SMALL_VOCABULARY:
            return []
        return [word for word in prompt.split() if len(self.tokenizer.tokenize(word)) > 1]

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
        noisy: Float[Tensor, "b c y x"],
        t: Int[Tensor, "b"] | Int[Tensor, "1"],
        context: Float[Tensor, "b n d"],
        residuals: Residuals | None = None,
    ) -> Float[Tensor, "b c y x"]:
        """Return noise predictions in float32, whatever the network was trained to predict.

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
            eps = alpha * eps + sigma * noisy
        return eps


def load(path: str, device: str, dtype: str) -> Prior:
    """Load a folder or hub id in diffusers' Stable Diffusion layout. Raises `InputError`."""
    precision = getattr(torch, dtype)
    transformers.utils.logging.disable_progress_bar()
    try:
        unet = UNet2DConditionModel.from_pretrained(path, subfolder="unet", torch_dtype=precision)
        vae = AutoencoderKL.from_pretrained(path, subfolder="vae", torch_dtype=precision)
        text_encoder = CLIPTextModel.from_pretrained(path, subfolder="text_encoder", dtype=precision)
        tokenizer = AutoTokenizer.from_pretrained(path, subfolder="tokenizer")
        scheduler = DDIMScheduler.from_pretrained(path, subfolder="scheduler")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        remedy = "give a local folder, or an id that is in the hub's cache or can be downloaded"
        wanted = "a model in diffusers' Stable Diffusion layout"
        raise InputError(f"prior.path={path}", reason, wanted, remedy) from error
    prediction_type = scheduler.config.prediction_type
    if prediction_type not in PREDICTION_TYPES:
        found, wanted = f"prediction_type {prediction_type}", " or ".join(PREDICTION_TYPES)
        raise InputError(f"prior.path={path}", found, wanted)
    for part in (unet, vae, text_encoder):
        part.to(device).requires_grad_(False).eval()
    schedule = Schedule(tuple(scheduler.alphas_cumprod.tolist()))
    return Prior(path, unet, vae, text_encoder, tokenizer, schedule, prediction_type)
