"""Prompt alignment of the toys' prior: `python -m benchmarks.prompt_alignment OUT [count=500 steps=20 ...]`.

Samples captions of toys seen in training and of held-out combinations, half and half, and reads the pictures
with the attribute reader. Writes OUT/prompt_alignment.json and OUT/grid.png (up to 48 pictures, captions in
grid.txt).
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from piva.metrics import reader, toys_clip
from piva.metrics.toys import Toys
from piva.priors.prior import Prior
from piva.priors.stable_diffusion import StableDiffusion
from piva.toys.training.attributes import Trial, try_clip, try_reader
from piva.toys.world import Toy, random_toy

NETWORKS = Toys(path="toys").folder


@dataclass
class Options:
    count: int = 500  # at least 8
    steps: int = 20
    guidance_scale: float = 4.0
    batch: int = 25
    seed: int = 0
    prior: str = "toys"


def captions(count: int, seed: int) -> list[Toy]:
    """Return toys seen in training and held-out ones in turn."""
    rng = np.random.default_rng((seed, 500))
    toys: list[Toy] = []
    while len(toys) < count:
        toy = random_toy(rng)
        if toy.held_out == bool(len(toys) % 2):
            toys.append(toy)
    return toys


def sample(prior: Prior, folder: Path, toys: list[Toy], options: Options) -> Tensor:
    """Return pictures (n, 3, h, w) in [0, 1]."""
    pipeline = StableDiffusionPipeline(
        vae=prior.vae,
        text_encoder=prior.text_encoder,
        tokenizer=prior.tokenizer,
        unet=prior.unet,
        scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(options.seed)
    pictures = []
    for start in tqdm(range(0, len(toys), options.batch), desc="sampling"):
        out = pipeline(
            [toy.caption for toy in toys[start : start + options.batch]],
            num_inference_steps=options.steps,
            guidance_scale=options.guidance_scale,
            height=prior.resolution,
            width=prior.resolution,
            generator=generator,
            output_type="pt",
        )
        pictures.append(out.images)
    return torch.cat(pictures)


def main(out: Path, options: Options) -> None:
    out.mkdir(parents=True, exist_ok=True)
    settings = StableDiffusion(path=options.prior, dtype="float32")
    assert settings.folder, options.prior
    toys = captions(options.count, options.seed)
    begin = time.perf_counter()
    pictures = sample(settings.load("cpu"), settings.folder, toys, options)
    seconds = time.perf_counter() - begin
    shown = min(48, len(toys) // 8 * 8)  # whole rows
    first = (pictures[:shown].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    rows_of_8 = first.reshape(-1, 8, *first.shape[1:])
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in rows_of_8])
    Image.fromarray(grid).save(out / "grid.png")
    (out / "grid.txt").write_text("\n".join(toy.caption for toy in toys[:shown]) + "\n")
    network = reader.load(NETWORKS)
    figures = {}
    for name, wanted in {"seen": False, "held out": True}.items():
        rows = [i for i, toy in enumerate(toys) if toy.held_out == wanted]
        trial = Trial(pictures[rows], [toys[i] for i in rows])
        figures[name] = {k: v for k, v in try_reader(network, trial).items() if not k.endswith("_held_out")}
        figures[name]["clip_top1"] = try_clip(toys_clip.load(NETWORKS), trial)["top1"]
    report = {**vars(options), "seconds": round(seconds), "figures": figures}
    (out / "prompt_alignment.json").write_text(json.dumps(report, indent=2) + "\n")
    print("| captions | " + " | ".join(figures["seen"]) + " |")
    print("|---" * (1 + len(figures["seen"])) + "|")
    for name, row in figures.items():
        print(f"| {name} | " + " | ".join(f"{100 * value:.0f} %" for value in row.values()) + " |")


if __name__ == "__main__":
    given = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_dotlist(sys.argv[2:]))
    main(Path(sys.argv[1]), Options(**given))
