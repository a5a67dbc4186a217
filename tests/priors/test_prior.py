import shutil
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from helpers.tiny_prior import write_controlnet

from piva.errors import InputError
from piva.priors.prior import Prior, load
from piva.priors.stable_diffusion import StableDiffusion


def test_schedule_and_noising_are_the_schedulers(
    prior: Prior, prior_folder: Path, generator: torch.Generator
) -> None:
    scheduler = DDIMScheduler.from_pretrained(prior_folder, subfolder="scheduler")
    x, noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
    for t in (0, 500, 999):
        torch.testing.assert_close(
            prior.schedule.noised(x, noise, t), scheduler.add_noise(x, noise, torch.tensor([t]))
        )


def test_a_v_prediction_prior_predicts_noise(v_prior_folder: Path, generator: torch.Generator) -> None:
    """The same network output read as v must give the eps that diffusers' scheduler derives from it."""
    prior = load(str(v_prior_folder), "cpu", "float32")
    scheduler = DDIMScheduler.from_pretrained(v_prior_folder, subfolder="scheduler")
    scheduler.set_timesteps(1000)
    noisy, context = torch.randn(1, 4, 8, 8, generator=generator), prior.text("a cat")
    with torch.no_grad():
        v = prior.unet(noisy, 500, context).sample
        x0 = scheduler.step(v, 500, noisy).pred_original_sample
        eps = prior.predict(noisy, prior.timestep(500), context)
    torch.testing.assert_close(prior.schedule.noised(x0, eps, 500), noisy, rtol=1e-4, atol=1e-5)


def test_latents_are_the_scaled_mean_and_carry_gradients(prior: Prior, generator: torch.Generator) -> None:
    image = torch.rand(1, 3, 32, 32, generator=generator).requires_grad_(True)
    latents = prior.encode(image)
    expected = prior.vae.encode(2 * image - 1).latent_dist.mean * prior.vae.config.scaling_factor
    torch.testing.assert_close(latents, expected)
    latents.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_nothing_of_the_prior_learns(prior: Prior) -> None:
    parts = (prior.unet, prior.vae, prior.text_encoder)
    assert not any(p.requires_grad for part in parts for p in part.parameters())
    assert not any(part.training for part in parts)


def test_sizes_come_from_the_folder(prior: Prior) -> None:
    assert (prior.factor, prior.resolution) == (4, 32)


def test_a_prompt_that_is_too_long_is_cut_with_a_warning(
    prior: Prior, caplog: pytest.LogCaptureFixture
) -> None:
    assert prior.text("a very long prompt about nothing at all, told in great detail").shape[1] == 20
    assert "cut off" in caplog.text


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_folder_without_a_part_is_named(prior_folder: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(prior_folder, tmp_path / "p")
    shutil.rmtree(tmp_path / "p" / part)
    with pytest.raises(InputError, match=f"no folder {part}"):
        StableDiffusion(path=str(tmp_path / "p"), dtype="float32").check()


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        StableDiffusion(path=str(tmp_path / "missing"), dtype="float32").check()


def test_a_sample_prediction_prior_is_refused(prior_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(prior_folder, tmp_path / "p")
    scheduler = DDIMScheduler.from_pretrained(prior_folder, subfolder="scheduler")
    scheduler.register_to_config(prediction_type="sample")
    scheduler.save_pretrained(tmp_path / "p/scheduler")
    with pytest.raises(InputError, match="prediction_type sample"):
        load(str(tmp_path / "p"), "cpu", "float32")


def test_words_that_a_small_prior_does_not_know_are_named(caplog: pytest.LogCaptureFixture) -> None:
    toys = StableDiffusion(path="toys", dtype="float32").load("cpu")
    toys.text("a red dragon with a hat")
    assert "'dragon'" in caplog.text
    assert "hat" not in caplog.text.replace("with a hat", "")
    caplog.clear()
    toys.text("a red striped mug with a blue hat")
    assert not caplog.text


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_torn_weight_file_is_named_before_anything_is_loaded(
    prior_folder: Path, tmp_path: Path, part: str
) -> None:
    shutil.copytree(prior_folder, tmp_path / "p")
    weights = next((tmp_path / "p" / part).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"{part}/.*safetensors: found a damaged file"):
        StableDiffusion(path=str(tmp_path / "p"), dtype="float32").check()


@pytest.fixture
def pipe(prior_folder: Path) -> StableDiffusionPipeline:
    parts = load(str(prior_folder), "cpu", "float32")
    return StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=DDIMScheduler.from_config(parts.scheduler.config, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pipeline_predicts_as_its_folder_does(
    pipe: StableDiffusionPipeline, prior_folder: Path, generator: torch.Generator, dtype: torch.dtype
) -> None:
    """Whatever sampler it has; an autoencoder kept in float32 is brought to the U-Net's precision."""
    pipe.unet.to(dtype).train().requires_grad_(True)
    pipe.text_encoder.to(dtype)
    pipe.scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    prior, expected = Prior.from_pipeline(pipe), load(str(prior_folder), "cpu", str(dtype).split(".")[1])
    test_nothing_of_the_prior_learns(prior)
    assert prior.dtype == dtype
    assert prior.schedule == expected.schedule
    assert not prior.scheduler.config.clip_sample  # which a config without the key means by default
    noisy, images = torch.randn(1, 4, 8, 8, generator=generator), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        predicted, wanted = (p.predict(noisy, p.timestep(500), p.text("a cat")) for p in (prior, expected))
        torch.testing.assert_close(predicted, wanted)
        torch.testing.assert_close(prior.encode(images), expected.encode(images))


def test_a_pipeline_of_another_kind_is_refused(pipe: StableDiffusionPipeline) -> None:
    pipe.unet.register_to_config(in_channels=9)
    with pytest.raises(InputError, match=r"^StableDiffusionPipeline.*inpainting"):
        Prior.from_pipeline(pipe)
    pipe.unet = None
    with pytest.raises(InputError, match=r"^StableDiffusionPipeline.*no unet, wanted a text-to-image"):
        Prior.from_pipeline(pipe)


def test_latents_that_cannot_be_halved_are_predicted(prior_folder: Path, tmp_path: Path) -> None:
    """With a ControlNet too: sides need be multiples of the autoencoder's factor alone."""
    write_controlnet(prior_folder, 0.3, tmp_path / "controlnet")
    control = ControlNetModel.from_pretrained(tmp_path / "controlnet")
    prior = load(str(prior_folder), "cpu", "float32")
    latents = prior.encode(torch.rand(1, 3, 28, 36)).requires_grad_(True)
    assert latents.shape == (1, 4, 7, 9)
    t, context = prior.timestep(500), prior.text("a cat")
    residuals = control(latents, t, context, torch.rand(1, 3, 28, 36), return_dict=False)
    plain, controlled = (prior.predict(latents, t, context, each) for each in (None, residuals))
    assert plain.shape == controlled.shape == latents.shape
    assert not torch.allclose(plain, controlled)
    (gradient,) = torch.autograd.grad(controlled.sum(), latents)
    assert bool((gradient != 0).all())
    assert prior.decode(latents).shape == (1, 3, 28, 36)
