"""A CLIP of open_clip, and the two ways in which the papers scale pictures (n, 3, h, w) in [0, 1] for it."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from open_clip import CLIP
from torch import Tensor

Images = Float[Tensor, "n 3 h w"]

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's


class OpenClip:
    """Pictures and prompts as unit vectors.

    `scale` brings pictures to the network's size, `tokenize` makes token ids of prompts and truncates long
    ones.
    """

    def __init__(
        self,
        model: CLIP,
        tokenize: Callable[[list[str]], Int[Tensor, "n tokens"]],
        scale: Callable[[Images, int], Images],
        batch: int,
    ) -> None:
        self.model, self.tokenize, self.scale, self.batch = model, tokenize, scale, batch
        size = model.visual.image_size
        self.size = int(size[0] if isinstance(size, tuple) else size)

    @torch.no_grad()
    def images(self, pictures: Images) -> Float[Tensor, "n d"]:
        mean, std = (torch.tensor(values).view(3, 1, 1).to(pictures) for values in (MEAN, STD))
        chunks = [(self.scale(chunk, self.size) - mean) / std for chunk in pictures.split(self.batch)]
        return torch.cat([self.model.encode_image(chunk, normalize=True) for chunk in chunks])

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        tokens = self.tokenize(list(prompts)).to(self.model.logit_scale.device)
        return torch.cat(
            [self.model.encode_text(chunk, normalize=True) for chunk in tokens.split(self.batch)]
        )


def stretched(pictures: Images, size: int) -> Float[Tensor, "n 3 {size} {size}"]:
    """Resize to a square, bicubic without antialiasing, as InstructPix2Pix's and IN2N's metrics do."""
    return F.interpolate(pictures, (size, size), mode="bicubic", align_corners=False)


def cropped(pictures: Images, size: int) -> Float[Tensor, "n 3 {size} {size}"]:
    """As CLIP's own processor does with Pillow: the short side to `size`, bicubic with antialiasing, first
    along the rows, then along the columns, rounded to bytes each time; then the middle square.
    """
    height, width = pictures.shape[-2:]
    short = min(height, width)
    h, w = size * height // short, size * width // short
    scaled = 255 * pictures
    for to in ((height, w), (h, w)):
        scaled = F.interpolate(scaled, to, mode="bicubic", antialias=True).round().clamp(0, 255)
    top, left = (h - size) // 2, (w - size) // 2
    return scaled[..., top : top + size, left : left + size] / 255
