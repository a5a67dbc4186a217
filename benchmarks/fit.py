"""Seconds and held-out PSNR of fitting a scene: `python -m benchmarks.fit FOLDER [field=voxels_fine ...]`."""

import sys
import time
from pathlib import Path

import torch

from piva.config import build, compose
from piva.datasets.views import read_views
from piva.metrics.pixels import psnr
from piva.nerf.fit import fit
from piva.nerf.render import render_image
from piva.nerf.settings import Fit


def main(folder: Path, *words: str) -> None:
    settings: Fit = build(Fit, compose("task=nerf", *words).field, "field")
    views = read_views(folder)
    images, c2w = torch.from_numpy(views.images), torch.from_numpy(views.c2w)
    lenses = [views.lenses[i] for i in views.train]
    begin = time.perf_counter()
    fitted = fit(images[views.train], c2w[views.train], lenses, settings, torch.Generator().manual_seed(0))
    seconds = time.perf_counter() - begin
    white = torch.ones(3)
    values = []
    for i in views.test:
        with torch.no_grad():
            seen = render_image(fitted.field, fitted.occupancy, c2w[i], views.lenses[i], white, settings.step).rgb
        rgba = images[i].float() / 255
        wanted = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        values.append(psnr(seen.permute(2, 0, 1)[None], wanted.permute(2, 0, 1)[None]).item())
    mean = sum(values) / len(values)
    print(f"{folder.name}: {seconds:.1f} s, {mean:.2f} dB on {len(values)} held-out views of {len(images)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
