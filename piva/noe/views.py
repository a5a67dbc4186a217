"""An object's pictures from all sides, in the folder that `dataset=noe` reads:

    meta.json  transforms.json  images/0000.png (RGBA)  depth/0000.png (16 bits, 0 = no hit)

First the views over the upper hemisphere to train on, then a ring of test views, the front first.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva import __version__
from piva.cameras.lens import focal_from_fov
from piva.cameras.nerfstudio import square_scene
from piva.cameras.poses import hemisphere, ring
from piva.errors import InputError
from piva.images import save_image
from piva.noe.gltf import read_glb
from piva.noe.model import ModelRenderer, bounds, placed, read_model
from piva.noe.settings import BuildNoe
from piva.noe.sources import about
from piva.toys import pictures, store
from piva.toys.parallel import draw_all

DEEPEST = 65.0  # 16 bits of depth units
CHUNK = 8  # frames a job
VERSION = 1  # of how views look: a higher one draws finished objects anew


@dataclass(frozen=True)
class Job:
    """A worker's share of an object's frames."""

    folder: Path
    content: bytes
    where: str
    frames: range
    settings: BuildNoe


def ensure_views(
    folder: Path, uid: str, content: bytes, where: str, annotation: dict[str, Any], settings: BuildNoe
) -> None:
    """Fill `folder` with the views of a .glb file's bytes unless they are there, whole and of these settings.

    `where` names the file in errors, `annotation` is what Objaverse says of it. Raises `InputError`.
    """
    looks = [
        settings.size,
        settings.views,
        settings.test_views,
        settings.distance,
        settings.fov_deg,
        settings.elevation_deg,
    ]
    looks += [settings.front_deg, settings.longest_side]
    wanted = store.fingerprint((), "noe views", VERSION, hashlib.sha256(content).hexdigest(), looks)
    remedy = "choose another out, or make room"
    store.ensure(
        folder, wanted, lambda empty: _write(empty, uid, content, where, annotation, settings), remedy
    )


def cameras(settings: BuildNoe) -> NDArray[np.float32]:
    """(views + test_views, 4, 4)."""
    return np.concatenate(
        [
            hemisphere(settings.views, settings.distance),
            ring(settings.test_views, settings.elevation_deg, settings.distance),
        ]
    )


def _write(
    folder: Path, uid: str, content: bytes, where: str, annotation: dict[str, Any], settings: BuildNoe
) -> None:
    model = read_model(content, where)
    centre, longest = bounds(model)
    if settings.distance + settings.longest_side > DEEPEST:
        raise InputError(
            "distance", f"{settings.distance:g}", f"depths below {DEEPEST:g}, as far as the depth files go"
        )
    if longest <= 0:
        raise InputError(where, "all vertices in one point", "a mesh with an extent")
    meta = {
        "uid": uid,
        **about(annotation, read_glb(content, where).json.get("asset", {})),
        "sha256": hashlib.sha256(content).hexdigest(),
        "triangles": sum(len(patch.corners) for patch in model.patches),
        "centre": centre.tolist(),
        "scale": settings.longest_side / longest,
        "up": "+z",
        "front": "-y",
        "front_deg": settings.front_deg,
        "renderer": f"piva {__version__}, piva.noe.model",
    }
    store.save_json(folder / "meta.json", meta)
    store.save_json(
        folder / "transforms.json",
        square_scene(cameras(settings), settings.views, settings.size, settings.fov_deg),
    )
    for kind in ("images", "depth"):
        (folder / kind).mkdir()
    count = settings.views + settings.test_views
    jobs = [
        Job(folder, content, where, range(i, min(i + CHUNK, count)), settings) for i in range(0, count, CHUNK)
    ]
    draw_all(_draw, jobs, settings.workers, uid)


def _draw(job: Job) -> None:
    settings = job.settings
    poses, focal = cameras(settings), focal_from_fov(settings.fov_deg, settings.size)
    caster = _caster(job.content, job.where, settings.longest_side, settings.front_deg)
    for frame in job.frames:
        view = caster.render(poses[frame], settings.size, settings.size, focal)
        save_image(job.folder / "images" / f"{frame:04d}.png", pictures.rgba_bytes(view))
        save_image(job.folder / "depth" / f"{frame:04d}.png", pictures.depth_units(view))


@lru_cache(maxsize=1)  # a worker's jobs are of one object
def _caster(content: bytes, where: str, longest_side: float, front_deg: float) -> ModelRenderer:
    """Of the object centred, its longest side that long, its front turned to -y."""
    model = read_model(content, where)
    centre, longest = bounds(model)
    return ModelRenderer(placed(model, centre, longest_side / longest, -front_deg))
