"""Tiny random models in Stable Diffusion 2.1's layout, and a ControlNet beside them."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from piva.priors.prior import load


def write_prior(folder: Path, prediction_type: str) -> Path:
    """A random model with Stable Diffusion 2.1's structure (GEGLU transformers, linear projections, 8x autoencoder), tiny."""
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
    """A copy of the U-Net's encoder, as every ControlNet begins; its last layers are zero then, and here as large as `scale`."""
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
