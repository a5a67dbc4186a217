"""The toys' CLIP, a small open_clip for 64x64 pictures and the captions' words, and a distance in its
features.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from open_clip import CLIP
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from piva.metrics.perceptual import feature_distance
from piva.metrics.toys import check_network, read_network

CHUNK = 64  # pictures in one pass


class ToysClip:
    """Pictures and prompts as unit vectors whose cosine says how well they fit."""

    def __init__(self, model: CLIP, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.size = int(model.visual.image_size)

    @torch.no_grad()
    def images(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Embeddings of pictures in [0, 1] of any size; they are scaled to the network's own."""
        return torch.cat([encode(self.model, resized(chunk, self.size)) for chunk in pictures.split(CHUNK)])

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return embeddings of prompts; unknown words are read letter by letter, long prompts truncated."""
        embeddings: Tensor = self.model.encode_text(
            tokenize(self.tokenizer, prompts).to(self.device), normalize=True
        )
        return embeddings

    def distance(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        """Return LPIPS's form over this image tower's five stages, equally weighted, at its size.
        Differentiable.
        """
        pairs = zip(a.split(CHUNK), b.split(CHUNK), strict=True)
        return torch.cat([feature_distance(self._stages(x), self._stages(y)) for x, y in pairs])

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.logit_scale.device
        return device

    def _stages(self, pictures: Tensor) -> list[Tensor]:
        x = _centred(resized(pictures, self.size))
        stages: list[Tensor] = self.model.visual.forward_intermediates(x, intermediates_only=True)[
            "image_intermediates"
        ]
        return stages


def build(architecture: Mapping[str, Any]) -> CLIP:
    """An open_clip model; random weights."""
    vision, text = CLIPVisionCfg(**architecture["vision"]), CLIPTextCfg(**architecture["text"])
    return CLIP(architecture["embed_dim"], vision, text)


def load(folder: Path, device: str = "cpu") -> ToysClip:
    """The trained network in `folder`. Raises `InputError` for missing or damaged files."""
    model = build(check_network(folder, "clip")["architecture"])
    model.load_state_dict(read_network(folder, "clip"), strict=False)  # without the counters of batch norm
    return ToysClip(
        model.requires_grad_(False).eval().to(device), AutoTokenizer.from_pretrained(folder / "tokenizer")
    )


def tokenize(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> Tensor:
    """Token ids (n, context)."""
    ids: Tensor = tokenizer(
        list(prompts), padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def encode(model: CLIP, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
    """Unit embeddings of pictures in [0, 1] at the network's size. Differentiable."""
    embeddings: Tensor = model.encode_image(_centred(pictures), normalize=True)
    return embeddings


def resized(pictures: Tensor, size: int) -> Tensor:
    """Scaled to `size` pixels a side, whatever the shape."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)


def _centred(pictures: Tensor) -> Tensor:
    return 4 * pictures - 2
