"""Milliseconds per million points of the hash grid's kernels: `python -m benchmarks.encode [threads=1,2]`.

Forward and backward, the best of several rounds; points lie along rays. With a GPU its kernels are measured
too.
"""

import sys
import time

import torch

from piva.errors import InputError
from piva.nerf.hash_grid import BEST_FIRST, encoder
from piva.nerf.kernels.layout import Layout

LAYOUTS = {
    "hash": Layout(levels=8, features=2, log2_rows=16, base=16, growth=1.4),
    "hash_paper": Layout(levels=16, features=2, log2_rows=19, base=16, growth=1.447269237440378),
}


def main(*argv: str) -> None:
    threads = dict(arg.split("=") for arg in argv).get("threads", "1,2")
    print("| grid | kernel | device | threads | forward | backward |\n|---|---|---|---|---|---|")
    for name, layout in LAYOUTS.items():
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            for kernel in BEST_FIRST[device == "cuda"]:
                for count in map(int, threads.split(",")) if device == "cpu" else (torch.get_num_threads(),):
                    torch.set_num_threads(count)
                    try:
                        forward, backward = measured(kernel, layout, device)
                    except InputError:  # not on this machine
                        continue
                    times = f"{forward:.0f} | {backward:.0f}"
                    print(f"| {name} | {kernel} | {device} | {count} | {times} |", flush=True)


def measured(
    kernel: str, layout: Layout, device: str, rays: int = 4096, rounds: int = 5
) -> tuple[float, float]:
    """Return the best milliseconds per million points, forward and backward."""
    encode = encoder(kernel, device == "cuda")
    g = torch.Generator().manual_seed(0)
    start, way = torch.rand((rays, 1, 3), generator=g), torch.randn((rays, 1, 3), generator=g)
    points = start + 0.01 * torch.arange(24)[:, None] * way / way.norm(dim=-1, keepdim=True)
    x = points.reshape(-1, 3).clamp(0, 1).to(device)
    params = torch.rand(layout.size, generator=g).to(device).requires_grad_(True)
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        params.grad = None
        times = [_now(device)]
        features = encode(params, x, layout)
        times.append(_now(device))
        features.backward(torch.ones_like(features))
        times.append(_now(device))
        best = [
            min(b, 1e9 * (after - before) / len(x))
            for b, before, after in zip(best, times[:-1], times[1:], strict=True)
        ]
    return best[0], best[1]


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main(*sys.argv[1:])
