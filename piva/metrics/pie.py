"""The metrics of PIE-Bench (Ju et al. 2024, PnP Inversion) as its own evaluation computes them, with the
structure distance (Tumanyan et al. 2022, Splice): how differently the parts of two pictures resemble each
other.

Pictures are (n, 3, h, w) in [0, 1], masks (n, 1, h, w), 1 where the picture is meant to change. One value
each.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from piva.images import read_rgb
from piva.metrics.perceptual import ImageText, PieNetworks, alignment
from piva.metrics.pixels import psnr, ssim

Images = Float[Tensor, "n 3 h w"]
Masks = Float[Tensor, "n 1 h w"]
Values = Float[Tensor, "n"]
Keys = Callable[[Images], Float[Tensor, "n tokens d"]]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which DINO was trained with


def preservation(
    before: Images, after: Images, mask: Masks, networks: PieNetworks | None
) -> dict[str, Values]:
    """Return how much of the original is left: structure of the whole, the others of the part that should
    stay.

    That part is cut out by multiplication: what is masked is black in both pictures and counts in the means.
    nan where there is no such part.
    """
    keep = 1 - mask
    a, b = after * keep, before * keep
    values = {"pie/psnr": psnr(a, b), "pie/mse": (a - b).square().mean(dim=(1, 2, 3)), "pie/ssim": ssim(a, b)}
    if networks:
        values["pie/lpips"] = networks.lpips(a, b)
    empty = keep.sum(dim=(1, 2, 3)) == 0
    values = {key: value.masked_fill(empty, torch.nan) for key, value in values.items()}
    if networks and networks.structure:
        values["pie/structure"] = networks.structure(after, before)
    if networks and networks.structure_corrected:
        values["pie/structure_corrected"] = networks.structure_corrected(after, before)
    return values


def prompt_alignment(
    pictures: Images, mask: Masks, target: Float[Tensor, "n d"], clip: ImageText
) -> dict[str, Values]:
    """Return CLIP's similarity with the target prompts: of the whole and, on black, of what should change.

    Cosines, negative ones as 0; nan where nothing should change.
    """
    whole = alignment(clip.images(pictures), target).clamp(min=0)
    edited = alignment(clip.images(pictures * mask), target).clamp(min=0)
    return {"clip_whole": whole, "clip_edited": edited.masked_fill(mask.sum(dim=(1, 2, 3)) == 0, torch.nan)}


def read_mask(path: Path, like: Images) -> Float[Tensor, "1 1 h w"]:
    """An annotation as (1, 1, h, w) at the size and on the device of `like`."""
    mask = torch.from_numpy(read_rgb(path)[..., :1]).permute(2, 0, 1)[None].to(like)
    if mask.shape[-2:] != like.shape[-2:]:
        mask = F.interpolate(mask, like.shape[-2:], mode="nearest")
    return (mask > 0.5).float()


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
    """Return the mean squared difference of the cosine similarities of all pairs of tokens; 0 for equal
    pictures.

    As PnPInversion's evaluation has it, unless `corrected`: the network sees 0..255 where it was trained on
    0..1, and pictures are scaled down without antialiasing (tensors in the torchvision 0.13 of its
    environment).
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
