"""The device a run is given, and what its results say of it."""

from pathlib import Path

import pytest
import torch

from piva.runs.provenance import forget_peak, nvidia_driver, peak_gpu_gb, provenance

PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (root@x)\n"


def test_on_a_cpu_there_is_no_gpu_to_name() -> None:
    where = provenance("cpu")
    assert {"gpu", "cuda", "driver"} <= set(where)
    assert where["gpu"] is where["cuda"] is where["driver"] is None
    forget_peak("cpu")
    assert peak_gpu_gb("cpu") is None


@pytest.mark.parametrize(
    ("text", "wanted"), [(PROPRIETARY, "535.104.05"), (OPEN, "550.54.15"), ("none here", None)]
)
def test_the_driver_is_read_from_the_kernel_modules_words(
    text: str, wanted: str | None, tmp_path: Path
) -> None:
    (tmp_path / "version").write_text(text)
    assert nvidia_driver(tmp_path / "version") == wanted
    assert nvidia_driver(tmp_path / "nowhere") is None


@pytest.mark.gpu
def test_a_gpu_is_named_with_its_peak_since_the_start() -> None:
    device = f"cuda:{torch.cuda.device_count() - 1}"
    assert provenance(device)["gpu"] == torch.cuda.get_device_name(device)
    assert provenance(device)["cuda"] == torch.version.cuda
    torch.empty(500_000_000, dtype=torch.uint8, device=device)
    assert (peak_gpu_gb(device) or 0) >= 0.5
    forget_peak(device)
    assert (peak_gpu_gb(device) or 0) < 0.5
