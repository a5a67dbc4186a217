"""Editing one picture: theta is the latent itself (Section 3.1), and g is the identity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval

from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.images import check_image, read_rgb
from piva.metrics.comparison import Comparison
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.base import Descent, Randomness, View

if TYPE_CHECKING:
    from torch import Tensor

    from piva.priors.prior import Prior

CHANGED = 0.1  # a difference in a channel from which a pixel counts as changed

LEAST_SIDE = 8  # pixels: SSIM, by which pictures are compared, cannot see less


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """Edit the picture at about `size`^2 pixels in its own proportions, and write it at its own size."""

    needs: ClassVar[str] = "image"
    renders: ClassVar[bool] = False
    views: ClassVar[int] = 1

    lr: Annotated[float, Gt(0)]
    lr_steps: Annotated[int, Ge(1)] | None  # `lr` is for so many steps: longer runs take smaller ones
    optimiser: Literal["sgd", "adam"]
    lr_schedule: Literal["constant", "cosine", "exponential"]
    lr_end: Annotated[float, Interval(gt=0, le=1)]
    lr_warmup: Annotated[float, Interval(ge=0, le=1)]
    residual: bool  # what the autoencoder loses is given back where the edit changes nothing

    def check(self, edit: Edit) -> None:
        if edit.image is None:  # config.check has compared `needs` with the dataset
            raise InputError(
                f"task=image, edit {edit.id}", "splats", "a picture", "use task=nerf field=splats"
            )
        check_image(edit.image)

    def open(self, edit: Edit, prior: "Prior", size: int, steps: int, randomness: Randomness) -> "ImageState":
        return ImageState(self, edit, prior, size, steps)


class ImageState:
    """The latents being edited, and their optimiser."""

    def __init__(self, settings: ImageTask, edit: Edit, prior: "Prior", size: int, steps: int) -> None:
        import torch

        assert edit.image is not None
        picture = read_pictures([edit.image]).contiguous().to(prior.device)
        self._edit, self._prior, self._full_size = edit, prior, (picture.shape[-2], picture.shape[-1])
        fitted = fitting(self._full_size, size, prior.factor)
        if min(fitted) < LEAST_SIDE:
            found = f"{fitted[1]}x{fitted[0]} pixels for the prior to see"
            remedy = f"a resolution of more than {size}, or a wider picture"
            raise InputError(edit.image, found, f"at least {LEAST_SIDE} a side", remedy)
        self._source = resize(picture, fitted)
        with torch.no_grad():
            self._original = prior.encode(self._source)
        self._theta = self._original.clone().requires_grad_(True)
        optimiser = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[settings.optimiser]
        lr = settings.lr * (settings.lr_steps or steps) / steps
        self._descent = Descent(optimiser([self._theta], lr=lr), settings, steps)
        self._residual = settings.residual

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        assert not depth  # config.check has compared `renders` with what the run asks for
        assert size is None
        return View(latents={EDIT: self._theta} | ({ORIGINAL: self._original} if original else {}))

    def step(self) -> None:
        self._descent.step()

    def follow(self, moved: "Tensor", randomness: Randomness) -> None:
        self._theta.data.copy_(moved)

    def compare(self) -> Comparison:
        after = self._prior.decode(self._theta.detach())
        if self._residual:
            after = with_residual(after, self._source, self._prior.decode(self._original))
        truth, mask = read_truth(self._edit, self._source)
        known = {} if truth is None else {"truth": truth, "truth_before": self._source, "truth_after": after}
        return Comparison(before=self._source, after=after, truth_mask=mask, size=self._full_size, **known)

    def state_dict(self) -> "dict[str, Tensor]":
        return {"latents": self._theta.detach()}

    def checkpoint(self) -> dict[str, Any]:
        return {"latents": self._theta.detach(), **self._descent.checkpoint()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._theta.data.copy_(saved["latents"])
        self._descent.restore(saved)


def with_residual(after: "Tensor", source: "Tensor", decoded: "Tensor") -> "Tensor":
    """Return the edit with what the autoencoder lost of the original added where nothing changed.

    Args:
        after: the decoded edit (n, 3, h, w) in [0, 1].
        source: the original.
        decoded: the original through the autoencoder. Where it is within a hundredth of the edit (the largest
            difference in 5x5 pixels) all of `source - decoded` is added, beyond `CHANGED` nothing.
    """
    import torch.nn.functional as F

    change = F.max_pool2d((after - decoded).abs().amax(dim=1, keepdim=True), 5, stride=1, padding=2)
    kept = ((CHANGED - change) / (CHANGED - 0.01)).clamp(0, 1)
    return (after + kept * (source - decoded)).clamp(0, 1)


def read_truth(edit: Edit, like: "Tensor") -> "tuple[Tensor | None, Tensor | None]":
    """Return the true picture and its mask, as far as the dataset has them, at the size of `like`."""

    def read(path: Path) -> "Tensor":
        return resize(read_pictures([path]).contiguous().to(like), (like.shape[-2], like.shape[-1]))

    truth = mask = None
    if edit.truth and edit.image:
        name = f"{edit.image.stem}.png"
        truth, mask = read(edit.truth / "images" / name), edit.truth / "masks" / name
    mask = mask or edit.mask
    return truth, None if mask is None else as_mask(read(mask))


def read_pictures(paths: Sequence[Path]) -> "Tensor":
    """Read pictures of one size as (n, 3, h, w) in [0, 1]."""
    import torch

    return torch.stack([torch.from_numpy(read_rgb(path)) for path in paths]).permute(0, 3, 1, 2)


def as_mask(pictures: "Tensor") -> "Tensor":
    """Return masks (n, 1, h, w): 1 where pictures (n, 3, h, w) are not black."""
    return (pictures.mean(dim=1, keepdim=True) > 0).float()


def fitting(size: tuple[int, int], resolution: int, multiple: int) -> tuple[int, int]:
    """Return (h, w), multiples of `multiple`, of about `resolution`^2 pixels in the proportions of `size`.

    Of the multiples near either side it takes the pair that squeezes a picture least: at 512 pixels and
    multiples of 8, by less than 1 % where the longer side is at most 2.5 times the other.
    """
    h, w = size
    scale = resolution / (h * w) ** 0.5
    near = [[multiple * max(1, round(side * scale / multiple) + i) for i in (-1, 0, 1)] for side in size]

    def cost(pair: tuple[int, int]) -> float:
        squeeze, area = pair[0] * w / (pair[1] * h), pair[0] * pair[1] / resolution**2
        return abs(math.log(squeeze)) + 0.2 * abs(math.log(area))

    return min(product(*near), key=cost)


def resize(images: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Resize to (h, w), bicubic with antialiasing, in [0, 1]; return images of that size unchanged."""
    import torch.nn.functional as F

    if (images.shape[-2], images.shape[-1]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
