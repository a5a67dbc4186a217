"""Against scikit-image, and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.operations import Operations
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from piva.metrics.pixels import chroma, psnr, ssim


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.rand(3, 3, 24, 32, generator=generator)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


def test_psnr_equals_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = [
        peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1.0) for x, y in zip(*pair, strict=True)
    ]
    np.testing.assert_allclose(psnr(*pair).numpy(), expected, rtol=1e-5)


def test_ssim_equals_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    settings = {
        "channel_axis": 0,
        "data_range": 1.0,
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
    }

    def padded(
        image: torch.Tensor,
    ) -> np.ndarray:  # torchmetrics mirrors the border and averages over the whole picture,
        return np.pad(
            image.double().numpy(), ((0, 0), (5, 5), (5, 5)), mode="reflect"
        )  # scikit-image leaves a rim of 5 out

    expected = [structural_similarity(padded(x), padded(y), **settings) for x, y in zip(*pair, strict=True)]
    np.testing.assert_allclose(ssim(*pair).numpy(), expected, rtol=1e-5)


def test_masked_psnr_looks_only_where_the_mask_is_one() -> None:
    a, b, mask = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    b[..., 0, :2] = 0.1  # two pixels off by 0.1
    mask[..., 0, :] = 1  # of the four that count: mean squared error 0.005
    assert psnr(a, b, mask).item() == pytest.approx(-10 * math.log10(0.005), rel=1e-5)
    assert psnr(a, b, 1 - mask).item() == math.inf


def test_an_empty_mask_has_no_psnr() -> None:
    assert math.isnan(psnr(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)).item())


def test_a_picture_has_the_same_value_alone_and_in_a_batch(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    a, b = pair
    for metric in (psnr, ssim):
        torch.testing.assert_close(metric(a, b)[1:2], metric(a[1:2], b[1:2]))
    torch.testing.assert_close(chroma(a)[1:2], chroma(a[1:2]))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_a_film_is_compared_a_few_pictures_at_a_time(
    metric: Callable[..., torch.Tensor], generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = torch.rand(40, 3, 24, 32, generator=generator)
    b = (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    values, peaks = [], []
    for pictures in (40, 4, 0.5):  # at once; one larger than the limit goes alone
        monkeypatch.setattr("piva.metrics.pixels.PIXELS", int(pictures * 24 * 32))
        with Operations() as seen:
            values.append(metric(a, b))
        peaks.append(seen.peak)
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=0, atol=1e-6 if metric is ssim else 1e-5)
    assert peaks[1] < peaks[0] / 3
    if metric is ssim:
        assert peaks[0] < 400 * a[:, 0].numel()  # bytes a pixel, half of which is the rim of so small ones


def test_chroma_is_the_spread_of_the_channels() -> None:
    half_red = torch.zeros(1, 3, 2, 2)
    half_red[:, 0, 0] = 0.8
    assert chroma(half_red).item() == pytest.approx(0.4)  # 0.8 on half of the pixels
    assert chroma(torch.full((1, 3, 2, 2), 0.3)).item() == 0
