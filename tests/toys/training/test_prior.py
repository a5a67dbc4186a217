"""The training command, a few steps of each stage: the prior loads, and training goes on where it stopped."""

from pathlib import Path

import pytest
import torch
from helpers.toys_corpus import write_corpus

from piva.config import compose
from piva.priors.prior import load
from piva.toys.training.architectures import tokenizer, vocabulary
from piva.toys.training.prior import main

SMALL = ["images=12", "held_out=4", "workers=1", "work=work", "out=work/prior"]
SHORT = [
    *("vae.steps=2", "vae.crop_steps=1", "unet.steps=3", "unet.batch=4", "unet.check_every=1"),
    *("controlnet.steps=2", "controlnet.batch=2"),
]


@pytest.mark.slow
def test_a_trained_prior_loads_and_training_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    write_corpus(Path("work"), 12)
    main(compose(*SMALL, *SHORT, name="train_toys"))
    prior = load("work/prior", "cpu", "float32")
    assert (prior.resolution, prior.factor) == (64, 4)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    latents = prior.encode(image)
    assert (
        prior.predict(latents, prior.timestep(500), prior.text("a red mug")).shape
        == latents.shape
        == (1, 4, 16, 16)
    )
    before = prior.unet.state_dict()
    capfd.readouterr()
    main(compose(*SMALL, *SHORT, "unet.steps=5", name="train_toys"))
    assert "3/5" in capfd.readouterr().err  # the bar starts at the third step
    after = load("work/prior", "cpu", "float32").unet.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_every_word_of_a_caption_is_one_token_and_others_are_spelled(tmp_path: Path) -> None:
    tokens = tokenizer(tmp_path)
    assert all(len(tokens.tokenize(word)) == 1 for word in vocabulary())
    assert "".join(tokens.tokenize("doghouse")).replace("</w>", "") == "doghouse"
    assert tokens("").input_ids == [tokens.bos_token_id, tokens.eos_token_id]
