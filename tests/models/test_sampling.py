"""What the three models paint, against diffusers' own pipelines, and that asking for it changes nothing."""

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionPipeline
from torch import Tensor

from piva.models.controlnet import ControlNet
from piva.models.lora import Lora
from piva.models.sampling import Painters, Samples
from piva.priors.prior import Prior, load
from piva.scores.terms import EDIT, Network, Prompt
from piva.tasks.base import View

BOTH = [Network.SOURCE, Network.TARGET]
VIEW = View(
    latents={EDIT: torch.zeros(1, 4, 8, 8)},
    depth={EDIT: torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))},
)
TEXTS = {Prompt.TARGET: "a cat", Prompt.SOURCE: "a dog", Prompt.NULL: ""}


def painters(prior: Prior, guidance_scale: float = 3.0, learned: list[Network] = BOTH) -> Painters:
    models = (
        Lora(rank=2, alpha=2, lr=1e-2).attach(prior, learned, torch.Generator().manual_seed(1))
        if learned
        else None
    )
    contexts = {prompt: prior.text(text) for prompt, text in TEXTS.items()}
    return Painters(
        prior=prior, models=models, learned=learned, contexts=contexts, steps=4, guidance_scale=guidance_scale
    )


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
def test_untrained_models_paint_what_diffusers_pipeline_does(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    frozen, source, target = painters(load(str(folder), "cpu", "float32")).paint(VIEW, 2, seeded())
    torch.testing.assert_close(frozen, by_diffusers(folder, "a cat", 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(source, by_diffusers(folder, "a dog", 1.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(target, by_diffusers(folder, "a cat", 1.0), atol=1e-3, rtol=0)
    assert (frozen - target).abs().max() > 0.01  # guidance shows


@pytest.mark.parametrize("learned", [[], [Network.TARGET], BOTH])
def test_only_models_that_exist_paint_and_nothing_is_counted(prior: Prior, learned: list[Network]) -> None:
    before = replace(prior.evaluations)
    pictures = painters(prior, learned=learned).paint(VIEW, 3, seeded())
    assert pictures.shape == (1 + len(learned), 3, 3, 32, 32)
    assert prior.evaluations == before


def test_the_learned_models_paint_by_depth_and_the_frozen_one_does_not(prior: Prior, tmp_path: Path) -> None:
    control = ControlNetModel.from_unet(
        prior.unet, conditioning_channels=1, conditioning_embedding_out_channels=(4, 8, 8)
    )
    with torch.no_grad():
        for name, weight in control.named_parameters():
            if "controlnet_" in name:
                weight.copy_(torch.randn(weight.shape, generator=seeded()))
    control.save_pretrained(tmp_path)
    settings = ControlNet(
        path=str(tmp_path), scale=1.0, source_sees="edit", tune=False, rank=2, alpha=2, lr=1e-2
    )
    painting = replace(
        painters(prior, learned=[]), learned=BOTH, models=settings.attach(prior, BOTH, seeded())
    )
    near, far = (
        painting.paint(replace(VIEW, depth={EDIT: d}), 2, seeded())
        for d in (VIEW.depth[EDIT], VIEW.depth[EDIT].flip(1))
    )
    assert torch.equal(near[0], far[0])
    assert ((near - far).abs().amax(dim=(1, 2, 3, 4))[1:] > 1e-3).all()


def test_chosen_steps_are_painted_with_one_noise_and_saved(prior: Prior, tmp_path: Path) -> None:
    samples = Samples(painters(prior), [2, 3], 2, seeded, {})
    for step in range(5):
        samples(step, VIEW)
    samples.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples-2.png", "samples-3.png"]
    two, three = (iio.imread(tmp_path / f"samples-{step}.png") for step in (2, 3))
    assert two.shape == (3 * 34 + 2, 2 * 34 + 2, 3)
    assert (two == three).all()  # no model has learned in between
