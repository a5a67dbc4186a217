"""PIE-Bench's metrics against scikit-image on pictures multiplied by the mask, and their quirks by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_networks as tiny
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from piva.metrics.clip import OpenClip, cropped
from piva.metrics.perceptual import PieNetworks
from piva.metrics.pie import preservation, prompt_alignment, read_mask


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    a = torch.rand(3, 3, 40, 48, generator=generator)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


@pytest.fixture
def mask() -> Tensor:
    """A rectangle, nothing, and everything."""
    masks = torch.zeros(3, 1, 40, 48)
    masks[0, :, 10:30, 5:25] = 1
    masks[2] = 1
    return masks


def test_the_part_that_stays_is_cut_out_by_multiplication(pair: tuple[Tensor, Tensor], mask: Tensor) -> None:
    values = preservation(*pair, mask, None)
    for i in range(2):
        a, b = ((p[i] * (1 - mask[i])).permute(1, 2, 0).double().numpy() for p in pair)
        settings = {
            "channel_axis": 2,
            "data_range": 1.0,
            "gaussian_weights": True,
            "sigma": 1.5,
            "use_sample_covariance": False,
        }
        padded = [np.pad(x, ((5, 5), (5, 5), (0, 0)), mode="reflect") for x in (a, b)]  # as in test_pixels
        wanted = {
            "pie/psnr": peak_signal_noise_ratio(a, b, data_range=1.0),
            "pie/mse": mean_squared_error(a, b),
            "pie/ssim": structural_similarity(*padded, **settings),
        }
        assert {key: value[i].item() for key, value in values.items()} == pytest.approx(wanted, abs=1e-5)


def test_without_a_part_that_stays_there_is_no_value(pair: tuple[Tensor, Tensor], mask: Tensor) -> None:
    networks = PieNetworks(Brightness(), l1, l1, l1)
    values = preservation(*pair, mask, networks)
    nan = {key for key, value in values.items() if math.isnan(value[2])}
    assert nan == {"pie/psnr", "pie/mse", "pie/ssim", "pie/lpips"}  # the structure is the whole picture's
    assert not any(math.isnan(value[i]) for value in values.values() for i in range(2))


def test_structure_looks_at_the_whole_picture_and_lpips_at_what_stays(
    pair: tuple[Tensor, Tensor], mask: Tensor
) -> None:
    values = preservation(*pair, mask, PieNetworks(Brightness(), l1, l1, None))
    assert values["pie/structure"][0].item() == pytest.approx(l1(*pair)[0].item())
    assert values["pie/lpips"][0].item() == pytest.approx(l1(*(p * (1 - mask) for p in pair))[0].item())
    assert "pie/structure_corrected" not in values


def test_the_edited_part_is_shown_to_clip_on_black(pair: tuple[Tensor, Tensor], mask: Tensor) -> None:
    target = torch.tensor([[1.0], [1.0], [-1.0]])
    values = prompt_alignment(pair[1], mask, target, Brightness())
    assert values["clip_whole"].tolist() == pytest.approx(
        [*pair[1].mean(dim=(1, 2, 3))[:2].tolist(), 0]
    )  # negative: 0
    assert values["clip_edited"][0].item() == pytest.approx((pair[1] * mask).mean(dim=(1, 2, 3))[0].item())
    assert math.isnan(values["clip_edited"][1])


def test_a_picture_has_the_same_values_alone_and_in_a_batch(
    pair: tuple[Tensor, Tensor], mask: Tensor
) -> None:
    clip = OpenClip(tiny.clip(), tiny.tokenize, cropped, batch=2)
    target = clip.texts(["a", "b", "c"])
    together = preservation(*pair, mask, None) | prompt_alignment(pair[1], mask, target, clip)
    alone = preservation(*(p[:1] for p in pair), mask[:1], None) | prompt_alignment(
        pair[1][:1], mask[:1], target[:1], clip
    )
    for key, value in alone.items():
        torch.testing.assert_close(together[key][:1], value, rtol=1e-5, atol=1e-6)


def test_annotations_are_read_at_the_pictures_size(tmp_path: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    same, half = (read_mask(tmp_path / "mask.png", torch.zeros(1, 3, h, w)) for h, w in ((40, 48), (20, 24)))
    np.testing.assert_array_equal(same[0, 0].numpy() * 255, mask)
    np.testing.assert_array_equal(half[0, 0].numpy() * 255, mask[::2, ::2])


def l1(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean(dim=(1, 2, 3))


class Brightness:
    """A CLIP of one dimension, not even normalised."""

    def images(self, pictures: Tensor) -> Tensor:
        return pictures.mean(dim=(1, 2, 3))[:, None]

    def texts(self, prompts: list[str]) -> Tensor:
        return torch.ones(len(prompts), 1)
