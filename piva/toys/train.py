"""Train the small text-to-image prior from nothing: `python -m piva.toys.train` (settings: conf/train_toys.yaml).

Renders the corpus, trains the autoencoder, caches the latents, then trains U-Net and text encoder together by the
noise-prediction loss. Each stage keeps a checkpoint and an interrupted run goes on from it.
"""

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from piva.config import CONF
from piva.toys import corpus, networks

log = logging.getLogger(__name__)


@hydra.main(config_path=str(CONF), config_name="train_toys", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Train all parts and write them to `cfg.out` in diffusers' Stable Diffusion layout, fp16."""
    torch.manual_seed(cfg.seed)  # initial weights only; every draw below has a generator of its own
    work = Path(cfg.work)
    data = corpus.draw(cfg.images, cfg.size, cfg.seed, work, cfg.workers)
    held_out = cfg.held_out
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    vae = train_autoencoder(cfg.vae, images, held_out, work, cfg.seed)
    latents = encode_all(vae, images, work / "latents.safetensors")
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))

    tokenizer = networks.tokenizer(work / "tokenizer")
    tokens = tokenizer(data.captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    null = tokenizer([""], padding="max_length", return_tensors="pt").input_ids
    model = nn.ModuleDict({"unet": networks.unet(latents.shape[-1]), "text": networks.text_encoder(tokenizer)})
    model = train_diffusion(cfg.unet, model, latents * vae.config.scaling_factor, tokens, null, held_out, work, cfg.seed)

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model["text"],
        tokenizer=tokenizer,
        unet=model["unet"],
        scheduler=networks.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(cfg.out)
    log.info("wrote %s", cfg.out)


def train_autoencoder(cfg: DictConfig, images: Tensor, held_out: int, work: Path, seed: int) -> AutoencoderKL:
    """First on crops (many small steps), then on whole pictures with weight on chroma, which small networks grey out."""
    vae = networks.autoencoder(images.shape[-1]).to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    if (work / "vae.safetensors").exists():
        vae.load_state_dict(load_file(work / "vae.safetensors"))
        return vae.eval()
    generator = torch.Generator().manual_seed(seed)
    average = copy.deepcopy(vae)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=cfg.lr, betas=(0.9, 0.99), weight_decay=0.0)
    bar = tqdm(range(cfg.steps), desc="autoencoder", unit="step")
    for step in bar:
        crops = step < cfg.crop_steps
        batch = _batch(images[held_out:], cfg.crop_batch if crops else cfg.batch, generator)
        if crops:
            top, left = torch.randint(0, images.shape[-1] - cfg.crop + 1, (2,), generator=generator).tolist()
            batch = batch[..., top : top + cfg.crop, left : left + cfg.crop]
        x = (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample(generator)).sample
        loss = _reconstruction_loss(y, x) + cfg.kl * posterior.kl().mean() / posterior.mean[0].numel()
        _descend(optimiser, vae, loss, cfg.lr * _warm_cosine(step, cfg.steps, hold=0.4))
        _follow(average, vae, min(cfg.ema, step / (step + 20)))
        if step % 100 == 0:
            bar.set_postfix(psnr=f"{_psnr(average, images[:64]):.2f}", crops=crops)
    log.info("autoencoder: %d steps, %.2f dB on held-out pictures", cfg.steps, _psnr(average, images[:held_out]))
    save_file({k: v.contiguous() for k, v in average.state_dict().items()}, work / "vae.safetensors")
    return average.eval()


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: Tensor, path: Path) -> Tensor:
    """Posterior means of all pictures (n, 4, h, w), not scaled; from `path` if they are there."""
    if path.exists():
        kept: Tensor = load_file(path)["latents"]
        return kept
    latents = torch.cat(
        [vae.encode(chunk.float() / 127.5 - 1).latent_dist.mean for chunk in tqdm(images.split(128), desc="latents")]
    )
    save_file({"latents": latents.contiguous()}, path)
    return latents


def train_diffusion(
    cfg: DictConfig, model: nn.ModuleDict, latents: Tensor, tokens: Tensor, null: Tensor, held_out: int, work: Path, seed: int
) -> nn.ModuleDict:
    """Noise prediction with min-SNR weights (Hang et al. 2023), stratified timesteps and caption dropout. Returns the average."""
    generator = torch.Generator().manual_seed(seed + 1)
    alphas_cumprod = networks.scheduler().alphas_cumprod
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=cfg.lr, betas=(0.9, 0.99), weight_decay=0.01)
    checkpoint = work / "diffusion.pt"
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"]), average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"]), generator.set_state(state["generator"])
        start = state["step"]
    validation = torch.Generator().manual_seed(0)
    fixed_noise = torch.randn(latents[:held_out].shape, generator=validation)
    fixed_t = torch.randint(0, 1000, (held_out,), generator=validation)

    def loss_of(networks: nn.ModuleDict, x: Tensor, text: Tensor, noise: Tensor, t: Tensor, weighted: bool) -> Tensor:
        abar = alphas_cumprod[t][:, None, None, None]
        noisy = abar.sqrt() * x + (1 - abar).sqrt() * noise
        predicted = networks["unet"](noisy, t, networks["text"](text)[0]).sample
        error = (predicted - noise).square().mean(dim=(1, 2, 3))
        snr = (abar / (1 - abar)).flatten()
        loss: Tensor = (error * (cfg.min_snr / snr).clamp(max=1.0)).mean() if weighted else error.mean()
        return loss

    bar = tqdm(range(start, cfg.steps), desc="diffusion", unit="step", initial=start, total=cfg.steps)
    for step in bar:
        rows = torch.randint(held_out, len(latents), (cfg.batch,), generator=generator)
        drop = torch.rand(cfg.batch, generator=generator) < cfg.caption_dropout
        text = torch.where(drop[:, None], null, tokens[rows])
        noise = torch.randn(latents[rows].shape, generator=generator)
        t = ((torch.arange(cfg.batch) + torch.rand(cfg.batch, generator=generator)) * 1000 / cfg.batch).long()
        loss = loss_of(model, latents[rows], text, noise, t, weighted=True)
        _descend(optimiser, model, loss, cfg.lr * _warm_cosine(step, cfg.steps, hold=0.5))
        _follow(average, model, min(cfg.ema, (1 + step) / (10 + step)))
        if step % cfg.check_every == 0:
            with torch.no_grad():
                error = loss_of(average, latents[:held_out], tokens[:held_out], fixed_noise, fixed_t, weighted=False)
            bar.set_postfix(val_mse=f"{error:.4f}")
            state = {"model": model, "average": average, "optimiser": optimiser}
            state = {k: v.state_dict() for k, v in state.items()} | {"generator": generator.get_state()}
            torch.save(state | {"step": step + 1}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").rename(checkpoint)
    return average.eval()


def _warm_cosine(step: int, steps: int, hold: float, warm: int = 100) -> float:
    """Learning-rate factor: `warm` rising steps, constant until the share `hold` of all, then half a cosine down to zero."""
    falling = max(0.0, (step / steps - hold) / (1 - hold))
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + float(np.cos(np.pi * falling)))


def _batch(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    return images[torch.randint(0, len(images), (size,), generator=generator)]


def _descend(optimiser: torch.optim.Optimizer, model: nn.Module, loss: Tensor, lr: float) -> None:
    optimiser.param_groups[0]["lr"] = lr
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def _reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """Pixels (L1, L2), edges (L1 of differences) and chroma (L2 of the deviation from grey)."""
    chroma: Callable[[Tensor], Tensor] = lambda image: image - image.mean(dim=1, keepdim=True)  # noqa: E731
    edges = sum((y.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (-1, -2))
    return 0.5 * F.l1_loss(y, x) + 5 * F.mse_loss(y, x) + edges + 10 * F.mse_loss(chroma(y), chroma(x))


@torch.no_grad()
def _psnr(vae: AutoencoderKL, images: Tensor) -> float:
    """PSNR of the mean reconstruction over all `images` together, in dB."""
    errors = []
    for chunk in images.split(64):
        x = chunk.float() / 255
        y = vae.decode(vae.encode(2 * x - 1).latent_dist.mean).sample.clamp(-1, 1) / 2 + 0.5
        errors.append((y - x).square().mean(dim=(1, 2, 3)))
    return float(-10 * torch.cat(errors).mean().log10())


if __name__ == "__main__":
    main()
