"""Structure distance (Tumanyan et al. 2022, Splice): how differently the parts of two pictures resemble each other."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Images = Float[Tensor, "n 3 h w"]
Values = Float[Tensor, "n"]
Keys = Callable[[Images], Float[Tensor, "n tokens d"]]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which DINO was trained with


class VitKeys:
    """The keys of a timm vision transformer's last block, heads side by side, class token first."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.size = model, int(model.patch_embed.img_size[0])  # type: ignore[union-attr, index]

    @torch.no_grad()
    def __call__(self, pictures: Images) -> Float[Tensor, "n tokens d"]:
        """Of normalised pictures, `size` pixels a side."""
        kept: list[Tensor] = []
        *_, last = self.model.get_submodule("blocks").children()
        handle = last.get_submodule("attn.qkv").register_forward_hook(
            lambda _module, _inputs, output: kept.append(output)
        )
        try:
            self.model(pictures)
        finally:
            handle.remove()
        return kept[0].chunk(3, dim=-1)[1]  # queries, keys, values


def structure_distance(keys: VitKeys, a: Images, b: Images, *, corrected: bool) -> Values:
    """Mean squared difference of the cosine similarities of all pairs of tokens. Pictures in [0, 1]; 0 for equal ones.

    As PnPInversion's evaluation has it, unless `corrected`: the network sees 0..255 where it was trained on 0..1, and
    pictures are scaled down without antialiasing (tensors in the torchvision 0.13 of its environment).
    """
    x, y = (_similarities(keys(prepare(pictures, keys.size, corrected))) for pictures in (a, b))
    return (x - y).square().mean(dim=(1, 2))


def prepare(pictures: Images, size: int, corrected: bool) -> Float[Tensor, "n 3 {size} {size}"]:
    """Scaled to `size` pixels a side and normalised."""
    scaled = F.interpolate(pictures, (size, size), mode="bilinear", antialias=corrected)
    mean, std = (torch.tensor(values).view(3, 1, 1).to(pictures) for values in (MEAN, STD))
    return (scaled * (1 if corrected else 255) - mean) / std


def _similarities(keys: Float[Tensor, "n tokens d"]) -> Float[Tensor, "n tokens tokens"]:
    unit = F.normalize(keys, dim=-1)
    return unit @ unit.transpose(1, 2)
