"""Shared fixtures: tiny random models in Stable Diffusion 2.1's layout, a cache and working folder of the test's own."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from piva.priors.prior import Prior, load

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = {"gpu": torch.cuda.is_available(), "browser": CHROMIUM is not None}
    needs = {"gpu": "needs a CUDA device", "browser": "needs a Chromium on the PATH"}
    for item in items:
        for marker, reason in needs.items():
            if marker in item.keywords and not here[marker]:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of the tests marked so."""
    assert CHROMIUM
    return CHROMIUM


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test makes lands in the user's cache or in the checkout; one cache for the session, as for a user."""
    root = tmp_path_factory.getbasetemp()
    (root / "cache").mkdir(exist_ok=True)
    monkeypatch.setenv("PIVA_CACHE", str(root / "cache"))
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


def write_prior(folder: Path, prediction_type: str) -> Path:
    """A random model with Stable Diffusion 2.1's structure (GEGLU transformers, linear projections, 8x autoencoder), tiny."""
    torch.manual_seed(0)
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    tokens = [*letters, "<|startoftext|>", "<|endoftext|>", "!"]
    (folder / "words").mkdir(parents=True)
    (folder / "words/vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "words/merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        str(folder / "words/vocab.json"),
        str(folder / "words/merges.txt"),
        model_max_length=20,
        pad_token="!",
        unk_token="<|endoftext|>",
    )
    text = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=20,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        sample_size=32,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, prediction_type=prediction_type
    )
    parts = {"tokenizer": tokenizer, "text_encoder": CLIPTextModel(text), "unet": unet, "vae": vae, "scheduler": scheduler}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "sd", "epsilon")


@pytest.fixture(scope="session")
def v_prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "sd-v", "v_prediction")


@pytest.fixture
def prior(prior_folder: Path) -> Prior:
    return load(str(prior_folder), "cpu", "float32")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
