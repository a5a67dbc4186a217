"""The prior's U-Net and text encoder, and its depth ControlNet: noise prediction on cached latents."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from omegaconf import DictConfig
from torch import Tensor, nn

from piva.toys.training import architectures
from piva.toys.training.loop import Recipe, train

Trained = TypeVar("Trained", bound=nn.Module)
# network, rows, tokens, noisy latents, timesteps -> noise
Predict = Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pairs:
    """Hold the training pairs on the device that trains; the first `held_out` rows are for checks only."""

    latents: Tensor  # (n, 4, y, x), scaled
    tokens: Tensor  # (n, 16)
    null: Tensor  # (1, 16), the empty caption
    held_out: int


def train_unet(cfg: DictConfig, model: nn.ModuleDict, pairs: Pairs, work: Path, seed: int) -> nn.ModuleDict:
    """Train `model["unet"]` and `model["text"]` together; return their average."""

    def predict(model: nn.ModuleDict, _: Tensor, tokens: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        out: Tensor = model["unet"](noisy, t, model["text"](tokens)[0]).sample
        return out

    return _train("diffusion", cfg, model, predict, pairs, work / "diffusion.pt", seed)


def train_controlnet(
    cfg: DictConfig,
    control: ControlNetModel,
    unet: UNet2DConditionModel,
    text: nn.Module,
    pairs: Pairs,
    hints: Tensor,
    work: Path,
    seed: int,
) -> ControlNetModel:
    """Train `control` (Zhang et al. 2023) beside a frozen U-Net and text encoder; return its average.

    Args:
        hints: (n, 1, h, w), the pictures' inverse depth as `depth_hint` makes it.
    """
    unet.requires_grad_(False), text.requires_grad_(False)

    def predict(control: ControlNetModel, rows: Tensor, tokens: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        context = text(tokens)[0]
        down, mid = control(noisy, t, context, hints[rows].expand(-1, 3, -1, -1), return_dict=False)
        out: Tensor = unet(
            noisy, t, context, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
        return out

    return _train("controlnet", cfg, control, predict, pairs, work / "controlnet.pt", seed)


def _train(
    name: str, cfg: DictConfig, model: Trained, predict: Predict, pairs: Pairs, checkpoint: Path, seed: int
) -> Trained:
    """Train noise prediction: min-SNR weights (Hang et al. 2023), stratified timesteps, caption dropout."""
    device, held_out = pairs.latents.device, pairs.held_out
    alphas_cumprod = architectures.scheduler().alphas_cumprod.to(device)
    fixed = torch.Generator().manual_seed(0)
    fixed_noise = torch.randn(pairs.latents[:held_out].shape, generator=fixed).to(device)
    fixed_t = torch.randint(0, 1000, (held_out,), generator=fixed).to(device)

    def errors(model: Trained, rows: Tensor, text: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        abar = alphas_cumprod[t][:, None, None, None]
        noisy = abar.sqrt() * pairs.latents[rows] + (1 - abar).sqrt() * noise
        return (predict(model, rows, text, noisy, t).float() - noise).square().mean(dim=(1, 2, 3))

    def loss_of(model: Trained, _: int, generator: torch.Generator) -> Tensor:
        draw: dict[str, Any] = {"generator": generator, "device": device}
        rows = torch.randint(held_out, len(pairs.latents), (cfg.batch,), **draw)
        drop = torch.rand(cfg.batch, **draw) < cfg.caption_dropout
        text = torch.where(drop[:, None], pairs.null, pairs.tokens[rows])
        noise = torch.randn(pairs.latents[rows].shape, **draw)
        offsets = torch.arange(cfg.batch, device=device) + torch.rand(cfg.batch, **draw)
        t = (offsets * 1000 / cfg.batch).long()
        snr = alphas_cumprod[t] / (1 - alphas_cumprod[t])
        loss: Tensor = (errors(model, rows, text, noise, t) * (cfg.min_snr / snr).clamp(max=1.0)).mean()
        return loss

    def check(average: Trained) -> dict[str, float]:
        held = torch.arange(held_out, device=device).split(64)
        losses = [
            errors(average, rows, pairs.tokens[rows], fixed_noise[rows], fixed_t[rows]) for rows in held
        ]
        return {"error": float(torch.cat(losses).mean())}

    recipe = Recipe(
        steps=cfg.steps,
        lr=cfg.lr,
        hold=0.5,
        ema=cfg.ema,
        weight_decay=0.01,
        check_every=cfg.check_every,
        bfloat16=cfg.bfloat16,
        graph=cfg.graph,
    )
    return train(name, model, loss_of, check, recipe, checkpoint, seed)
