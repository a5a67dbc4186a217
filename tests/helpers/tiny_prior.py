"""Tiny random models in Stable Diffusion 2.1's layout, and what tests do with them."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from piva.priors.prior import Prior, load
from piva.scores.terms import Network, Prompt


def write_prior(folder: Path, prediction_type: str) -> Path:
    """A tiny random model with Stable Diffusion 2.1's structure (GEGLU transformers, linear projections)."""
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


def perturb_adapters(*hosts: torch.nn.Module) -> None:
    """Make new adapters do something: their output matrices start at zero, which would hide a mix-up."""
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for host in hosts:
            for name, weight in host.named_parameters():
                if "lora_B" in name:
                    weight.copy_(0.3 * torch.randn(weight.shape, generator=noise))


def predict_alone(
    prior: Prior,
    network: Network,
    x: Tensor,
    t: int,
    context: Tensor,
    control: ControlNetModel | None = None,
    hint: Tensor | None = None,
) -> Tensor:
    """One model's prediction by plain diffusers with peft's own switching of adapters."""
    hosts = [prior.unet] if control is None else [prior.unet, control]
    layers = [m for host in hosts for m in host.modules() if hasattr(m, "lora_A")]
    patched = [layer.__dict__.pop("forward") for layer in layers]
    for layer in layers:
        layer.enable_adapters(network is not Network.FROZEN)
        if network is not Network.FROZEN:
            layer.set_adapter(network.value)
    context, down, mid = context.expand(len(x), -1, -1), None, None
    with torch.no_grad():
        if control is not None and hint is not None:
            down, mid = control(x, t, context, hint.repeat(1, 3, 1, 1), return_dict=False)
        out: Tensor = prior.unet(
            x, t, context, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
    for layer, forward in zip(layers, patched, strict=True):
        layer.forward = forward
    for host in hosts:
        for name, weight in host.named_parameters():  # set_adapter freezes the others
            weight.requires_grad_("lora_" in name)
    return out
