"""Seconds and held-out PSNR of fitting scenes, in a table:

python -m benchmarks.fit [FOLDER ...] [size=200] [threads=2] [field=hash ...]

Without a folder, the scene of the main command's edit (`edits=3`: of the first three). `size` shrinks
pictures to this width.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import get_class
from omegaconf import DictConfig

from piva.config import build, compose
from piva.datasets.pinholes import as_pinholes
from piva.datasets.scene import Views, read_views
from piva.metrics.pixels import psnr
from piva.nerf.scenes import Scene
from piva.nerf.settings import SceneSettings
from piva.nerf.splats.settings import SplatFit


def main(*argv: str) -> None:
    own = dict(arg.split("=", 1) for arg in argv if arg.startswith(("size=", "threads=")))
    folders = [Path(arg) for arg in argv if "=" not in arg]
    cfg = compose("task=nerf", *(arg for arg in argv if "=" in arg and arg.split("=")[0] not in own))
    settings: SceneSettings = build(get_class(cfg.field["_target_"]), cfg.field, "field")
    torch.set_num_threads(int(own.get("threads", torch.get_num_threads())))
    choice = cfg.hydra.runtime.choices.field
    print("| scene | field | threads | s | s of CPU time | dB on held-out views | views |")
    print("|---|---|---|---|---|---|---|")
    for folder in folders or scenes(cfg):
        views = shrunk(read_views(folder), int(own.get("size", 0)))
        views = as_pinholes(views) if isinstance(settings, SplatFit) else views
        images, c2w = (torch.from_numpy(part).to(cfg.device) for part in (views.images, views.c2w))
        lenses = [views.lenses[i] for i in views.train]
        begin, used = time.perf_counter(), time.process_time()
        generator = torch.Generator(cfg.device).manual_seed(0)
        fitted = settings.fit(images[views.train], c2w[views.train], lenses, generator)
        if cfg.device != "cpu":
            torch.cuda.synchronize()
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        quality, count = held_out(fitted, views, settings), f"{len(views.test)} of {len(images)}"
        cells = f"{torch.get_num_threads()} | {seconds:.1f} | {used:.1f} | {quality:.2f} | {count}"
        print(f"| {folder.name} | {choice} | {cells} |", flush=True)


def scenes(cfg: DictConfig) -> list[Path]:
    """Return the scenes of the configuration's edits, each once."""
    edits = build(get_class(cfg.dataset["_target_"]), cfg.dataset, "dataset").read()
    return list(dict.fromkeys(edit.scene for edit in edits))


def shrunk(views: Views, width: int) -> Views:
    """Return the views with pictures of this width, averaged before black; 0 leaves them as they are."""
    if width in (0, views.images.shape[2]):
        return views
    straight = torch.from_numpy(views.images).permute(0, 3, 1, 2).float() / 255
    alpha = straight[:, 3:]
    small = F.avg_pool2d(torch.cat([straight[:, :3] * alpha, alpha], dim=1), views.images.shape[2] // width)
    small[:, :3] /= small[:, 3:].clamp(min=1e-6)
    images = (small * 255).round().byte().permute(0, 2, 3, 1).numpy()
    height = images.shape[1]
    return replace(
        views, images=np.ascontiguousarray(images), lenses=[v.resized(width, height) for v in views.lenses]
    )


def held_out(fitted: Scene, views: Views, settings: SceneSettings) -> float:
    """Return the mean PSNR at the test views in front of white."""
    device = next(fitted.field.parameters()).device
    white, values = torch.ones(3, device=device), []
    for i in views.test:
        with torch.no_grad():
            c2w = torch.from_numpy(views.c2w[i]).to(device)
            seen = fitted.view(settings, c2w, views.lenses[i], white).rgb.cpu()
        rgba = torch.from_numpy(views.images[i]).float() / 255
        wanted = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        values.append(psnr(seen.permute(2, 0, 1)[None], wanted.permute(2, 0, 1)[None]).item())
    return sum(values) / len(values)


if __name__ == "__main__":
    main(*sys.argv[1:])
