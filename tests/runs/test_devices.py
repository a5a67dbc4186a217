"""The device that a run is given: one line for one that is not there."""

import subprocess
import sys

import pytest
import torch

from piva.errors import InputError
from piva.runs import devices
from piva.runs.devices import check_device, has_driver


@pytest.mark.parametrize(
    ("count", "words"), [(0, "no CUDA device "), (1, "1 CUDA device "), (2, "2 CUDA devices ")]
)
def test_a_gpu_beyond_those_there_are_is_refused_with_their_number(
    count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for index in range(count):
        check_device(f"cuda:{index}")
    with pytest.raises(InputError, match=f"device=cuda:7: found {words}on this machine.*use device=cpu"):
        check_device("cuda:7")
    if count:
        check_device("cuda")
    else:
        with pytest.raises(InputError, match="device=cuda: found no CUDA device"):
            check_device("cuda")


def test_a_mac_without_its_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="device=mps: .*use device=cpu"):
        check_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    check_device("mps")
    check_device("cpu")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(InputError, match="device=mps: .*use device=cpu"):
        check_device("mps")


def test_without_a_driver_the_answer_needs_no_torch() -> None:
    code = """
import sys
from piva.runs import devices
devices.DRIVERS = ("libno-such-driver.so",)
devices.version = lambda name: "2.9.0"
for device in ("cuda", "cpu"):
    try:
        devices.check_device(device)
    except devices.InputError as error:
        print(error)
print("torch" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line, torch_is_there = told.stdout.splitlines()
    assert line.startswith("device=cuda: found no CUDA device on this machine")
    assert torch_is_there == "False"


def test_torch_finds_no_gpu_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_driver() or not torch.cuda.is_available()
    monkeypatch.setattr(devices, "DRIVERS", ())
    monkeypatch.setattr(devices, "version", lambda name: "2.9.0")
    assert not has_driver()
    monkeypatch.setattr(devices, "version", lambda name: "2.9.0+rocm6.4")
    assert has_driver()  # torch calls AMD's GPUs cuda too
