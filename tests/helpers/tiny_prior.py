"""Tiny random models in Stable Diffusion 2.1's layout, and what tests do with them."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from piva.models.denoiser import Denoiser
from piva.models.learned import LearnedModels
from piva.models.lora import Lora
from piva.models.needs import Model
from piva.priors.prior import Prior, load
from piva.scores.terms import Network, Prompt

LORA = Lora(rank=2, alpha=2, init="peft", layers="all", lr=1e-2, train_every=1, source_warmup=0)


def write_prior(folder: Path, prediction_type: str, in_channels: int = 4) -> Path:
    """A tiny random model with Stable Diffusion 2.1's structure (GEGLU transformers, linear projections).

    With 8 input channels it is an InstructPix2Pix.
    """
    torch.manual_seed(0)
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    tokens = [*letters, "<|startoftext|>", "<|endoftext|>", "!"]
    (folder / "words").mkdir(parents=True)
    (folder / "words/vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "words/merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        str(folder / "words/vocab.json"),
        str(folder / "words/merges.txt"),
        model_max_length=20,
        pad_token="!",
        unk_token="<|endoftext|>",
    )
    text = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=20,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        sample_size=32,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=prediction_type,
    )
    parts = {
        "tokenizer": tokenizer,
        "text_encoder": CLIPTextModel(text),
        "unet": unet,
        "vae": vae,
        "scheduler": scheduler,
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    return folder


def write_controlnet(prior: Path, scale: float, to: Path | None = None) -> None:
    """A copy of the U-Net's encoder, as every ControlNet begins, with last layers of size `scale`."""
    control = ControlNetModel.from_unet(
        load(str(prior), "cpu", "float32").unet,
        conditioning_channels=3,
        conditioning_embedding_out_channels=(4, 8, 8),
    )
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, weight in control.named_parameters():
            if "controlnet_" in name:
                weight.copy_(scale * torch.randn(weight.shape, generator=noise))
    control.save_pretrained(to or prior / "controlnet")


def write_taesd(folder: Path, blocks: int = 3, channels: int = 4) -> Path:
    """A tiny random autoencoder: three blocks fit the tiny prior's factor of 4."""
    torch.manual_seed(1)
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * blocks,
        decoder_block_out_channels=(8,) * blocks,
        num_encoder_blocks=(1,) * blocks,
        num_decoder_blocks=(1,) * blocks,
        latent_channels=channels,
    ).save_pretrained(folder)
    return folder


def contexts(prior: Prior) -> dict[Prompt, Tensor]:
    """The target prompt "a cat", the source prompt "a dog" and the null prompt."""
    return {prompt: prior.text(text) for prompt, text in zip(Prompt, ("a cat", "a dog", ""), strict=True)}


def perturbed(models: LearnedModels) -> LearnedModels:
    """Make new adapters do something: their output matrices start at zero, which would hide a mix-up."""
    noise = torch.Generator().manual_seed(2)
    for matrix in models.weights.values():
        zero = (matrix == 0).all(dim=0)
        matrix.data[:, zero] = 0.3 * torch.randn(len(matrix), int(zero.sum()), generator=noise)
    return models


class Alone:
    """Each model's prediction by plain diffusers, with peft's own adapters read from the files piva saves."""

    def __init__(
        self, prior_folder: Path, models: LearnedModels, to: Path, control: ControlNetModel | None = None
    ) -> None:
        models.save(to)
        self._folder, self._adapters, self._control = prior_folder, to, control

    def __call__(
        self, network: Network, x: Tensor, t: int, context: Tensor, hint: Tensor | None = None
    ) -> Tensor:
        unet, control = load(str(self._folder), "cpu", "float32").unet, copy.deepcopy(self._control)
        hosts = {".": unet} | ({} if control is None else {"controlnet": control})
        for host, module in hosts.items():
            place = self._adapters / network.value / host
            if place.is_dir() and (place / "adapter_config.json").is_file():
                inject_adapter_in_model(LoraConfig.from_pretrained(place), module)
                weights = load_file(place / "adapter_model.safetensors")
                assert not set_peft_model_state_dict(module, weights).unexpected_keys
        context, down, mid = context.expand(len(x), -1, -1), None, None
        with torch.no_grad():
            if control is not None and hint is not None:
                down, mid = control(x, t, context, hint.repeat(1, 3, 1, 1), return_dict=False)
            out: Tensor = unet(
                x, t, context, down_block_additional_residuals=down, mid_block_additional_residual=mid
            ).sample
        return out


def new_models(
    settings: Model, denoiser: Denoiser, networks: Sequence[Network], seed: int = 1
) -> LearnedModels:
    """Models of one edit, as a run makes them."""
    assert denoiser.low_rank is not None
    weights = denoiser.low_rank.draw(networks, torch.Generator(denoiser.low_rank.device).manual_seed(seed))
    return LearnedModels(denoiser.low_rank, weights, settings.lr, settings.train_every)
