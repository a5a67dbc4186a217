"""Seconds for 100 views of a textured model: `python -m benchmarks.render [size=512] [workers=2]`.

The model has 20,000 triangles. It is drawn as `piva.noe` draws objects, files and all.
"""

import io
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from piva.config import build, compose
from piva.noe.settings import BuildNoe
from piva.noe.sources import Source
from piva.noe.views import ensure_views


def model() -> bytes:
    """Return a bumpy ball of 20,480 triangles with a texture of 1024^2, as a .glb."""
    ball = trimesh.creation.icosphere(subdivisions=5)
    x, y, z = ball.vertices.T
    ball.vertices *= (1 + 0.1 * np.sin(9 * x) * np.sin(7 * y) * np.sin(8 * z))[:, None]
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    uv = np.column_stack([np.arctan2(y, x) / np.pi, z])
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(noise))
    ball.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    file = io.BytesIO(trimesh.exchange.gltf.export_glb(ball.scene(), include_normals=True))
    return file.getvalue()


def main(*overrides: str) -> None:
    overrides = ("source=none", "prompts=none", "views=100", *overrides)
    settings: BuildNoe = build(BuildNoe, compose(*overrides, name="build_noe"))
    content = model()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        ensure_views(Path(folder) / "ball", Source("ball", "ball.glb", lambda: content), settings)
        seconds = time.perf_counter() - begin
    processes = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    used = sum(sum(resource.getrusage(whose)[:2]) for whose in processes)
    count = settings.views + settings.test_views
    cost = f"{seconds:.1f} s ({used:.1f} s of CPU time)"
    print(f"{count} views of {settings.size}^2 by {settings.workers} workers: {cost}")
    print(f"100 views: {100 * seconds / count:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
