"""A Stable Diffusion 1 in one file, with the original code's names: the inverse of what diffusers reads."""

import json
import re
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
VAE = {
    "conv_norm_out": "norm_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "conv_shortcut": "nin_shortcut",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
}


def write_single_file(prior: Path, to: Path) -> Path:
    """Write the tiny prior (two blocks of one layer in its U-Net, three in its autoencoder) as one file.

    Its folder becomes the configuration that the file needs, with the index of a pipeline.
    """
    classes = {
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "scheduler": ("diffusers", "DDIMScheduler"),
    }
    (prior / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **classes}))
    weights = {
        f"{prefix}.{rename(name)}": as_there(name, tensor) if folder == "vae" else tensor
        for folder, prefix, rename in (
            ("unet", "model.diffusion_model", unet_name),
            ("vae", "first_stage_model", vae_name),
            ("text_encoder", "cond_stage_model.transformer", text_name),
        )
        for name, tensor in load_file(next((prior / folder).glob("*.safetensors"))).items()
    }
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, to)
    return to


def unet_name(name: str) -> str:
    """input_blocks: 0 conv_in, 1 and 3 the layers, 2 a downsampler; output_blocks: two layers a block."""
    name = _replaced(name, UNET)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.0", lambda m: f"input_blocks.{1 + 2 * int(m[1])}.0", name)
    name = re.sub(r"down_blocks\.(\d)\.attentions\.0", lambda m: f"input_blocks.{1 + 2 * int(m[1])}.1", name)
    name = re.sub(r"down_blocks\.0\.downsamplers\.0\.conv", "input_blocks.2.0.op", name)
    if up := re.match(r"up_blocks\.(\d)\.(resnets|attentions)\.(\d)", name):
        place = f"output_blocks.{2 * int(up[1]) + int(up[3])}.{int(up[2] == 'attentions')}"
        name = place + name[up.end() :]
    name = name.replace("up_blocks.0.upsamplers.0", "output_blocks.1.1")
    is_resnet = re.search(r"(blocks\.\d\.0|middle_block\.[02])\.\w+\.", name)
    return _replaced(name, RESNET) if is_resnet else name


def vae_name(name: str) -> str:
    name = _replaced(name, VAE)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{2 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{2 - int(m[1])}", name)
    return name.replace("down_blocks", "down")


def text_name(name: str) -> str:
    return f"text_model.{name.removeprefix('text_model.')}"


def as_there(name: str, tensor: Tensor) -> Tensor:
    """The attention of the original autoencoder is convolutions of size 1."""
    is_matrix = "attentions" in name and name.endswith("weight") and "norm" not in name
    return tensor[:, :, None, None] if is_matrix else tensor


def _replaced(name: str, words: dict[str, str]) -> str:
    for here, there in words.items():
        name = re.sub(rf"(^|\.){re.escape(here)}(?=\.)", rf"\g<1>{there}", name)
    return name
