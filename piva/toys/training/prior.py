"""Train the small text-to-image prior: `python -m piva.toys.training.prior` (settings: conf/train_toys.yaml).

Renders the corpus, trains the autoencoder, caches the latents, then trains U-Net and text encoder together
and at last a depth ControlNet. Each stage writes a checkpoint, from which an interrupted run goes on.
"""

import json
import logging
from pathlib import Path

import hydra
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from omegaconf import DictConfig
from torch import nn
from transformers import AutoTokenizer, CLIPTextModel, PreTrainedTokenizerBase

from piva.files import CONF
from piva.models.controlled import depth_hint
from piva.toys.training import architectures, corpus
from piva.toys.training.autoencoder import encode_all, train_autoencoder
from piva.toys.training.diffusion import Pairs, train_controlnet, train_unet

log = logging.getLogger(__name__)


@hydra.main(config_path=str(CONF), config_name="train_toys", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Train all networks and write them to `cfg.out` in diffusers' layout, in fp16, and `controlnet/`."""
    torch.manual_seed(cfg.seed)  # initial weights only; every draw below has a generator of its own
    work = Path(cfg.work)
    data = corpus.draw(cfg.images, cfg.size, cfg.seed, work, cfg.workers)
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).to(cfg.device)
    tokenizer = architectures.tokenizer(work / "tokenizer")
    vae, model = (network.to(cfg.device) for network in _begin(cfg, tokenizer))

    torch.set_float32_matmul_precision(cfg.float32)
    vae = train_autoencoder(cfg.vae, vae, images, cfg.held_out, work, cfg.seed)
    latents = encode_all(vae, images, work / "latents.safetensors")
    if not cfg.vae.start:
        vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
    tokens = tokenizer(data.captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    null = tokenizer([""], padding="max_length", return_tensors="pt").input_ids
    latents = latents.to(cfg.device) * vae.config.scaling_factor
    pairs = Pairs(latents, tokens.to(cfg.device), null.to(cfg.device), cfg.held_out)
    model = train_unet(cfg.unet, model, pairs, work, cfg.seed + 1)
    hints = depth_hint(torch.from_numpy(data.depth).to(cfg.device).float())
    control = _begin_control(cfg, model["unet"]).to(cfg.device)
    control = train_controlnet(
        cfg.controlnet, control, model["unet"], model["text"], pairs, hints, work, cfg.seed + 2
    )

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model["text"],
        tokenizer=tokenizer,
        unet=model["unet"],
        scheduler=architectures.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(cfg.out)
    control.half().save_pretrained(Path(cfg.out) / "controlnet")
    _tidy(Path(cfg.out))
    log.info("wrote %s", cfg.out)


def _begin(cfg: DictConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[AutoencoderKL, nn.ModuleDict]:
    """Return the networks before training: random, or with the weights of the prior in `cfg.start`."""
    text = architectures.text_encoder(tokenizer)
    if cfg.vae.start:
        vae = AutoencoderKL.from_pretrained(cfg.vae.start, subfolder="vae", torch_dtype=torch.float32)
    else:
        vae = architectures.autoencoder(cfg.size)
    if not cfg.start:
        return vae, nn.ModuleDict({"unet": architectures.unet(cfg.size // 4), "text": text})
    unet = UNet2DConditionModel.from_pretrained(cfg.start, subfolder="unet", torch_dtype=torch.float32)
    pretrained = CLIPTextModel.from_pretrained(cfg.start, subfolder="text_encoder", dtype=torch.float32)
    pretrained_tokenizer = AutoTokenizer.from_pretrained(cfg.start, subfolder="tokenizer")
    architectures.copy_token_embeddings(text, tokenizer, pretrained, pretrained_tokenizer)
    return vae, nn.ModuleDict({"unet": unet, "text": text})


def _begin_control(cfg: DictConfig, unet: UNet2DConditionModel) -> ControlNetModel:
    """Return the ControlNet before training: without effect, or that of `cfg.controlnet.start`."""
    start = cfg.controlnet.start
    if not start or not (Path(start) / "controlnet").is_dir():
        return architectures.controlnet(unet)
    return ControlNetModel.from_pretrained(start, subfolder="controlnet", torch_dtype=torch.float32)


def _tidy(folder: Path) -> None:
    """Let plain diffusers load all networks in one precision, and leave out where they came from.

    transformers takes a network's `dtype` for what to load it as, diffusers loads float32.
    """
    for path in folder.glob("*/config.json"):
        about = json.loads(path.read_text())
        about.pop("_name_or_path", None)
        path.write_text(
            json.dumps(about | ({"dtype": "float32"} if "dtype" in about else {}), indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
