"""Samples of the three models, against diffusers' own pipelines."""

from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionPipeline
from helpers.tiny_prior import LORA, contexts, new_models
from torch import Tensor

from piva.models.controlnet import ControlNet
from piva.models.denoiser import Conditioning, NetworkEvaluations
from piva.models.sampling import Sampler, save_samples
from piva.priors.prior import Prior, load
from piva.scores.terms import EDIT, Network

BOTH = [Network.SOURCE, Network.TARGET]
LIKE = torch.zeros(1, 4, 8, 8)
DEPTH = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))


def sampler(prior: Prior, guidance_scale: float = 3.0, learned: list[Network] = BOTH) -> Sampler:
    denoiser = LORA.denoiser(prior)
    edit = Conditioning(contexts(prior), new_models(LORA, denoiser, learned) if learned else None)
    return Sampler(denoiser=denoiser, edit=edit, steps=4, guidance_scale=guidance_scale)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def by_diffusers(folder: Path, prompt: str, guidance_scale: float) -> Tensor:
    prior = load(str(folder), "cpu", "float32")
    pipeline = StableDiffusionPipeline(
        vae=prior.vae,
        text_encoder=prior.text_encoder,
        tokenizer=prior.tokenizer,
        unet=prior.unet,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.scheduler = DDIMScheduler.from_pretrained(
        folder, subfolder="scheduler"
    )  # the constructor would alter its settings
    pipeline.set_progress_bar_config(disable=True)
    options = {
        "guidance_scale": guidance_scale,
        "num_inference_steps": 4,
        "num_images_per_prompt": 2,
        "output_type": "pt",
    }
    pictures: Tensor = pipeline(prompt, generator=seeded(), height=32, width=32, **options).images
    return pictures


@pytest.mark.parametrize("kind", ["prior_folder", "v_prior_folder"])
def test_untrained_models_sample_what_diffusers_pipeline_does(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    frozen, source, target = sampler(load(str(folder), "cpu", "float32")).sample(LIKE, {}, 2, seeded())
    torch.testing.assert_close(frozen, by_diffusers(folder, "a cat", 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(source, by_diffusers(folder, "a dog", 1.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(target, by_diffusers(folder, "a cat", 1.0), atol=1e-3, rtol=0)
    assert (frozen - target).abs().max() > 0.01  # guidance shows


@pytest.mark.parametrize("learned", [[], [Network.TARGET], BOTH])
def test_only_models_that_exist_sample_and_nothing_is_counted(prior: Prior, learned: list[Network]) -> None:
    drawing = sampler(prior, learned=learned)
    pictures = drawing.sample(LIKE, {}, 3, seeded())
    assert pictures.shape == (1 + len(learned), 3, 3, 32, 32)
    assert drawing.edit.evaluations == NetworkEvaluations()


def test_the_learned_models_sample_by_depth_and_the_frozen_one_does_not(prior: Prior, tmp_path: Path) -> None:
    control = ControlNetModel.from_unet(
        prior.unet, conditioning_channels=1, conditioning_embedding_out_channels=(4, 8, 8)
    )
    with torch.no_grad():
        for name, weight in control.named_parameters():
            if "controlnet_" in name:
                weight.copy_(torch.randn(weight.shape, generator=seeded()))
    control.save_pretrained(tmp_path)
    settings = ControlNet(path=str(tmp_path), scale=1.0, source_sees="edit", tune=False, **vars(LORA))
    denoiser = settings.denoiser(prior)
    edit = Conditioning(contexts(prior), new_models(settings, denoiser, BOTH))
    controlled = Sampler(denoiser=denoiser, edit=edit, steps=4, guidance_scale=3.0)
    near, far = (controlled.sample(LIKE, {EDIT: d}, 2, seeded()) for d in (DEPTH, DEPTH.flip(1)))
    assert torch.equal(near[0], far[0])
    assert ((near - far).abs().amax(dim=(1, 2, 3, 4))[1:] > 1e-3).all()


def test_samples_are_saved_a_row_for_each_model(tmp_path: Path) -> None:
    save_samples({"2": torch.zeros(3, 2, 3, 32, 32), "3": torch.ones(3, 2, 3, 32, 32)}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples-2.png", "samples-3.png"]
    two = iio.imread(tmp_path / "samples-2.png")
    assert two.shape == (3 * 34 + 2, 2 * 34 + 2, 3)
    assert (two[2:34, 2:34] == 0).all()
    assert (two[:2] == 255).all()  # the frame
