"""The prior's autoencoder: first on crops (many small steps), then on whole pictures."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from piva.toys.training.loop import Recipe, train


def train_autoencoder(
    cfg: DictConfig, vae: AutoencoderKL, images: Tensor, held_out: int, work: Path, seed: int
) -> AutoencoderKL:
    """Train `vae`, only its decoder if `cfg.decoder_only`, or read the finished one from `work`.

    Args:
        cfg: the settings under `vae` in conf/train_toys.yaml.
        images: (n, 3, h, w) uint8, the first `held_out` never trained on.
    """
    finished, device = work / "vae.safetensors", images.device
    vae = vae.to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    if finished.exists():
        vae.load_state_dict(load_file(finished))
        return vae.eval()
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(not cfg.decoder_only)

    def loss_of(vae: AutoencoderKL, step: int, generator: torch.Generator) -> Tensor:
        crops = step < cfg.crop_steps
        draw: dict[str, Any] = {"generator": generator, "device": device}
        rows = torch.randint(held_out, len(images), (cfg.crop_batch if crops else cfg.batch,), **draw)
        batch = images[rows]
        if crops:
            top, left = torch.randint(0, images.shape[-1] - cfg.crop + 1, (2,), **draw).tolist()
            batch = batch[..., top : top + cfg.crop, left : left + cfg.crop]
        x = (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(not cfg.decoder_only):
            posterior = vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, **draw)
        y = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        kl = 0.0 if cfg.decoder_only else cfg.kl * posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(y, x) + kl

    def check(average: AutoencoderKL) -> dict[str, float]:
        value = psnr(average, images[:held_out])
        return {"psnr": value, "error": 10 ** (-value / 10)}

    recipe = Recipe(
        steps=cfg.steps,
        lr=cfg.lr,
        hold=0.4,
        ema=cfg.ema,
        check_every=cfg.check_every,
        bfloat16=cfg.bfloat16,
        graph=cfg.graph,
    )
    average = train("autoencoder", vae, loss_of, check, recipe, work / "vae.pt", seed)
    save_file({k: v.contiguous() for k, v in average.state_dict().items()}, finished)
    return average


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: Tensor, path: Path) -> Tensor:
    """Return the posterior means of all pictures (n, 4, h, w), not scaled; from `path` if it exists."""
    if path.exists():
        kept: Tensor = load_file(path)["latents"]
        return kept
    latents = torch.cat(
        [
            vae.encode(chunk.float() / 127.5 - 1).latent_dist.mean
            for chunk in tqdm(images.split(256), desc="latents")
        ]
    )
    save_file({"latents": latents.contiguous()}, path)
    return latents


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """Return the loss: pixels (L1, L2), edges (L1 of differences), chroma (L2 of the deviation from grey)."""
    chroma_y, chroma_x = (image - image.mean(dim=1, keepdim=True) for image in (y, x))
    edges = sum((y.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (-1, -2))
    return 0.5 * F.l1_loss(y, x) + 5 * F.mse_loss(y, x) + edges + 10 * F.mse_loss(chroma_y, chroma_x)


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Tensor) -> float:
    """Return the PSNR in dB of the mean reconstruction over all uint8 `images` together."""
    errors = []
    for chunk in images.split(64):
        x = chunk.float() / 255
        y = vae.decode(vae.encode(2 * x - 1).latent_dist.mean).sample.clamp(-1, 1) / 2 + 0.5
        errors.append((y - x).square().mean(dim=(1, 2, 3)))
    return float(-10 * torch.cat(errors).mean().log10())
