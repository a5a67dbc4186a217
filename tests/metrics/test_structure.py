"""Against the formula written out: the network's blocks by hand, cosines in numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import tiny_networks as tiny
from torch import nn

from piva.metrics.pie import VitKeys, structure_distance

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny.vit()


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = torch.rand(2, 3, 3, 64, 64, generator=generator)
    return a, b


@torch.no_grad()
def keys_by_hand(vit: nn.Module, picture: torch.Tensor) -> np.ndarray:
    """The keys of the last block, by the definition of a vision transformer and its qkv matrix."""
    patches = vit.patch_embed(picture[None])
    x = torch.cat([vit.cls_token, patches], dim=1) + vit.pos_embed
    for block in vit.blocks[:-1]:
        x = x + block.attn(block.norm1(x))
        x = x + block.mlp(block.norm2(x))
    last, width = vit.blocks[-1], x.shape[-1]
    weight, bias = last.attn.qkv.weight[width : 2 * width], last.attn.qkv.bias[width : 2 * width]
    return (last.norm1(x) @ weight.T + bias)[0].double().numpy()


def distance_by_hand(vit: nn.Module, a: torch.Tensor, b: torch.Tensor, factor: int, antialias: bool) -> float:
    maps = []
    for picture in (a, b):
        small = (
            F.interpolate(picture[None] * factor, size=(32, 32), mode="bilinear", antialias=antialias)[0]
            .double()
            .numpy()
        )
        normal = (small - MEAN[:, None, None]) / STD[:, None, None]
        keys = keys_by_hand(vit, torch.from_numpy(normal).float())
        maps.append([[k @ q / (np.linalg.norm(k) * np.linalg.norm(q)) for q in keys] for k in keys])
    return float(np.mean((np.array(maps[0]) - np.array(maps[1])) ** 2))


@pytest.mark.parametrize("corrected", [False, True])
def test_structure_distance_is_the_formula(
    vit: nn.Module, pair: tuple[torch.Tensor, torch.Tensor], corrected: bool
) -> None:
    got = structure_distance(VitKeys(vit), *pair, corrected=corrected)
    wanted = [
        distance_by_hand(vit, a, b, 1 if corrected else 255, corrected) for a, b in zip(*pair, strict=True)
    ]
    assert min(wanted) > 1e-3
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-5)


def test_it_is_zero_for_equal_pictures_and_the_same_in_a_batch(
    vit: nn.Module, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    keys, (a, b) = VitKeys(vit), pair
    assert structure_distance(keys, a, a, corrected=False).tolist() == [0, 0, 0]
    alone = torch.cat(
        [structure_distance(keys, a[i : i + 1], b[i : i + 1], corrected=False) for i in range(3)]
    )
    torch.testing.assert_close(structure_distance(keys, a, b, corrected=False), alone, rtol=0, atol=1e-6)


def test_the_network_is_left_as_it_was(vit: nn.Module, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    structure_distance(VitKeys(vit), *pair, corrected=True)
    assert not any(module._forward_hooks for module in vit.modules())
