"""Does a ControlNet fit a prior? Read off their configurations. Imports no torch."""

from pathlib import Path
from typing import Any

from piva.errors import InputError
from piva.priors.stable_diffusion import check_readable, read_config

SHARED = (
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "in_channels",
)  # with the U-Net it began as a copy of


def check_pair(control: Path, prior: Path) -> None:
    """Raise `InputError` if the ControlNet in the folder `control` is none, is damaged, or was made for another kind of prior."""
    settings, unet, vae = (read_config(folder) for folder in (control, prior / "unet", prior / "vae"))
    if settings.get("_class_name") != "ControlNetModel":
        raise InputError(
            control / "config.json", f"_class_name {settings.get('_class_name')}", "ControlNetModel"
        )
    for key in SHARED:
        if settings.get(key) != unet.get(key):
            raise InputError(
                control, f"{key} {settings.get(key)}", f"{unet.get(key)}, as the U-Net in {prior} has it",
                "take a ControlNet that was trained beside this prior: one of SD 1.5 does not fit SD 2.1",
            )  # fmt: skip
    shrinks, wanted = (
        _halvings(settings, "conditioning_embedding_out_channels"),
        _halvings(vae, "block_out_channels"),
    )
    if shrinks != wanted:
        found = f"one that makes pictures {2**shrinks} times smaller"
        raise InputError(control, found, f"{2**wanted} times, as the autoencoder in {prior} does")
    for weights in sorted(control.glob("*.safetensors")):
        check_readable(weights)


def _halvings(settings: dict[str, Any], key: str) -> int:
    """How often a network with these widths halves its pictures: between each two of them."""
    return len(settings.get(key, ())) - 1
