"""Priors with Stable Diffusion 2.1's layers and random weights, and runs opened to be measured by steps.

`python -m benchmarks.sd_size FOLDER` writes one at its real size (866 M parameters in the U-Net, 364 M in the
ControlNet; 3.4 GB in float16); a narrow one has the same layers, so the same launches, and fits anywhere.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from piva.config import check, compose
from piva.experiment.edit import Bench, EditRun
from piva.models.denoiser import Denoiser
from piva.models.needs import needs
from piva.optimise import Method, Work
from piva.priors.prior import Prior
from piva.priors.stable_diffusion import Speed, StableDiffusion
from piva.runs.folder import RunFolder


@dataclass(frozen=True)
class Widths:
    """Channels of the networks' stages."""

    unet: tuple[int, ...] = (320, 640, 1280, 1280)
    heads: tuple[int, ...] = (5, 10, 20, 20)
    vae: tuple[int, ...] = (128, 256, 512, 512)
    hint: tuple[int, ...] = (16, 32, 96, 256)
    text: int = 1024
    text_layers: int = 23


NARROW = Widths((32, 64, 128, 128), (1, 2, 4, 4), (32, 32, 64, 64), (8, 8, 16, 32), 64, 2)


def write_random(
    folder: Path, widths: Widths = Widths(), dtype: torch.dtype = torch.float16, device: str = "cpu"
) -> Path:
    """Write a prior and its depth ControlNet, in `folder` and `folder`/controlnet, in diffusers' layout.

    Args:
        device: that draws the weights; a CPU takes a minute for the real size.
    """
    torch.manual_seed(0)
    with torch.device(device):
        parts = _networks(widths)
    for name, part in parts.items():
        part.to(dtype).save_pretrained(folder / name)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    scheduler.save_pretrained(folder / "scheduler")
    _tokenizer(folder).save_pretrained(folder / "tokenizer")
    return folder


def _networks(widths: Widths) -> dict[str, Any]:
    """Return networks of random weights under the names of their folders."""
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=widths.unet,
        attention_head_dim=widths.heads,
        cross_attention_dim=widths.text,
        use_linear_projection=True,
    )
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths.hint)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths.vae,
        layers_per_block=2,
        sample_size=512,
    )
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=widths.text,
        intermediate_size=4 * widths.text,
        num_hidden_layers=widths.text_layers,
        num_attention_heads=widths.text // 64,
        hidden_act="gelu",
    )
    return {"unet": unet, "controlnet": control, "vae": vae, "text_encoder": CLIPTextModel(text)}


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """Return one that spells words in letters: prompts mean nothing to random weights."""
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    tokens = [*letters, "<|startoftext|>", "<|endoftext|>", "!"]
    (folder / "words").mkdir(parents=True, exist_ok=True)
    (folder / "words/vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "words/merges.txt").write_text("#version: 0.2\n")
    files = str(folder / "words/vocab.json"), str(folder / "words/merges.txt")
    return CLIPTokenizer(*files, model_max_length=77, pad_token="!", unk_token="<|endoftext|>")


def write_photos(folder: Path, count: int, size: int) -> Path:
    """Write a benchmark of `count` edits of one picture of noise, as dataset=noe reads it."""
    (folder / "scene/images").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)
    for name in "ab":
        Image.fromarray(pixels).save(folder / f"scene/images/{name}.png")
    lens = {"fl_x": size, "fl_y": size, "cx": size / 2, "cy": size / 2, "w": size, "h": size}
    pose = np.eye(4).tolist()
    frames = [{"file_path": f"images/{name}.png", "transform_matrix": pose} for name in "ab"]
    (folder / "scene/transforms.json").write_text(json.dumps(lens | {"frames": frames}))
    prompts = {"path": "scene", "source_prompt": "a dog", "target_prompt": "a cat"}
    records = [{"id": f"edit{i}", **prompts} for i in range(count)]
    (folder / "benchmark.json").write_text(json.dumps({"records": records}))
    return folder


@dataclass(frozen=True)
class Opened:
    """A run before its first step."""

    prior: Prior
    method: Method
    works: list[Work]


@lru_cache(maxsize=1)
def _loaded(of: StableDiffusion, speed: Speed, device: str) -> Prior:
    """Return the prior of one run after another with the same settings, loaded once."""
    prior = of.load(device)
    speed.apply(prior)
    return prior


@contextmanager
def opened(*overrides: str) -> Iterator[Opened]:
    """Open all edits of the run that these overrides make; nothing is measured or saved."""
    settings = check(compose(*overrides))
    prior = _loaded(settings.prior, settings.run.speed, settings.run.device)
    denoiser = settings.model.denoiser(prior) if needs(settings.score).learned else Denoiser(prior)
    with TemporaryDirectory() as folder:
        method = Method(settings.schedule, denoiser, noises=settings.run.noises)
        bench = Bench(
            settings=settings, method=method, networks=None, folder=RunFolder(Path(folder)), mirror=None
        )
        works = [EditRun(edit, bench).work for edit in settings.edits]
        try:
            yield Opened(prior, method, works)
        finally:
            denoiser.detach()


if __name__ == "__main__":
    print(write_random(Path(sys.argv[1])))
