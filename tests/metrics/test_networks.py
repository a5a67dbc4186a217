"""Networks from files on this machine: small or random ones in the places and formats of the real."""

import json
import math
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torchmetrics.functional.image.lpips as vendored
import torchvision
from helpers import tiny_networks as tiny
from open_clip import CLIP
from safetensors.torch import save_file
from torch import Tensor, nn

from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.metrics import networks
from piva.metrics.comparison import Comparison
from piva.metrics.measure import measure
from piva.metrics.paper import BACKBONES, Paper

TORCHVISION = {"alex": "AlexNet_Weights", "squeeze": "SqueezeNet1_1_Weights", "vgg": "VGG16_Weights"}
DINO = "test_vit"  # timm's smallest


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TORCH_HOME with a random SqueezeNet under the real one's name."""
    home = tmp_path_factory.mktemp("torch")
    torch.manual_seed(0)
    path = home / "hub/checkpoints" / Path(BACKBONES["squeeze"]).name
    path.parent.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    return home


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a small CLIP, whose architecture open_clip is told of."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny.json").write_text(json.dumps(tiny.CLIP_CONFIG))
    open_clip.add_model_config(folder / "tiny.json")
    save_file(tiny.clip().state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    save_file(timm.create_model(DINO, num_classes=0).state_dict(), folder / "model.safetensors")
    return folder


def test_backbones_are_the_files_that_torchvision_loads() -> None:
    theirs = {net: getattr(torchvision.models, name).DEFAULT.url for net, name in TORCHVISION.items()}
    assert theirs == BACKBONES


def test_clip_has_the_weights_of_the_file(clip_folder: Path) -> None:
    model = networks.load_clip("tiny", clip_folder / "open_clip_model.safetensors", "cpu")
    assert isinstance(model, CLIP)
    assert_same(model, tiny.clip())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_dino_has_the_weights_of_the_file(dino_folder: Path) -> None:
    model = networks.load_dino(DINO, dino_folder / "model.safetensors", "cpu")
    torch.manual_seed(0)
    assert_same(model, timm.create_model(DINO, num_classes=0))


def test_weights_of_another_network_are_refused(dino_folder: Path, clip_folder: Path) -> None:
    for load in (networks.load_dino, networks.load_clip):
        with pytest.raises(InputError, match=r"model.safetensors: found .*metrics' settings"):
            load(
                "test_vit2" if load is networks.load_dino else "tiny",
                dino_folder / "model.safetensors",
                "cpu",
            )


def test_an_unknown_network_is_refused(dino_folder: Path) -> None:
    with pytest.raises(InputError, match="vit_giant_nothing"):
        networks.load_dino("vit_giant_nothing", dino_folder / "model.safetensors", "cpu")


def test_lpips_is_the_formula(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """Zhang et al. 2018, Eq. 1, with SqueezeNet's seven stages and the linear heads of torchmetrics."""
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    a, b = torch.rand(2, 2, 3, 64, 64, generator=generator)
    got = networks.perceptual(networks.lpips("squeeze", "cpu"))(a, b)

    features = torchvision.models.squeezenet1_1(weights=None)
    features.load_state_dict(torch.load(torch_home / "hub/checkpoints" / Path(BACKBONES["squeeze"]).name))
    heads = torch.load(Path(vendored.__file__).parent / "lpips_models/squeeze.pth", map_location="cpu")
    shift, scale = (torch.tensor(v).view(3, 1, 1) for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    x, y = (((2 * p - 1) - shift) / scale for p in (a, b))
    wanted, stage = torch.zeros(2), 0
    with torch.no_grad():
        for index, layer in enumerate(features.features):
            x, y = layer(x), layer(y)
            if index in (1, 4, 7, 9, 10, 11, 12):
                unit = [f / f.square().sum(1, keepdim=True).add(1e-8).sqrt() for f in (x, y)]
                weight = heads[f"lin{stage}.model.1.weight"]
                wanted += ((unit[0] - unit[1]).square() * weight.view(1, -1, 1, 1)).sum(1).mean(dim=(1, 2))
                stage += 1
    assert stage == 7
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_paper_measures_everything_and_names_its_networks(
    clip_folder: Path, dino_folder: Path, torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    names = {"clip": "tiny", "clip_weights": str(clip_folder), "dino": DINO, "dino_weights": str(dino_folder)}
    settings = Paper(**names, lpips="squeeze", pie_lpips="squeeze", batch=2)  # type: ignore[arg-type]
    settings.check()
    assert [need.find() is not None for need in settings.requires()] == [True, True, True]
    networks = settings.load("cpu")
    assert networks is not None
    assert set(networks.names) == {"clip", "lpips", "pie_clip", "pie_lpips", "pie_structure"}
    torchvision.utils.save_image(torch.eye(48)[None], tmp_path / "mask.png")
    edit = Edit(id="x", source_prompt="a red mug", target_prompt="a blue mug", mask=tmp_path / "mask.png")
    before = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    row = measure(Comparison(before=before, after=1 - before), edit, networks)
    pie = ("structure", "structure_corrected", "psnr", "lpips", "mse", "ssim", "clip_whole", "clip_edited")
    assert {f"pie/{name}" for name in pie} == {key for key in row if key.startswith("pie/")}
    assert {"eval/clip", "eval/clip_direction", "eval/lpips", "nothing/clip", "nothing/clip_whole"} <= set(
        row
    )
    assert all(-1 <= value <= 99 for value in row.values())
    same = measure(Comparison(before=before, after=before), edit, networks)
    nothing = {
        "pie/structure": 0,
        "pie/structure_corrected": 0,
        "pie/psnr": math.inf,
        "pie/lpips": 0,
        "pie/mse": 0,
        "pie/ssim": 1,
    }
    assert {key: same[key] for key in nothing} == pytest.approx(nothing, abs=1e-5)
    assert same["pie/clip_edited"] == same["nothing/clip_edited"] == row["nothing/clip_edited"]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_change_nothing(batch: int, generator: torch.Generator) -> None:
    a, b = torch.rand(2, 5, 3, 8, 8, generator=generator)
    sizes: list[int] = []

    def distance(x: Tensor, y: Tensor) -> Tensor:
        sizes.append(len(x))
        return (x - y).abs().mean(dim=(1, 2, 3))

    torch.testing.assert_close(networks.in_batches(distance, batch)(a, b), (a - b).abs().mean(dim=(1, 2, 3)))
    assert max(sizes) == batch


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for (name, x), (_, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        torch.testing.assert_close(x, y, msg=name)
