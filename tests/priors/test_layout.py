"""What is no text-to-image Stable Diffusion is told from its files, before anything is made of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.single_file import write_single_file
from helpers.tiny_prior import write_taesd
from safetensors.torch import load_file, save_file

from piva.errors import InputError
from piva.priors.stable_diffusion import StableDiffusion
from piva.weights import HubFolder

Change = Callable[..., StableDiffusion]
CONFIGS = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}


@pytest.fixture
def folder(prior_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prior_folder, tmp_path / "p"))


@pytest.fixture
def changed(folder: Path) -> Change:
    """Change a part's configuration in a copy of the tiny prior; None takes a key out."""

    def change(part: str, **values: Any) -> StableDiffusion:
        path = folder / part / CONFIGS.get(part, "config.json")
        config = json.loads(path.read_text()) | values
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        return StableDiffusion(path=str(folder), dtype="float32")

    return change


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("unet", {"in_channels": 9}, r"9 input channels \(inpainting\).*wanted a text-to-image"),
        ("unet", {"in_channels": 8}, "InstructPix2Pix"),
        ("vae", {"latent_channels": 16}, "4 input channels for latents of 16"),
        ("unet", {"out_channels": 8}, "8 output channels for 4 input channels"),
        ("unet", {"addition_embed_type": "text_time"}, "Stable Diffusion XL"),
        ("unet", {"class_embed_type": "projection"}, "class_embed_type projection"),
        ("unet", {"num_class_embeds": 1000}, "num_class_embeds 1000"),
        ("unet", {"encoder_hid_dim_type": "image_proj"}, "encoder_hid_dim_type image_proj"),
        ("unet", {"cross_attention_dim": 32}, "cross_attention_dim 32 beside .* hidden_size 16"),
        ("unet", {"_class_name": "UNet3DConditionModel"}, "unet of class UNet3DConditionModel"),
        ("vae", {"_class_name": "VQModel"}, "vae of class VQModel"),
        ("text_encoder", {"model_type": "t5"}, "text_encoder of class t5"),
        ("unet", {"sample_size": None}, "sample_size None"),
        ("unet", {"sample_size": [8, "x"]}, "sample_size"),
        (
            "scheduler",
            {"prediction_type": "sample"},
            "prediction_type sample, wanted epsilon or v_prediction",
        ),
        ("scheduler", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow matching"),
        ("scheduler", {"beta_start": -0.1}, "beta_start -0.1 and beta_end 0.012, wanted a noise schedule"),
        ("scheduler", {"beta_start": 0.5}, "beta_start 0.5 and beta_end 0.012"),
        ("scheduler", {"beta_end": 1.0}, "beta_end 1.0"),
        ("scheduler", {"beta_end": "high"}, "beta_end high"),
        ("scheduler", {"beta_schedule": "zigzag"}, "beta_schedule zigzag, wanted one of linear"),
        ("scheduler", {"trained_betas": [0.1, 1.5]}, "trained_betas"),
        ("scheduler", {"num_train_timesteps": 0}, "num_train_timesteps 0"),
    ],
)
def test_what_does_not_fit_is_named(changed: Change, part: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"^prior.path=.*{message}"):
        changed(part, **values).check()


def test_a_schedule_that_does_not_fall_is_refused_before_networks_are_loaded(
    changed: Change, folder: Path
) -> None:
    """Betas near 1 leave an alpha of 0 long before the last timestep."""
    settings = changed("scheduler", beta_schedule="linear", beta_start=0.5, beta_end=0.9)
    settings.check()
    shutil.rmtree(folder / "unet")
    with pytest.raises(InputError, match="alphas_cumprod from 0.5 to 0 that do not fall"):
        settings.load("cpu")


def test_zero_terminal_snr_predicts_noise_at_every_timestep(changed: Change) -> None:
    """Rescaled betas: alpha is 0 at the last timestep, where a v prediction of the noise is x_t itself."""
    prior = changed("scheduler", rescale_betas_zero_snr=True, prediction_type="v_prediction").load("cpu")
    noisy, context = torch.randn(1, 4, 8, 8), prior.text("a cat")
    assert prior.schedule.alpha(999) == 0
    with torch.no_grad():
        torch.testing.assert_close(prior.predict(noisy, prior.timestep(999), context), noisy)
        assert prior.predict(noisy, prior.timestep(998), context).isfinite().all()


@pytest.mark.parametrize(("size", "resolution"), [([8, 8], 32), ([8, 12], 48)])
def test_a_training_size_may_be_a_list(changed: Change, size: list[int], resolution: int) -> None:
    settings = changed("unet", sample_size=size)
    settings.check()
    assert settings.load("cpu").resolution == resolution


def test_a_tokenizer_without_a_limit_takes_the_text_encoders(changed: Change) -> None:
    settings = changed("tokenizer", model_max_length=None)
    settings.check()
    prior = settings.load("cpu")
    assert prior.tokenizer.model_max_length > 1e20
    assert prior.text("a cat").shape == (1, 20, 16)


def test_a_tokenizers_own_code_is_neither_run_nor_asked_about(
    changed: Change, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked whether to run code"))
    (folder / "evil.py").write_text("open('ran', 'w')\nclass Evil: ...\n")
    auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    settings = changed("tokenizer", tokenizer_class="Evil", auto_map=auto_map)
    with pytest.raises(InputError, match=r"^prior.path="):
        settings.load("cpu")
    assert not Path("ran").exists()


def test_a_diffusion_transformer_is_named(folder: Path) -> None:
    (folder / "unet").rename(folder / "transformer")
    with pytest.raises(InputError, match="no folder unet.* Stable Diffusion 3, FLUX"):
        StableDiffusion(path=str(folder), dtype="float32").check()


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"in unet .*model.bin.* wanted weights as safetensors"):
        StableDiffusion(path=str(folder), dtype="float32").check()


def test_parts_with_half_precision_alone_are_loaded_full_ones_first(folder: Path) -> None:
    for part in ("unet", "text_encoder"):
        full = next((folder / part).glob("*.safetensors"))
        half = {name: tensor.half() for name, tensor in load_file(full).items()}
        save_file(half, full.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
        if part == "unet":
            full.unlink()
    settings = StableDiffusion(path=str(folder), dtype="float32")
    settings.check()
    prior = settings.load("cpu")
    weight, bias = prior.unet.conv_in.weight, next(iter(prior.text_encoder.parameters()))
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, weight.half().float(), rtol=0, atol=0)
    assert not torch.equal(bias, bias.half().float())


@pytest.fixture
def single(folder: Path, tmp_path: Path) -> Path:
    return write_single_file(folder, tmp_path / "model.safetensors")


def test_a_single_file_is_the_folder_it_was_made_of(folder: Path, single: Path) -> None:
    settings = StableDiffusion(path=str(single), dtype="float32", config=str(folder))
    settings.check()
    assert settings.requires() == []
    assert settings.factor == 4
    shutil.rmtree(folder / "controlnet", ignore_errors=True)
    expected = StableDiffusion(path=str(folder), dtype="float32").load("cpu")
    for part in ("unet", "vae", "text_encoder"):  # nothing but configurations is read there
        next((folder / part).glob("*.safetensors")).unlink()
    prior = settings.load("cpu")
    noisy, images = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        predicted, wanted = (p.predict(noisy, p.timestep(500), p.text("a cat")) for p in (prior, expected))
        torch.testing.assert_close(predicted, wanted)
        torch.testing.assert_close(prior.encode(images), expected.encode(images))


def test_a_single_file_needs_a_configuration_that_can_be_fetched(folder: Path, single: Path) -> None:
    with pytest.raises(InputError, match=r"without tokenizer.*wanted prior.config=FOLDER.* prior=sd15"):
        StableDiffusion(path=str(single), dtype="float32").check()
    settings = StableDiffusion(path=str(single), dtype="float32", config="owner/sd")
    settings.check()
    (need,) = settings.requires()
    assert isinstance(need, HubFolder)
    assert need.name == "owner/sd (prior.config)"
    assert not any(name.endswith(".safetensors") for name in need.files)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.ckpt", "a pickle, which can run code, wanted a .safetensors file"),
        ("none.safetensors", "no such file"),
        ("torn.safetensors", "damaged"),
        ("lora.safetensors", r"no weights model.diffusion_model.\* \(there are lora_unet"),
        ("inpainting.safetensors", r"in_channels 9 \(inpainting\), wanted 4"),
        ("sd2.safetensors", "cross_attention_dim 1024, wanted 16"),
    ],
)
def test_single_files_of_other_kinds_are_named(
    folder: Path, single: Path, tmp_path: Path, name: str, message: str
) -> None:
    path, first = tmp_path / name, "model.diffusion_model.input_blocks.0.0.weight"
    text = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    weights = load_file(single)
    if path.stem == "model":
        path.touch()
    elif path.stem == "torn":
        path.write_bytes(single.read_bytes()[:-100])
    elif path.stem == "lora":
        save_file({"lora_unet_down.weight": torch.zeros(2)}, path)
    elif path.stem == "inpainting":
        save_file(weights | {first: torch.zeros(8, 9, 3, 3)}, path)
    elif path.stem == "sd2":
        save_file(weights | {text: torch.zeros(8, 1024)}, path)
    with pytest.raises(InputError, match=message):
        StableDiffusion(path=str(path), dtype="float32", config=str(folder)).check()


def test_a_tiny_autoencoder_encodes_renders_and_nothing_else(prior_folder: Path, tmp_path: Path) -> None:
    taesd = write_taesd(tmp_path / "taesd")
    settings = StableDiffusion(path=str(prior_folder), dtype="float32", taesd=str(taesd))
    settings.check()
    assert settings.requires() == []
    prior = settings.load("cpu")
    plain = StableDiffusion(path=str(prior_folder), dtype="float32").load("cpu")
    images = torch.rand(2, 3, 32, 32).requires_grad_(True)
    latents = prior.encode_renders(images)
    assert (latents.shape, latents.dtype) == ((2, 4, 8, 8), torch.float32)
    assert prior.taesd is not None
    torch.testing.assert_close(latents, prior.taesd.encoder(2 * images - 1))  # not scaled by 0.18215
    latents.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in prior.taesd.parameters())
    assert not torch.allclose(latents, plain.encode_renders(images))
    torch.testing.assert_close(prior.encode(images), plain.encode_renders(images))
    torch.testing.assert_close(prior.decode(latents.detach()), plain.decode(latents.detach()))


def test_a_tiny_autoencoder_on_the_hub_is_required(prior_folder: Path) -> None:
    settings = StableDiffusion(path=str(prior_folder), dtype="float32", taesd="owner/taesd")
    settings.check()
    assert [need.name for need in settings.requires()] == ["owner/taesd (prior.taesd)"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": 4}, "8 pixels to a latent pixel, wanted 4"),
        ({"channels": 16}, "16 latent channels, wanted 4"),
    ],
)
def test_a_tiny_autoencoder_of_another_family_is_refused(
    prior_folder: Path, tmp_path: Path, values: dict[str, int], message: str
) -> None:
    taesd = write_taesd(tmp_path / "taesd", **values)
    with pytest.raises(InputError, match=rf"^prior.taesd=.*{message}"):
        StableDiffusion(path=str(prior_folder), dtype="float32", taesd=str(taesd)).check()
    with pytest.raises(InputError, match="AutoencoderTiny"):
        StableDiffusion(path=str(prior_folder), dtype="float32", taesd=str(prior_folder)).check()
