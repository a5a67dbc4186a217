"""Small random networks of the architectures that the papers' metrics use."""

import open_clip
import timm
import torch
from open_clip import CLIP
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import nn

CLIP_SIZE, VIT_SIZE = 32, 32
CLIP_CONFIG = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": CLIP_SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def clip() -> CLIP:
    torch.manual_seed(0)
    vision, text = CLIPVisionCfg(**CLIP_CONFIG["vision_cfg"]), CLIPTextCfg(**CLIP_CONFIG["text_cfg"])  # type: ignore[arg-type]
    return CLIP(CLIP_CONFIG["embed_dim"], vision, text, quick_gelu=True).eval()


def vit() -> nn.Module:
    """DINO's form: class token, learned positions, no head."""
    torch.manual_seed(0)
    shape = {
        "img_size": VIT_SIZE,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 3,
        "num_heads": 3,
        "num_classes": 0,
    }
    model: nn.Module = timm.models.VisionTransformer(**shape)
    for parameter in model.parameters():  # biases and positions of a new one are 0 or nearly so
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def tokenize(prompts: list[str]) -> torch.Tensor:
    tokens: torch.Tensor = open_clip.tokenize(prompts)
    return tokens
