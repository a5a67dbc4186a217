"""What a model's files say before anything is loaded: whether they are whole, and a text-to-image Stable
Diffusion 1 or 2. Imports neither torch nor numpy.
"""

import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from piva.errors import InputError, one_line
from piva.files import read_text, regular

Config = Mapping[str, Any]
NETWORKS = ("unet", "vae", "text_encoder")
PARTS = (*NETWORKS, "tokenizer", "scheduler")
CONFIGS = {name: f"{name}/config.json" for name in NETWORKS} | {
    "scheduler": "scheduler/scheduler_config.json"
}
FITS = "a text-to-image Stable Diffusion 1 or 2, as prior=sd15, sd21, sd21v, sd_turbo and bk_sdm"
FITS_INSTRUCTED = "InstructPix2Pix, as prior=instruct_pix2pix"
PREDICTION_TYPES = ("epsilon", "v_prediction")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
CONDITIONED = {  # input channels of U-Nets that see a picture beside the latents
    5: "depth to image",
    7: "an upscaler",
    8: "InstructPix2Pix",
    9: "inpainting",
}
LARGEST = 1024  # latent pixels on a side
MOST_TIMESTEPS = 10_000
WIDTHS, TINY = "block_out_channels", "encoder_block_out_channels"  # of an autoencoder, of a tiny one
FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
FIRST_CROSS_ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
IN_SINGLE_FILES = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text": "cond_stage_model."}


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Read a configuration in diffusers' layout. Raises `InputError`."""
    path = folder / name
    wanted = "a configuration in diffusers' layout"
    try:
        values: dict[str, Any] = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # InputError is one: for what is no file, too
        raise InputError(path, f"nothing to read ({error})", wanted) from error
    if not isinstance(values, dict):
        raise InputError(path, f"a {type(values).__name__}", wanted)
    return values


def check_readable(weights: Path) -> None:
    """Raise `InputError` if `weights` is damaged. Reads the header, which says how long the file is."""
    try:
        with safe_open(regular(weights), framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        remedy = (
            "copy or download the model again (the shipped one comes with the package: install piva again)"
        )
        raise InputError(weights, f"a damaged file ({error})", "a whole safetensors file", remedy) from None


def variant(folder: Path) -> str | None:
    """Return "fp16" where a network's folder has weights in half precision alone, else None."""
    names = [path.name for path in folder.glob("*.safetensors") if "non_ema" not in path.name]
    return "fp16" if names and all(".fp16" in name for name in names) else None


def halvings(config: Config, key: str = WIDTHS) -> int:
    """Return how often a network with these widths halves its pictures: between each two of them."""
    return len(config.get(key, ())) - 1


def longer_side(sample_size: Any) -> int | None:
    """Return a U-Net's training size in latent pixels, the longer of two sides; None if it is none."""
    sides = sample_size if isinstance(sample_size, list | tuple) else [sample_size]
    return max(sides) if sides and all(_counts(side) for side in sides) else None


def check_folder(folder: Path, where: str, *, with_weights: bool, instructed: bool = False) -> None:
    """Raise `InputError` if a part is missing, its weights are no whole safetensors, or the model does not
    fit. Errors begin with `where`; without weights, it is the configuration of a single file.
    """
    for part in PARTS:
        if not (folder / part).is_dir():
            raise InputError(where, *_missing(folder, part))
        for path in (folder / part).iterdir():
            if not path.is_dir():
                regular(path)  # transformers reads tokenizers: a pipe would make it wait
        if with_weights and part in NETWORKS:
            _check_weights(folder / part, where)
    check_configs({part: read_config(folder, name) for part, name in CONFIGS.items()}, where, instructed)


def _missing(folder: Path, part: str) -> tuple[str, str, str]:
    """Return what there is instead of a part, what is wanted, and a remedy."""
    there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir())) or "nothing"
    found = f"no folder {part} (there is: {there})"
    if (folder / "transformer").is_dir():
        return f"{found}, but a diffusion transformer: Stable Diffusion 3, FLUX or another", FITS, ""
    remedy = "save the model with StableDiffusionPipeline.save_pretrained"
    return found, "diffusers' Stable Diffusion layout", remedy


def _check_weights(folder: Path, where: str) -> None:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        wanted = "weights as safetensors, for pickles (.bin) can run code"
        remedy = "save the model with StableDiffusionPipeline.save_pretrained"
        raise InputError(where, f"in {folder.name} {there}", wanted, remedy)
    for path in weights:
        check_readable(path)


def check_configs(configs: Mapping[str, Config], where: str, instructed: bool = False) -> None:
    """Raise `InputError` unless the configurations of unet, vae, text_encoder and scheduler fit together and
    belong to a text-to-image Stable Diffusion 1 or 2; if `instructed`, to an InstructPix2Pix, whose U-Net
    sees a picture's latents beside the noisy ones.
    """
    unet, vae, text = (configs[name] for name in NETWORKS)
    faults = chain(
        _wrong_kind(unet, vae, text),
        _wrong_channels(unet, vae, 2 if instructed else 1),
        _wrong_shape(unet, vae, text),
        _bad_schedule(configs["scheduler"]),
    )
    try:
        for found, wanted in faults:
            raise InputError(where, found, wanted)
    except (TypeError, AttributeError, ArithmeticError) as error:  # a list for a number, a number for a text
        found = f"values of another kind in its configurations ({one_line(error)})"
        raise InputError(where, found, FITS) from None


def _wrong_kind(unet: Config, vae: Config, text: Config) -> Iterator[tuple[str, str]]:
    """Yield what is found and wanted for each network that Stable Diffusion 1 and 2 do not have."""
    for name, config, expected in (
        ("unet", unet.get("_class_name"), "UNet2DConditionModel"),
        ("vae", vae.get("_class_name"), "AutoencoderKL"),
        ("text_encoder", text.get("model_type"), "clip_text_model"),
    ):
        if config not in (None, expected):
            yield f"a {name} of class {config}", f"{expected}: {FITS}"
    if kind := unet.get("addition_embed_type"):
        yield f"a U-Net with addition_embed_type {kind} (Stable Diffusion XL and relatives)", FITS
    for key in ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type"):
        if kind := unet.get(key):
            yield f"a U-Net with {key} {kind}, which sees more than a prompt", FITS


def _wrong_channels(unet: Config, vae: Config, seen: int) -> Iterator[tuple[str, str]]:
    """Yield what is found and wanted where a U-Net does not see so many latents; defaults are diffusers'."""
    channels, latent = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    fits = FITS if seen == 1 else FITS_INSTRUCTED
    if channels != seen * latent:
        kind = f" ({CONDITIONED[channels]})" if latent == 4 and channels in CONDITIONED else ""
        yield f"a U-Net of {channels} input channels{kind} for latents of {latent}", fits
    if seen * (out := unet.get("out_channels", 4)) != channels:
        yield f"a U-Net of {out} output channels for {channels} input channels", f"{fits} has them"


def _wrong_shape(unet: Config, vae: Config, text: Config) -> Iterator[tuple[str, str]]:
    """Yield what is found and wanted for each pair that does not fit; defaults are diffusers'."""
    width, hidden = unet.get("cross_attention_dim", 1280), text.get("hidden_size", 512)
    if any(each != hidden for each in (width if isinstance(width, list | tuple) else [width])):
        found = f"a U-Net of cross_attention_dim {width} beside a text encoder of hidden_size {hidden}"
        yield found, f"its own text encoder: {FITS}"
    if (longer_side(size := unet.get("sample_size")) or LARGEST + 1) > LARGEST:
        wanted = f"the size in latent pixels that it was trained at, as 64 for 512 pixels; at most {LARGEST}"
        yield f"sample_size {size} in unet/config.json", wanted
    if not _is_positive(scale := vae.get("scaling_factor", 0.18215)):
        yield f"scaling_factor {scale} in vae/config.json", "a positive number"
    for name, config in (("unet", unet), ("vae", vae)):
        widths = config.get(WIDTHS, [64])
        if not widths or not all(_counts(width) for width in widths):
            yield f"{WIDTHS} {widths} in {name}/config.json", "a positive number for each level"


def _bad_schedule(scheduler: Config) -> Iterator[tuple[str, str]]:
    """Yield what is found and wanted for each setting of the noise schedule that makes no sense."""
    name = str(scheduler.get("_class_name") or "")
    if "FlowMatch" in name or scheduler.get("use_flow_sigmas"):
        yield f"flow matching (scheduler {name})", FITS
    if (kind := scheduler.get("prediction_type", "epsilon")) not in PREDICTION_TYPES:
        yield f"prediction_type {kind}", " or ".join(PREDICTION_TYPES)
    count = scheduler.get("num_train_timesteps", 1000)
    if not _counts(count) or not 2 <= count <= MOST_TIMESTEPS:
        yield f"num_train_timesteps {count}", f"from 2 to {MOST_TIMESTEPS} timesteps"
    if (betas := scheduler.get("trained_betas")) is not None:
        if not all(_is_beta(beta) for beta in betas):
            yield "trained_betas that are not all between 0 and 1", "a noise schedule"
        if len(betas) != count:
            yield f"{len(betas)} trained_betas for num_train_timesteps {count}", "one for each timestep"
        return
    if (shape := scheduler.get("beta_schedule", "linear")) not in BETA_SCHEDULES:
        yield f"beta_schedule {shape}", "one of " + ", ".join(BETA_SCHEDULES)
    start, end = scheduler.get("beta_start", 0.0001), scheduler.get("beta_end", 0.02)
    if not (_is_beta(start) and _is_beta(end) and start <= end):
        yield f"beta_start {start} and beta_end {end}", "a noise schedule that rises between 0 and 1"


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_beta(value: Any) -> bool:
    return _is_positive(value) and value < 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def check_single_file(path: Path, configs: Path, where: str) -> None:
    """Raise `InputError` if `path` is no whole Stable Diffusion of the shapes that the folder `configs` has.

    Reads the header alone. What weights do not tell (SD 2.1 with noise or v prediction) is up to `configs`.
    """
    check_readable(path)
    read_config(configs, "model_index.json")  # diffusers' reader of single files wants it
    unet = read_config(configs, CONFIGS["unet"])
    with safe_open(path, framework="numpy") as file:
        names = set(file.keys())
        absent = [p for p in IN_SINGLE_FILES.values() if not any(name.startswith(p) for name in names)]
        if absent:
            some = ", ".join(sorted(names)[:2])
            raise InputError(where, f"no weights {absent[0]}* (there are {some}, ...)", f"a whole {FITS[2:]}")
        for name, key in ((FIRST_CONVOLUTION, "in_channels"), (FIRST_CROSS_ATTENTION, "cross_attention_dim")):
            if name in names and (size := file.get_slice(name).get_shape()[1]) != unet.get(key):
                kind = f" ({CONDITIONED[size]})" if key == "in_channels" and size in CONDITIONED else ""
                remedy = "SD 1 has cross_attention_dim 768 (prior=sd15), SD 2 has 1024 (prior=sd21, sd21v)"
                raise InputError(where, f"{key} {size}{kind}", f"{unet.get(key)}, as in {configs}", remedy)


def check_taesd(folder: Path, prior: Path, where: str) -> None:
    """Raise `InputError` unless `folder` has a whole tiny autoencoder of latents shaped as the prior's."""
    config, vae = read_config(folder), read_config(prior, CONFIGS["vae"])
    if (name := config.get("_class_name")) != "AutoencoderTiny":
        raise InputError(where, f"a {name}", "an AutoencoderTiny, as madebyollin/taesd")
    for what, found, wanted in (
        ("latent channels", config.get("latent_channels", 4), vae.get("latent_channels", 4)),
        ("pixels to a latent pixel", *(2 ** halvings(c, k) for c, k in ((config, TINY), (vae, WIDTHS)))),
    ):
        if found != wanted:
            raise InputError(where, f"{found} {what}", f"{wanted}, as the autoencoder in {prior}")
    for path in sorted(folder.glob("*.safetensors")):
        check_readable(path)
