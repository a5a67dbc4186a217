"""Against open_clip's own preparation of PIL pictures, and the definitions of the two ways to scale."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import tiny_networks as tiny
from open_clip import CLIP, image_transform
from PIL import Image

from piva.metrics.clip import MEAN, STD, OpenClip, cropped, stretched


@pytest.fixture(scope="module")
def model() -> CLIP:
    return tiny.clip()


@pytest.fixture
def pictures(generator: torch.Generator) -> torch.Tensor:
    """Three pictures that are not square, smooth enough that a wrong filter shows, in steps of bytes."""
    coarse = torch.rand(3, 3, 12, 18, generator=generator)
    return (F.interpolate(coarse, (96, 150), mode="bicubic").clamp(0, 1) * 255).round() / 255


def pil(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())


def test_cropping_is_what_clips_own_processor_does(pictures: torch.Tensor) -> None:
    theirs = torch.stack(
        [image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))(pil(p)) for p in pictures]
    )
    ours = cropped(pictures, 32)
    assert ours.shape == (3, 3, 32, 32)
    assert (255 * (ours - theirs)).abs().max() <= 1.01  # Pillow's weights are whole numbers over 2^22
    assert (255 * (ours - theirs)).abs().mean() < 0.001


def test_stretching_keeps_no_proportions_and_no_antialiasing(pictures: torch.Tensor) -> None:
    """Bicubic with a = -0.75 at the sample points themselves: by hand for one output pixel."""
    got = stretched(pictures, 32)[0, 0, 7, 9].item()
    weights, rows, columns = cubic, (7 + 0.5) * 96 / 32 - 0.5, (9 + 0.5) * 150 / 32 - 0.5
    r0, c0 = int(np.floor(rows)), int(np.floor(columns))
    picture = pictures[0, 0].double().numpy()
    wanted = sum(
        weights(rows - r) * weights(columns - c) * picture[r, c]
        for r in range(r0 - 1, r0 + 3)
        for c in range(c0 - 1, c0 + 3)
    )
    assert got == pytest.approx(wanted, abs=1e-5)


def cubic(x: float) -> float:
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_embeddings_are_open_clips(model: CLIP, pictures: torch.Tensor) -> None:
    transform = image_transform(32, is_train=False, mean=MEAN, std=STD)
    network = OpenClip(model, tiny.tokenize, cropped, batch=2)
    with torch.no_grad():
        theirs = model.encode_image(torch.stack([transform(pil(p)) for p in pictures]), normalize=True)
        words = model.encode_text(tiny.tokenize(["a red mug", "a blue vase"]), normalize=True)
    torch.testing.assert_close(network.images(pictures), theirs, rtol=0, atol=1e-3)
    torch.testing.assert_close(network.texts(["a red mug", "a blue vase"]), words)


def test_a_picture_has_the_same_embedding_alone_and_in_a_batch(model: CLIP, pictures: torch.Tensor) -> None:
    many, few = (
        OpenClip(model, tiny.tokenize, stretched, batch=16),
        OpenClip(model, tiny.tokenize, stretched, batch=1),
    )
    torch.testing.assert_close(many.images(pictures), few.images(pictures))
    torch.testing.assert_close(many.images(pictures)[1:2], many.images(pictures[1:2]))


def test_the_end_of_a_long_prompt_is_cut_off(model: CLIP) -> None:
    network = OpenClip(model, tiny.tokenize, cropped, batch=4)
    torch.testing.assert_close(network.texts(["red " * 100]), network.texts(["red " * 100 + "and blue"]))
