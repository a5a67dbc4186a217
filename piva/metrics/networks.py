"""Loading CLIP, LPIPS and DINO from files that are here, and giving the metrics what they ask of them."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import lpips as zhang
import open_clip
import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from piva.errors import InputError, one_line
from piva.metrics.clip import OpenClip, cropped, stretched
from piva.metrics.perceptual import Distance, MetricNetworks, PieNetworks
from piva.metrics.pie import VitKeys, structure_distance

Images = Float[Tensor, "n 3 h w"]
Values = Float[Tensor, "n"]


def load_clip(architecture: str, weights: Path, device: str) -> open_clip.CLIP:
    """Load open_clip's `architecture` in float32 with a file's weights.

    Raises `InputError` if they do not fit.
    """
    clip: open_clip.CLIP = _loaded(
        weights, device, lambda: open_clip.create_model(architecture, pretrained=str(weights))
    )
    return clip


def load_dino(architecture: str, weights: Path, device: str) -> nn.Module:
    """Load a timm network without a head from a file. Raises `InputError` if the weights do not fit."""
    overlay = {"file": str(weights), "num_classes": 0}
    return _loaded(
        weights,
        device,
        lambda: timm.create_model(
            architecture, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
        ),
    )


def lpips(net: str, device: str) -> nn.Module:
    """Load LPIPS 0.1 (Zhang et al. 2018), its backbone from TORCH_HOME.

    It maps two batches in [-1, 1] to (n, 1, 1, 1).
    """
    where = Path(torch.hub.get_dir()) / "checkpoints"
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", module="torchvision"
        )  # lpips asks for the backbone in torchvision's old way
        return _loaded(where, device, lambda: zhang.LPIPS(net=net, verbose=False))


def assemble(
    clip: open_clip.CLIP,
    dino: nn.Module,
    lpips_views: nn.Module,
    lpips_pie: nn.Module,
    batch: int,
    names: Mapping[str, str],
) -> MetricNetworks:
    """The metrics' networks, `batch` pictures a pass."""
    tokenize = open_clip.SimpleTokenizer(context_length=clip.context_length)
    keys = VitKeys(dino)
    pie = PieNetworks(
        OpenClip(clip, tokenize, cropped, batch),
        in_batches(perceptual(lpips_pie), batch),
        in_batches(lambda a, b: structure_distance(keys, a, b, corrected=False), batch),
        in_batches(lambda a, b: structure_distance(keys, a, b, corrected=True), batch),
    )
    return MetricNetworks(
        OpenClip(clip, tokenize, stretched, batch), in_batches(perceptual(lpips_views), batch), pie, names
    )


def perceptual(net: nn.Module) -> Distance:
    """LPIPS of pictures in [0, 1]. Differentiable."""

    def distance(a: Images, b: Images) -> Values:
        values: Tensor = net(2 * a - 1, 2 * b - 1)
        return values.reshape(len(a))

    return distance


def in_batches(distance: Distance, batch: int) -> Distance:
    """The same, a few pictures at a time."""

    def split(a: Images, b: Images) -> Values:
        return torch.cat([distance(x, y) for x, y in zip(a.split(batch), b.split(batch), strict=True)])

    return split


def _loaded(weights: Path, device: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        network = make()
    except (
        Exception
    ) as error:  # each library has its own errors for unknown names and for weights that do not fit
        raise InputError(
            weights, one_line(error)[:300], "weights of the network that the metrics' settings name"
        ) from error
    return network.requires_grad_(False).eval().to(device)
