"""Metrics that need networks, written against protocols that any CLIP and any LPIPS can satisfy.

Pictures are (n, 3, h, w) in [0, 1]; every function returns one value a picture, not reduced.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "n 3 h w"]
Values = Float[Tensor, "n"]
Distance = Callable[[Images, Images], Values]  # 0 for equal pictures; differentiable, if they have a graph
Agrees = Callable[[Images, str], float]  # 1 if views of one thing show all that a prompt says, else 0


@runtime_checkable
class ImageText(Protocol):
    """A CLIP: unit vectors of pictures and of prompts in one space."""

    def images(self, pictures: Images) -> Float[Tensor, "n d"]:
        """Embeddings of pictures of any size, on their device."""

    def texts(self, prompts: Sequence[str]) -> Float[Tensor, "m d"]:
        """Embeddings of prompts."""


@dataclass(frozen=True)
class PieNetworks:
    """The networks of PIE-Bench's metrics, which want their pictures otherwise."""

    clip: ImageText
    lpips: Distance
    structure: Distance | None = None  # with the input range of PIE-Bench's evaluation
    structure_corrected: Distance | None = None  # with the one the network was trained with


@dataclass(frozen=True)
class MetricNetworks:
    """The networks of a run's metrics, and what they are called in its results."""

    clip: ImageText
    lpips: Distance
    pie: PieNetworks
    names: Mapping[str, str]
    agrees: Agrees | None = None


def alignment(pictures: Float[Tensor, "n d"], prompts: Float[Tensor, "#n d"]) -> Values:
    """The CLIP score: cosine of a picture and its prompt (or of all pictures and one prompt), in [-1, 1]."""
    return (pictures * prompts).sum(dim=1)


def directional(
    before: Float[Tensor, "n d"],
    after: Float[Tensor, "n d"],
    source: Float[Tensor, "#n d"],
    target: Float[Tensor, "#n d"],
) -> Values:
    """Return the directional CLIP similarity (Gal et al. 2022), a cosine of changes in [-1, 1].

    0 where nothing changed.
    """
    return F.cosine_similarity(after - before, target - source, dim=1)


def feature_distance(a: Sequence[Float[Tensor, "n _ _ _"]], b: Sequence[Float[Tensor, "n _ _ _"]]) -> Values:
    """Return LPIPS (Zhang et al. 2018) without its learned weights.

    At each stage of a network: the squared distance of the features, unit vectors over the channels, averaged
    over space; summed over the stages. 0 for equal pictures, at most 4 a stage.
    """
    pairs = zip(a, b, strict=True)
    return torch.stack(
        [(F.normalize(x) - F.normalize(y)).square().sum(dim=1).mean(dim=(1, 2)) for x, y in pairs]
    ).sum(dim=0)
