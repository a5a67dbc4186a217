import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from piva.datasets.edit import Edit
from piva.priors.prior import Prior
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.base import Randomness
from piva.tasks.image import ImageState, ImageTask, fitting, with_residual

TASK = ImageTask(
    lr=0.1,
    lr_steps=None,
    optimiser="sgd",
    lr_schedule="cosine",
    lr_end=0.01,
    lr_warmup=0.0,
    residual=False,
)


@pytest.fixture
def randomness() -> Randomness:
    return Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))


def open_edit(path: Path, prior: Prior, randomness: Randomness, **more: Path) -> ImageState:
    edit = Edit(id="x", source_prompt="a", target_prompt="b", image=path, **more)
    return TASK.open(edit, prior, 32, 10, randomness)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (32, 32)), ((100, 400), (16, 64)), ((4000, 10), (648, 8)), ((33, 31), (32, 32))],
)
def test_the_working_size_keeps_area_and_proportions(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitting(size, 32, 8) == expected


@pytest.mark.parametrize(
    "size", [(400, 600), (600, 400), (1080, 1920), (333, 500), (3024, 4032), (1200, 500)]
)
def test_a_picture_is_hardly_squeezed(size: tuple[int, int]) -> None:
    """Multiples of 64, which halve three times more, squeezed 600x400 by 5 %."""
    height, width = fitting(size, 512, 8)
    assert (height % 8, width % 8) == (0, 0)
    assert abs(height / width * size[1] / size[0] - 1) < 0.01
    assert abs(height * width / 512**2 - 1) < 0.04


@pytest.mark.parametrize("resolution", [512, 768, 64])
def test_a_square_keeps_the_size_the_prior_was_trained_at(resolution: int) -> None:
    assert fitting((1000, 1000), resolution, 8) == (resolution, resolution)


def test_theta_starts_as_the_originals_latents(photo: Path, prior: Prior, randomness: Randomness) -> None:
    state = open_edit(photo, prior, randomness)
    latents = state.view(randomness, original=True).latents
    assert latents[EDIT].shape == (1, 4, 6, 12)  # 24 x 48 pixels, proportions kept
    torch.testing.assert_close(latents[EDIT].detach(), latents[ORIGINAL])
    assert latents[EDIT].requires_grad
    assert not latents[ORIGINAL].requires_grad


def test_a_picture_whose_latents_cannot_be_halved_is_edited(
    photo: Path, prior: Prior, randomness: Randomness
) -> None:
    Image.open(photo).resize((36, 28)).save(photo)
    latents = open_edit(photo, prior, randomness).view(randomness, original=False).latents[EDIT]
    assert latents.shape == (1, 4, 7, 9)
    assert prior.predict(latents, prior.timestep(500), prior.text("a cat")).isfinite().all()


def test_sgd_steps_down_the_gradient_on_a_cosine(photo: Path, prior: Prior, randomness: Randomness) -> None:
    state = open_edit(photo, prior, randomness)
    start = state.state_dict()["latents"].clone()
    moved = []
    for _ in range(10):
        before = state.state_dict()["latents"].clone()
        state.view(randomness, original=False).latents[EDIT].backward(torch.ones_like(start))
        state.step()
        moved.append((before - state.state_dict()["latents"]).mean().item())
    expected = [0.1 * 0.5 * (1 + np.cos(np.pi * i / 10)) for i in range(10)]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_a_run_of_any_length_goes_as_far_where_the_rate_is_for_a_length(
    photo: Path, prior: Prior, randomness: Randomness
) -> None:
    task = dataclasses.replace(TASK, lr_steps=10)
    edit, moved = Edit(id="x", source_prompt="a", target_prompt="b", image=photo), []
    for steps in (10, 40):
        state = task.open(edit, prior, 32, steps, randomness)
        start = state.state_dict()["latents"].clone()
        for _ in range(steps):
            state.view(randomness, original=False).latents[EDIT].sum().backward()
            state.step()
        moved.append((start - state.state_dict()["latents"]).mean().item())
    assert moved[1] == pytest.approx(moved[0], rel=0.1)  # sums of half a cosine


def test_the_autoencoders_residual_is_given_back_where_nothing_changes(
    photo: Path, prior: Prior, randomness: Randomness
) -> None:
    edit = Edit(id="x", source_prompt="a", target_prompt="b", image=photo)
    state = dataclasses.replace(TASK, residual=True).open(edit, prior, 32, 10, randomness)
    assert isinstance(state, ImageState)
    untouched = state.compare()
    torch.testing.assert_close(untouched.after, untouched.before)
    source, decoded = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    after = decoded.clone()
    after[..., :8] = (decoded[..., :8] + 0.5) % 1.0
    mended = with_residual(after, source, decoded)
    torch.testing.assert_close(mended[..., :6], after[..., :6])
    torch.testing.assert_close(mended[..., 10:], source[..., 10:])


def test_truth_and_mask_are_read_beside_the_edit(
    photo: Path, prior: Prior, randomness: Randomness, tmp_path: Path
) -> None:
    truth = tmp_path / "truth"
    for part in ("images", "masks"):
        (truth / part).mkdir(parents=True)
    Image.new("RGB", (96, 48), (255, 0, 0)).save(truth / "images/photo.png")
    mask = np.zeros((48, 96), np.uint8)
    mask[:, 48:] = 255
    Image.fromarray(mask).save(truth / "masks/photo.png")
    comparison = open_edit(photo, prior, randomness, truth=truth).compare()
    assert comparison.truth is not None
    assert comparison.truth_mask is not None
    assert comparison.truth[0, :, 3, 3].tolist() == [1, 0, 0]
    assert comparison.truth_mask[0, 0, :, :20].sum() == 0
    assert comparison.truth_mask[0, 0, :, 28:].min() == 1
    assert comparison.size == (48, 96)


def test_the_truths_own_mask_goes_before_the_datasets(
    photo: Path, prior: Prior, randomness: Randomness, tmp_path: Path
) -> None:
    """PIE's masks have a frame of one pixel, which no truth has; its pictures are JPEGs, truths are PNGs."""
    truth, jpeg, wide = tmp_path / "truth", tmp_path / "photo.jpg", tmp_path / "wide.png"
    Image.open(photo).save(jpeg)
    Image.new("L", (96, 48), 255).save(wide)
    for part in ("images", "masks"):
        (truth / part).mkdir(parents=True)
        Image.new("RGB", (96, 48)).save(truth / part / "photo.png")
    with_truth = open_edit(jpeg, prior, randomness, truth=truth, mask=wide).compare()
    without = open_edit(jpeg, prior, randomness, mask=wide).compare()
    assert with_truth.truth_mask is not None
    assert without.truth_mask is not None
    assert (with_truth.truth_mask.max(), without.truth_mask.min()) == (0, 1)
