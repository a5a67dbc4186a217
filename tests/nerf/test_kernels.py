"""Every kernel that this machine can run, against the plain torch reference; that against finite
differences.
"""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from piva.errors import InputError
from piva.nerf.hash_grid import BEST_FIRST, encoder
from piva.nerf.kernels import grid_numba, grid_torch
from piva.nerf.kernels.layout import Layout

LAYOUTS = [
    Layout(levels=6, features=2, log2_rows=10, base=4, growth=1.6),
    Layout(levels=3, features=4, log2_rows=12, base=3, growth=2.0),
]


def some(layout, device="cpu"):
    """Parameters and points, the corners of the cube and nodes among them."""
    g = torch.Generator().manual_seed(0)
    points = torch.rand((301, 3), generator=g)
    points[:8] = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    points[8:16] = torch.cartesian_prod(*[torch.tensor([0.5, 0.25])] * 3)
    return (torch.rand(layout.size, generator=g) - 0.5).to(device), points.to(device)


def values_and_gradients(encode, params, points, layout):
    params = params.clone().requires_grad_(True)
    features = encode(params, points, layout)
    weights = torch.arange(features.numel(), device=params.device).view_as(features).sin()
    features.backward(weights.to(features))
    return features.detach(), params.grad


def test_the_references_gradient_is_that_of_its_values():
    layout = Layout(levels=2, features=2, log2_rows=4, base=2, growth=1.7)
    g = torch.Generator().manual_seed(0)
    params = torch.rand(layout.size, generator=g, dtype=torch.float64, requires_grad=True)
    points = torch.rand((5, 3), generator=g, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: grid_torch.encode(p, points, layout), params)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["hashed", "dense"])
def test_numba_agrees_with_the_reference(layout):
    params, points = some(layout)
    wanted = values_and_gradients(grid_torch.encode, params, points, layout)
    got = values_and_gradients(grid_numba.encode, params, points, layout)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_threads_change_nothing():
    layout = LAYOUTS[0]
    params, points = some(layout)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = values_and_gradients(grid_numba.encode, params, points.repeat(50, 1), layout)
        torch.set_num_threads(2)
        two = values_and_gradients(grid_numba.encode, params, points.repeat(50, 1), layout)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_no_points_and_points_that_are_no_numbers_are_safe():
    layout = LAYOUTS[0]
    params, points = some(layout)
    for encode in (grid_torch.encode, grid_numba.encode):
        assert encode(params, points[:0], layout).shape == (0, layout.width)
    grid_numba.encode(params, torch.full((100, 3), torch.nan), layout)  # must not read beyond the table


def test_triton_agrees_with_the_reference_in_its_interpreter():
    """Triton chooses between interpreting and compiling when it is imported: a process of its own."""
    code = (
        "import torch, test_kernels as t; from piva.nerf.kernels import grid_torch, grid_triton\n"
        "layout = t.Layout(levels=2, features=2, log2_rows=9, base=6, growth=2.0)\n"
        "kernels = (grid_torch, grid_triton)\n"
        "a, b = (t.values_and_gradients(k.encode, *t.some(layout), layout) for k in kernels)\n"
        "torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)\n"
        "empty = grid_triton.encode(*t.some(layout)[:1], torch.zeros(0, 3), layout)\n"
        "assert empty.shape == (0, layout.width)\n"
    )
    in_a_process_of_its_own(code, TRITON_INTERPRET="1")


def test_triton_launches_on_the_device_of_its_points(monkeypatch):
    """Launches are watched; torch knows which device it enters."""
    grid_triton = pytest.importorskip("piva.nerf.kernels.grid_triton")
    entered, launched = [], []

    @contextmanager
    def device_of(x):
        entered.append(x)
        yield
        entered.pop()

    class Kernel:
        def __getitem__(self, grid):
            return lambda *_: launched.append([x is points for x in entered])

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    params, points = some(LAYOUTS[0])
    grid_triton._run(Kernel(), params, points, LAYOUTS[0], torch.empty(0))
    assert launched == [[True]] * LAYOUTS[0].levels


def test_numba_leaves_the_number_of_torchs_threads_alone():
    """They share one OpenMP, whose number of threads numba sets when it starts: once in a process."""
    code = (
        "import torch, test_kernels as t\n"
        "torch.set_num_threads(1); t.grid_numba.encode(*t.some(t.LAYOUTS[0]), t.LAYOUTS[0])\n"
        "assert torch.get_num_threads() == 1\n"
    )
    in_a_process_of_its_own(code, NUMBA_NUM_THREADS="2")


def in_a_process_of_its_own(code, **environment):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
        **environment,
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS, ids=["hashed", "dense"])
@pytest.mark.parametrize("which", ["first", "last"])  # one of several GPUs need not be the current one
def test_every_kernel_of_a_gpu_agrees_with_the_reference(which, layout):
    params, points = some(layout, "cuda:0" if which == "first" else f"cuda:{torch.cuda.device_count() - 1}")
    wanted = values_and_gradients(grid_torch.encode, params, points, layout)
    for name in BEST_FIRST[True]:
        try:
            encode = encoder(name, cuda=True)
        except InputError:  # tinycudann where it is not built
            assert name == "tinycudann"
            continue
        torch.testing.assert_close(
            values_and_gradients(encode, params, points, layout), wanted, rtol=1e-4, atol=1e-4
        )


def test_the_best_kernel_is_chosen_and_an_impossible_one_refused():
    assert encoder("auto", cuda=False) is grid_numba.encode
    assert encoder("torch", cuda=False) is grid_torch.encode
    with pytest.raises(
        InputError,
        match=r"field.kernel: found triton for a field on the CPU, wanted one of auto, numba, torch",
    ):
        encoder("triton", cuda=False)
    with pytest.raises(InputError, match="numba for a field on a GPU"):
        encoder("numba", cuda=True)
