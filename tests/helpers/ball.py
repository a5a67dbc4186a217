"""A ball of four colours, known in closed form and rendered without the code under test, and rays."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from piva.cameras.lens import pinhole, pixel_directions
from piva.cameras.poses import hemisphere, ring

RADIUS = 0.7
FIELD = [
    "radius=1",
    "resolutions=[12,24]",
    "steps=[25,60]",
    "rays=512",
    "step=0.04",
    "occupancy=24",
    "threshold=0.5",
]


def ball_views(size, cameras, lens=None):
    """RGBA views (n, size, size, 4) of the ball; `cameras` (n, 4, 4)."""
    lens = lens or pinhole(40, size)
    v, u = np.mgrid[:size, :size] + 0.5
    local = pixel_directions(lens, u, v)
    views = []
    for c2w in np.asarray(cameras, np.float64):
        d = local @ c2w[:3, :3].T
        d /= np.linalg.norm(d, axis=-1, keepdims=True)
        o = c2w[:3, 3]
        along = -(d @ o)
        under = along**2 - (o @ o - RADIUS**2)
        p = o + d * (along - np.sqrt(np.maximum(under, 0)))[..., None]
        rgb = np.where(p[..., :1] > 0, [0.9, 0.3, 0.2], [0.2, 0.4, 0.8]) * np.where(p[..., 2:] > 0, 1.0, 0.5)
        views.append(np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1) * (under > 0)[..., None])
    return torch.from_numpy(np.stack(views).astype(np.float32))


def ball_scene(size):
    """Views and poses for a fit, then for a test, and the lens."""
    train, test = hemisphere(24, 3.0), ring(3, 30, 3.0)
    return (
        ball_views(size, train),
        torch.from_numpy(train),
        ball_views(size, test),
        torch.from_numpy(test),
        pinhole(40, size),
    )


def some_rays(n, seed=0):
    """Origins and directions: most towards the box from all sides, some special cases first."""
    g = torch.Generator().manual_seed(seed)
    origins = F.normalize(torch.randn(n, 3, generator=g), dim=1) * 3
    directions = F.normalize(torch.rand(n, 3, generator=g) * 2 - 1 - origins, dim=1)
    origins[0], directions[0] = (
        torch.tensor([-3.0, 0.1, 0.1]),
        torch.tensor([1.0, 0.0, 0.0]),
    )  # parallel to two pairs of faces
    directions[1] = -directions[1]  # looks away
    origins[2] = torch.tensor([0.1, 0.2, 0.3])  # starts inside
    return origins, directions


def write_ball(folder: Path) -> Path:
    for split, cameras in (("train", hemisphere(24, 3.0)), ("test", ring(2, 15, 3.0))):
        (folder / split).mkdir(parents=True)
        frames = []
        for i, (image, c2w) in enumerate(zip(ball_views(24, cameras), cameras, strict=True)):
            Image.fromarray((image.numpy() * 255).round().astype(np.uint8)).save(
                folder / split / f"r_{i}.png"
            )
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": c2w.tolist()})
        transforms = {"camera_angle_x": float(np.radians(40)), "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(transforms))
    return folder
