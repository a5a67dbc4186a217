"""Time and memory of rendering a fitted toy: `python -m benchmarks.render_field [size=512] [threads=1,2]`.

Milliseconds forward and backward. CPU time stands beside the time on the clock, for machines that are shared.
Each line has a process of its own, for its peak. The field is that of the main command; the camera is a
training one.
"""

import resource
import subprocess
import sys
import time

import torch

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.cameras.rays import image_rays
from piva.config import build, compose
from piva.datasets.noe import Noe
from piva.datasets.scene import read_views
from piva.nerf.render import render_image
from piva.nerf.scenes import fitted_scene

REPEAT = 5


def measure(size: int, threads: int, *overrides: str) -> None:
    cfg = compose("task=nerf", "dataset=noe", "dataset.edits=[snowman/purple]", *overrides)
    dataset: Noe = build(Noe, cfg.dataset, "dataset")
    (edit,) = dataset.read()
    assert edit.scene is not None
    from hydra.utils import get_class

    settings = build(get_class(cfg.field["_target_"]), cfg.field, "field")
    fitted = fitted_scene(
        read_views(edit.scene, None, 64), settings, 0, torch.device("cpu"), lambda _step, _total: None
    )
    field, occupancy = fitted.field.requires_grad_(True), fitted.occupancy
    torch.set_num_threads(threads)
    c2w, lens = torch.from_numpy(orbit(-60, 30, 3.5)), pinhole(40, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    timings = []
    for _ in range(REPEAT):
        field.zero_grad()
        begin, cpu = time.perf_counter(), time.process_time()
        rgb = render_image(field, occupancy, c2w, lens, torch.ones(3), settings.step, cone=settings.cone).rgb
        forth = time.perf_counter()
        rgb.backward(torch.full_like(rgb, 1 / size))
        timings.append((time.perf_counter() - begin, forth - begin, time.process_time() - cpu))
    whole, forward, _ = min(timings)
    cpu = min(used for _, _, used in timings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rays_o, rays_d = image_rays(c2w, lens)
    samples = len(occupancy.sample(rays_o, rays_d, torch.zeros(len(rays_o)), settings.step, settings.cone)[0])
    times = f"{1000 * whole:.0f} ms ({1000 * forward:.0f} forward), {1000 * cpu:.0f} ms of CPU time"
    memory = f"peak {peak / 1e6:.2f} GB (before: {before / 1e6:.2f})"
    print(f"{size}x{size}, {threads} threads: {times}, {samples} samples, {memory}")


def main(*overrides: str) -> None:
    choice = {"size": "128,512", "threads": "1,2"} | {
        k: v for k, _, v in (w.partition("=") for w in overrides) if k in ("size", "threads")
    }
    rest = [override for override in overrides if override.partition("=")[0] not in choice]
    for size in choice["size"].split(","):
        for threads in choice["threads"].split(","):
            code = f"from benchmarks.render_field import measure; measure({size}, {threads}, *{rest!r})"
            subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
