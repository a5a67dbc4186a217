"""Render an object from all sides into the folder that `dataset=noe` reads:

    meta.json  transforms.json  images/0000.png (RGBA)  depth/0000.png (16 bits, 0 = no hit)

First the views over the upper hemisphere to train on, then a ring of test views, the front first.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from piva import __version__
from piva.cameras.lens import focal_from_fov
from piva.cameras.nerfstudio import square_scene
from piva.cameras.poses import hemisphere, ring
from piva.errors import InputError
from piva.images import save_image
from piva.noe import generated
from piva.noe.glb import read_glb
from piva.noe.model import ModelRenderer, bounds, placed, read_model
from piva.noe.settings import BuildNoe
from piva.noe.sources import Source, about

DEEPEST = 65.0  # scene units: 16 bits of depth units
CHUNK = 8  # frames a job
VERSION = 2  # of how views look: a higher one draws finished objects again


@dataclass(frozen=True)
class Job:
    """A worker's share of an object's frames."""

    folder: Path
    content: bytes
    where: str
    frames: range
    settings: BuildNoe


def ensure_views(folder: Path, source: Source, settings: BuildNoe) -> None:
    """Fill `folder` with the object's views unless they are there, complete and of these settings.

    Raises `InputError`.
    """
    content = source.read()
    looks = [settings.size, settings.views, settings.test_views, settings.distance, settings.fov_deg]
    looks += [settings.elevation_deg, settings.front_deg, settings.longest_side]
    wanted = generated.fingerprint((), "noe views", VERSION, hashlib.sha256(content).hexdigest(), looks)
    remedy = "choose another out, or make room"
    generated.ensure(folder, wanted, lambda empty: _write(empty, source, content, settings), remedy)


def cameras(settings: BuildNoe) -> NDArray[np.float32]:
    """Return camera-to-world matrices (views + test_views, 4, 4)."""
    test = ring(settings.test_views, settings.elevation_deg, settings.distance)
    return np.concatenate([hemisphere(settings.views, settings.distance), test])


def _write(folder: Path, source: Source, content: bytes, settings: BuildNoe) -> None:
    model = read_model(content, source.where)
    centre, longest = bounds(model)
    if settings.distance + settings.longest_side > DEEPEST:
        wanted = f"depths below {DEEPEST:g}, as far as the depth files go"
        raise InputError("distance", f"{settings.distance:g}", wanted)
    if longest <= 0:
        raise InputError(source.where, "all vertices in one point", "a mesh with an extent")
    meta = {
        "uid": source.uid,
        **about(source.annotation(), read_glb(content, source.where).json.get("asset", {})),
        "sha256": hashlib.sha256(content).hexdigest(),
        "triangles": sum(len(primitive.corners) for primitive in model.primitives),
        "centre": centre.tolist(),
        "scale": settings.longest_side / longest,
        "up": "+z",
        "front": "-y",
        "front_deg": settings.front_deg,
        "renderer": f"piva {__version__}, piva.noe.model",
    }
    generated.save_json(folder / "meta.json", meta)
    scene = square_scene(cameras(settings), settings.views, settings.size, settings.fov_deg)
    generated.save_json(folder / "transforms.json", scene)
    for kind in ("images", "depth"):
        (folder / kind).mkdir()
    count = settings.views + settings.test_views
    frames = [range(i, min(i + CHUNK, count)) for i in range(0, count, CHUNK)]
    jobs = [Job(folder, content, source.where, part, settings) for part in frames]
    generated.draw_all(_draw, jobs, settings.workers, source.uid)


def _draw(job: Job) -> None:
    settings = job.settings
    poses, focal = cameras(settings), focal_from_fov(settings.fov_deg, settings.size)
    renderer = _renderer(job.content, job.where, settings.longest_side, settings.front_deg)
    for frame in job.frames:
        view = renderer.render(poses[frame], settings.size, settings.size, focal)
        save_image(job.folder / "images" / f"{frame:04d}.png", view.rgba_bytes())
        save_image(job.folder / "depth" / f"{frame:04d}.png", view.depth_units())


@lru_cache(maxsize=1)  # a worker's jobs are of one object
def _renderer(content: bytes, where: str, longest_side: float, front_deg: float) -> ModelRenderer:
    """Return a renderer of the object centred, its longest side that long, its front turned to -y."""
    model = read_model(content, where)
    centre, longest = bounds(model)
    return ModelRenderer(placed(model, centre, longest_side / longest, -front_deg))
