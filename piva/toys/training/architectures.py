"""The small prior's untrained networks and its tokenizer, in diffusers' Stable Diffusion layout."""

import json
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase, digits

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase

from piva.toys.objects import ACCESSORIES, GROUNDS, KINDS
from piva.toys.paint import MAIN_COLOURS, SURFACES

MAX_TOKENS = 16
WIDTH = 128


def vocabulary() -> list[str]:
    """Return every word a caption can hold."""
    return ["a", "an", "with", "on", *KINDS, *MAIN_COLOURS, *SURFACES, *ACCESSORIES, *GROUNDS]


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Return a CLIP tokenizer with a token for each word of the vocabulary; it spells other words."""
    merges: list[tuple[str, str]] = []
    for word in vocabulary():
        symbols = [*word[:-1], word[-1] + "</w>"]
        for merge in merges:  # apply what earlier words taught, in rank order, as byte-pair encoding will
            symbols = _merge(symbols, merge)
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            symbols = _merge(symbols, merges[-1])
    letters = [*ascii_lowercase, *digits, *"!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"]
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]) + "\n"
    )
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=MAX_TOKENS)


def text_encoder(tokens: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )


def copy_token_embeddings(
    text: CLIPTextModel,
    tokens: PreTrainedTokenizerBase,
    pretrained: CLIPTextModel,
    pretrained_tokens: PreTrainedTokenizerBase,
) -> None:
    """Give `text` all weights of `pretrained`, except the embeddings of tokens that its tokenizer lacks."""
    weights = pretrained.state_dict()
    name = next(key for key in weights if key.endswith("token_embedding.weight"))
    table = text.state_dict()[name].clone()
    known = pretrained_tokens.get_vocab()
    pairs = [(i, known[token]) for token, i in tokens.get_vocab().items() if token in known]
    rows, pretrained_rows = torch.tensor(pairs).T
    table[rows] = weights[name][pretrained_rows]
    text.load_state_dict(weights | {name: table})


def autoencoder(size: int) -> AutoencoderKL:
    """Return an autoencoder of 64x64 pixels to 4 x 16 x 16 latents."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=size,
    )


def unet(latent_size: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=latent_size,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def controlnet(base: UNet2DConditionModel) -> ControlNetModel:
    """Return a depth ControlNet (three equal channels, as Stable Diffusion's) without effect yet."""
    # one stage fewer than diffusers' default: our autoencoder halves twice, not three times
    return ControlNetModel.from_unet(
        base, conditioning_channels=3, conditioning_embedding_out_channels=(16, 32, 64)
    )


def scheduler() -> DDIMScheduler:
    """Return Stable Diffusion's noise schedule, so that the same code serves both."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _merge(symbols: list[str], merge: tuple[str, str]) -> list[str]:
    out = list(symbols)
    while merge in list(pairwise(out)):
        at = list(pairwise(out)).index(merge)
        out[at : at + 2] = ["".join(merge)]
    return out
