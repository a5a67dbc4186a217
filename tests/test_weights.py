"""Weights are found where their libraries keep them, and what is missing is said at once."""

from pathlib import Path

import pytest

from piva.errors import InputError
from piva.metrics.paper import BACKBONES, Paper
from piva.metrics.toys import Pixels
from piva.priors.stable_diffusion import StableDiffusion
from piva.weights import HubFolder, TorchFile, check, torch_home

REVISION = "0123456789abcdef0123456789abcdef01234567"
PAPER = Paper(
    clip="ViT-L-14-quickgelu",
    clip_weights="owner/clip",
    lpips="alex",
    pie_lpips="squeeze",
    dino="vit_base_patch8_224.dino",
    dino_weights="owner/dino",
    batch=1,
)


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "HF_HUB_CACHE", str(tmp_path / "hub")
    )  # read from HF_HOME when the library is imported
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def cached(tmp_path: Path, repo: str, *files: str) -> Path:
    """A snapshot as huggingface_hub lays it out."""
    folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs/main").write_text(REVISION)
    for name in files:
        path = folder / "snapshots" / REVISION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("weights")
    return folder / "snapshots" / REVISION


def test_a_repository_is_found_in_the_hubs_cache_when_all_its_files_are_there(tmp_path: Path) -> None:
    need = HubFolder(key="prior.path", repo="owner/name", files=("unet/*.safetensors", "vae/*.json"))
    assert need.find() is None
    folder = cached(tmp_path, "owner/name", "unet/model.safetensors")
    assert need.find() is None
    cached(tmp_path, "owner/name", "vae/config.json")
    assert need.find() == folder


def test_weights_in_half_precision_serve_where_there_are_no_others(tmp_path: Path) -> None:
    need = HubFolder(key="prior.path", repo="owner/name", files=("unet/*.json", "unet/*.safetensors"))
    folder = cached(tmp_path, "owner/name", "unet/config.json", "unet/model.fp16.safetensors")
    assert need.find() == folder


def test_a_local_folder_needs_no_cache(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    need = HubFolder(key="metrics.clip_weights", repo=str(tmp_path / "mine"), files=("a.safetensors",))
    assert need.find() is None
    (tmp_path / "mine/a.safetensors").touch()
    assert need.find() == need.place == tmp_path / "mine"


def test_torch_files_are_looked_for_where_torch_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    need = TorchFile(key="x", url="https://example.org/models/net-12345678.pth")
    for variables in ({"TORCH_HOME": "~/torch"}, {"XDG_CACHE_HOME": str(tmp_path)}, {}):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert torch_home() / "hub" == Path(torch.hub.get_dir())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert need.find() is None
    need.place.mkdir(parents=True)
    (need.place / "net-12345678.pth").touch()
    assert need.find() is None  # empty
    (need.place / "net-12345678.pth").write_text("weights")
    assert need.find() == tmp_path / "hub/checkpoints/net-12345678.pth"


def test_all_that_is_missing_is_said_at_once_with_the_command_that_gets_it(tmp_path: Path) -> None:
    words = ["profile=gpu", "task=image", "prior.path=owner/sd", "dataset.source=a cat", "+experiment=x y"]
    with pytest.raises(InputError) as error:
        check([StableDiffusion(path="owner/sd", dtype="float32"), Pixels(), PAPER, object()], words)
    text = str(error.value)
    for name in (
        "owner/sd (prior.path)",
        "owner/clip",
        "owner/dino",
        Path(BACKBONES["alex"]).name,
        Path(BACKBONES["squeeze"]).name,
    ):
        assert text.count(name) == 1 + (name == "owner/sd")
    assert str(tmp_path / "hub") in text
    assert str(tmp_path / "torch/hub/checkpoints") in text
    assert "piva fetch profile=gpu prior.path=owner/sd '+experiment=x y' gets them" in text


def test_what_is_there_is_not_missing(tmp_path: Path) -> None:
    cached(tmp_path, "owner/clip", "open_clip_model.safetensors")
    cached(tmp_path, "owner/dino", "model.safetensors")
    place = tmp_path / "torch/hub/checkpoints"
    place.mkdir(parents=True)
    for net in ("alex", "squeeze"):
        (place / Path(BACKBONES[net]).name).write_text("weights")
    check([PAPER, Pixels(), StableDiffusion(path="toys", dtype="float32")], [])


def test_damaged_weights_are_named_before_a_run(tmp_path: Path) -> None:
    cached(tmp_path, "owner/clip", "open_clip_model.safetensors")
    with pytest.raises(InputError, match="open_clip_model.safetensors: found a damaged file"):
        PAPER.check()


def test_a_prior_in_the_hubs_cache_is_checked_like_a_local_one(tmp_path: Path) -> None:
    prior = StableDiffusion(path="owner/sd", dtype="float32")
    prior.check()  # nothing is there: `requires` says so
    parts = [
        f"{part}/{file}"
        for part in ("unet", "vae", "text_encoder")
        for file in ("config.json", "model.safetensors")
    ]
    folder = cached(tmp_path, "owner/sd", *parts, "tokenizer/vocab.json", "scheduler/scheduler_config.json")
    assert prior.folder == folder
    with pytest.raises(InputError, match=r"model.safetensors: found a damaged file"):
        prior.check()


def test_a_path_that_is_none_is_no_repository() -> None:
    assert HubFolder(key="x", repo="./no such folder", files=("a",)).find() is None
