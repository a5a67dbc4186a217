"""Inversion there and back: what it returns to, what prompt-to-prompt takes over, what it costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_prior import contexts
from PIL import Image
from torch import Tensor

from piva.datasets.edit import Edit
from piva.methods.denoising import invert
from piva.methods.inversion import DDIMInversion, DirectInversion, PromptToPrompt
from piva.models.denoiser import Conditioning, Denoiser, NetworkEvaluations
from piva.optimise import Method, Work
from piva.priors.prior import Prior
from piva.schedules.uniform import Uniform
from piva.scores.dds import DDS
from piva.scores.terms import EDIT, ORIGINAL, Prompt
from piva.tasks.base import Randomness
from piva.tasks.image import ImageTask

TASK = ImageTask(
    lr=0.1,
    lr_steps=None,
    optimiser="sgd",
    lr_schedule="constant",
    lr_end=1.0,
    lr_warmup=0.0,
    residual=False,
)
PLAIN = PromptToPrompt(cross_until=0, self_until=0, words="refine", self_size=32)
SHARED = replace(PLAIN, cross_until=0.4, self_until=0.6)
TEXTS = {Prompt.TARGET: "a cat", Prompt.SOURCE: "a dog", Prompt.NULL: ""}
Inverting = DDIMInversion | DirectInversion


def open_work(prior: Prior, folder: Path, seed: int = 0, equal: bool = False) -> Work:
    """An edit of noise, from "a dog" to "a cat" or, with `equal`, to the same."""
    path = folder / f"{seed}.png"
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    texts = TEXTS | ({Prompt.TARGET: TEXTS[Prompt.SOURCE]} if equal else {})
    own = {prompt: prior.text(text) for prompt, text in texts.items()}
    tokens = {prompt: prior.tokens(text) for prompt, text in texts.items()}
    randomness = Randomness(torch.Generator(), torch.Generator())
    edit = Edit(id=str(seed), source_prompt="a dog", target_prompt="a cat", image=path)
    state = TASK.open(edit, prior, 32, 10, randomness)
    score = DDS(guidance_scale=1.0, reference="edit", weight="uniform")  # unread
    return Work(state, score, Conditioning(own, tokens=tokens), randomness)


def edited(settings: Inverting, prior: Prior, *works: Work, steps: int = 10) -> list[Tensor]:
    """The works' latents after the edit."""
    method = Method(Uniform(t_min=0.0, t_max=1.0), Denoiser(prior))
    assert len(list(settings.edit(works, method, steps))) == steps * len(works)
    return [latents(work) for work in works]


def latents(work: Work, which: object = EDIT) -> Tensor:
    return work.state.view(work.randomness, original=True).latents[which].detach().clone()  # type: ignore[index]


def test_with_equal_prompts_and_no_guidance_more_steps_lead_back_nearer(prior: Prior, tmp_path: Path) -> None:
    """With noise predictions that change as slowly with the latents as a trained model's."""
    prior.unet.conv_out.weight.data *= 0.1
    settings, errors = DDIMInversion(guidance_scale=1.0, attention=PLAIN), []
    for steps in (4, 16, 64):
        work = open_work(prior, tmp_path, equal=True)
        (after,) = edited(settings, prior, work, steps=steps)
        errors.append((after - latents(work, ORIGINAL)).square().mean().sqrt().item())
    # by half where steps are quartered: the noise grows with the square root of time at first
    assert 0 < errors[2] < errors[1] / 1.5 < errors[0] / 2.25, errors


@pytest.mark.parametrize("attention", [PLAIN, SHARED], ids=["plain", "p2p"])
def test_direct_inversion_of_both_branches_keeps_the_picture_exactly_with_equal_prompts(
    prior: Prior, tmp_path: Path, attention: PromptToPrompt
) -> None:
    work = open_work(prior, tmp_path, equal=True)
    settings = DirectInversion(guidance_scale=7.5, attention=attention, corrected="both")
    torch.testing.assert_close(edited(settings, prior, work)[0], latents(work, ORIGINAL), atol=1e-6, rtol=0)
    other = open_work(prior, tmp_path)
    assert (edited(settings, prior, other)[0] - latents(other, ORIGINAL)).abs().max() > 1e-3


@pytest.mark.parametrize("corrected", ["none", "source", "both"])
def test_the_source_s_branch_is_where_its_inversion_was(prior: Prior, tmp_path: Path, corrected: str) -> None:
    """Of what the U-Net sees at each step: the source's row against the stored inversion."""
    all_along = replace(PLAIN, cross_until=1.0)
    work, seen = open_work(prior, tmp_path), []
    settings: Inverting = DDIMInversion(guidance_scale=7.5, attention=all_along)
    if corrected != "none":
        settings = DirectInversion(guidance_scale=7.5, attention=all_along, corrected=corrected)  # type: ignore[arg-type]
    (path,) = invert([work], Denoiser(prior), 10)
    hook = prior.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    edited(settings, prior, work)
    hook.remove()
    rows = [batch[-1:] for batch in seen[10:]]  # the source's come last
    off = max((row - x).abs().max().item() for row, x in zip(rows, reversed(path[1:]), strict=True))
    assert off == 0 if corrected != "none" else off > 1e-3


def test_where_all_attention_is_the_source_s_the_prompt_moves_nothing(prior: Prior, tmp_path: Path) -> None:
    """Contexts that differ only where no value is read: prompts then act through attention maps alone."""
    for name, layer in prior.unet.named_modules():
        if name.endswith("attn2.to_v"):
            layer.weight.data[:, 8:] = 0
        if name.endswith(("attn2.to_q", "attn2.to_k")):
            layer.weight.data *= 30  # maps that are not flat

    def work() -> Work:
        made = open_work(prior, tmp_path, equal=True)
        changed = made.edit.contexts[Prompt.SOURCE].clone()
        changed[:, :, 8:] = -3 * changed[:, :, 8:]
        made.edit = replace(made.edit, contexts={**made.edit.contexts, Prompt.TARGET: changed})
        return made

    def after(made: Work, **until: float) -> Tensor:
        settings = DDIMInversion(guidance_scale=1.0, attention=replace(PLAIN, **until))  # type: ignore[arg-type]
        return edited(settings, prior, made)[0]

    source = after(open_work(prior, tmp_path, equal=True))
    torch.testing.assert_close(after(work(), cross_until=1.0), source, atol=1e-4, rtol=0)
    plain = (after(work()) - source).abs().max()
    part = (after(work(), cross_until=0.5) - source).abs().max()
    assert plain > part > 1e-3


@pytest.mark.parametrize(
    ("settings", "forward"),
    [
        (DDIMInversion(guidance_scale=1.0, attention=PLAIN), 10 + 10 * 1),
        (DDIMInversion(guidance_scale=7.5, attention=PLAIN), 10 + 10 * 2),
        (DDIMInversion(guidance_scale=7.5, attention=SHARED), 10 + 6 * 4 + 4 * 2),
        (DirectInversion(guidance_scale=7.5, attention=SHARED, corrected="source"), 10 + 6 * 3 + 4 * 2),
        (DirectInversion(guidance_scale=7.5, attention=SHARED, corrected="both"), 10 + 10 * 4),
        (DirectInversion(guidance_scale=7.5, attention=PLAIN, corrected="both"), 10 + 10 * 4),
    ],
)
def test_the_source_is_followed_no_longer_than_it_is_of_use(
    prior: Prior, tmp_path: Path, settings: Inverting, forward: int
) -> None:
    work = open_work(prior, tmp_path)
    edited(settings, prior, work)
    assert work.edit.evaluations == NetworkEvaluations(forward=forward, calls=20)


def test_edits_together_are_as_alone(prior: Prior, tmp_path: Path) -> None:
    settings = DirectInversion(guidance_scale=7.5, attention=SHARED, corrected="source")
    together = edited(settings, prior, *(open_work(prior, tmp_path, seed) for seed in (0, 1)))
    for seed, x in enumerate(together):
        (alone,) = edited(settings, prior, open_work(prior, tmp_path, seed))
        torch.testing.assert_close(x, alone, atol=1e-3, rtol=0)


def test_a_failed_edit_is_left_out_and_others_go_on(prior: Prior, tmp_path: Path) -> None:
    works = [open_work(prior, tmp_path, seed) for seed in (0, 1)]
    method = Method(Uniform(t_min=0.0, t_max=1.0), Denoiser(prior))
    for work, step in DDIMInversion(guidance_scale=2.0, attention=SHARED).edit(works, method, 10):
        if work is works[0] and step.index == 3:
            work.error = FloatingPointError("so")
    assert [work.step for work in works] == [4, 10]


def test_the_prior_is_left_as_it_was(prior: Prior, tmp_path: Path) -> None:
    before = prior.predict(torch.ones(1, 4, 8, 8), prior.timestep(500), contexts(prior)[Prompt.TARGET])
    edited(DDIMInversion(guidance_scale=2.0, attention=SHARED), prior, open_work(prior, tmp_path))
    after = prior.predict(torch.ones(1, 4, 8, 8), prior.timestep(500), contexts(prior)[Prompt.TARGET])
    assert torch.equal(before, after)
