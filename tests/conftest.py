"""Shared fixtures: tiny random models in Stable Diffusion 2.1's layout, a test's own cache and folder."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.tiny_prior import write_prior

from piva.priors.prior import Prior, load

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = {
        "gpu": torch.cuda.is_available(),
        "browser": CHROMIUM is not None,
        "compiler": shutil.which("g++") is not None,
    }
    needs = {
        "gpu": "needs a CUDA device",
        "browser": "needs a Chromium on the PATH",
        "compiler": "needs a C++ compiler on the PATH",
    }
    for item in items:
        for marker, reason in needs.items():
            if marker in item.keywords and not here[marker]:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of the tests marked so."""
    assert CHROMIUM
    return CHROMIUM


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests make out of the user's cache and the checkout; one cache for the session."""
    root = tmp_path_factory.getbasetemp()
    (root / "cache").mkdir(exist_ok=True)
    monkeypatch.setenv("PIVA_CACHE", str(root / "cache"))
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "sd", "epsilon")


@pytest.fixture(scope="session")
def v_prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "sd-v", "v_prediction")


@pytest.fixture
def prior(prior_folder: Path) -> Prior:
    return load(str(prior_folder), "cpu", "float32")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
