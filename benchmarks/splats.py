"""Milliseconds of drawing splats and back: `python -m benchmarks.splats [count=10000] [threads=1,2]`.

They lie on a ball that fills a quarter of 128x128 pixels. `python -m benchmarks.fit field=splats` times fits.
"""

import sys
import time

import torch
import torch.nn.functional as F

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.nerf.splats.rasterise import Gaussians, rasterise
from piva.nerf.splats.scene import world_to_camera

REPEAT = 10


def measure(count: int, threads: int) -> tuple[float, float]:
    """Return milliseconds forward, and forward and backward: the best of some."""
    torch.set_num_threads(threads)
    g = torch.Generator().manual_seed(0)
    means = 0.8 * F.normalize(torch.randn(count, 3, generator=g), dim=1)
    values = [
        means,
        torch.randn(count, 4, generator=g),
        0.01 + 0.03 * torch.rand(count, 3, generator=g),
        0.1 + 0.8 * torch.rand(count, generator=g),
        0.3 * torch.randn(count, 1, 3, generator=g),
    ]
    leaves = [x.requires_grad_() for x in values]
    w2c = world_to_camera(torch.from_numpy(orbit(30, 20, 4.0)), torch.eye(3))
    weights = torch.randn(128, 128, 3, generator=g)
    timings = []
    for _ in range(REPEAT):
        begin = time.perf_counter()
        drawn = rasterise(Gaussians(*leaves), w2c, pinhole(40, 128))
        forth = time.perf_counter() - begin
        (drawn.rgb * weights).sum().backward()
        timings.append((forth, time.perf_counter() - begin))
    forward, both = (1000 * min(times) for times in zip(*timings, strict=True))
    return forward, both


def main(*argv: str) -> None:
    own = {"count": "10000", "threads": "1,2"} | dict(arg.split("=", 1) for arg in argv)
    print("| splats | threads | ms forward | ms forward and backward |\n|---|---|---|---|")
    for threads in own["threads"].split(","):
        forward, both = measure(int(own["count"]), int(threads))
        print(f"| {own['count']} | {threads} | {forward:.1f} | {both:.1f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
