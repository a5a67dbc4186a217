"""The options of the group `metrics`: their files are checked before a run, without torch."""

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from piva.errors import InputError
from piva.metrics.toys import Pixels, Toys


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(resources.files("piva.toys") / "metric_networks"), tmp_path / "networks"))


def test_the_shipped_networks_pass_the_check_without_torch() -> None:
    imports = "import sys; from piva.metrics.toys import Toys"
    code = f"{imports}; Toys(path='toys').check(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_results_name_the_networks_after_their_weights() -> None:
    networks = Toys(path="toys").load("cpu")
    assert networks is not None
    assert {name: full[:-8] for name, full in networks.names.items()} == {
        "clip": "toys-clip-",
        "lpips": "toys-lpips-",
        "reader": "toys-reader-",
    }


def test_pixels_need_nothing() -> None:
    Pixels().check()
    assert Pixels().load("cpu") is None


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(InputError, match=r"metrics.path: found no folder 'nowhere'"):
        Toys(path="nowhere").check()


@pytest.mark.parametrize(
    "name", ["clip.safetensors", "clip.json", "reader.safetensors", "tokenizer/tokenizer.json"]
)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(
        InputError,
        match=rf"{name}.*[Nn]o such file.*piva.toys.training.metric_networks",
    ):
        Toys(path=str(copy)).check()


@pytest.mark.parametrize("name", ["clip.json", "tokenizer/tokenizer.json"])
def test_a_file_that_is_no_json_is_named(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(InputError, match=name):
        Toys(path=str(copy)).check()


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_damaged_weights_are_named(copy: Path, damage: object) -> None:
    path = copy / "clip.safetensors"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(
        InputError, match=r"clip.safetensors: found checksum \w{8}, wanted \w{8}.*metric_networks"
    ):
        Toys(path=str(copy)).check()
