"""Cast rays at triangle meshes with Embree: RGBA, depth and part ids of a view, and their file content.

Vocabulary: `c2w` is a 4x4 camera-to-world matrix with OpenGL axes (x right, y up, looking along -z) in a
world with z up; `depth` is the distance along the viewing axis (not the ray), 0 where nothing was hit.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import trimesh
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

from piva.cameras.lens import Lens, camera_rays, pinhole_from_focal
from piva.cameras.nerfstudio import DEPTH_UNIT

Array = NDArray[np.float32]
Shader = Callable[[Array], Array]  # world positions (n, 3) -> base colours (n, 3) in [0, 1]

# One light fixed to the world: an object's colours do not depend on the camera, so a NeRF can learn them.
LIGHT = np.array([-0.40, -0.62, 0.68], dtype=np.float32)
AMBIENT, DIFFUSE, SKY = 0.66, 0.44, 0.06  # the sky is a little brighter than the ground


@dataclass(frozen=True)
class Surface:
    """A named part of an object: its mesh in world space and the colour at each point of it."""

    name: str
    mesh: trimesh.Trimesh
    colour: Shader
    smooth: bool  # interpolate vertex normals (balls, cylinders) or keep faces flat (boxes)
    gloss: float = 0.0  # strength of a broad highlight under the light, 0 = matt


@dataclass(frozen=True)
class Picture:
    """One rendered view of h x w pixels."""

    rgba: Array  # (h, w, 4) in [0, 1], straight alpha, rgb 0 where alpha is 0
    depth: Array  # (h, w) z-depth in world units, 0 = no hit
    part: NDArray[np.int16]  # (h, w) index into the surfaces, -1 = no hit

    def rgba_bytes(self) -> NDArray[np.uint8]:
        """Return (h, w, 4), straight alpha."""
        return np.asarray(np.rint(self.rgba * 255), np.uint8)

    def rgb_bytes(self, background: NDArray[Any]) -> NDArray[np.uint8]:
        """Return (h, w, 3) on a background colour in [0, 1]."""
        alpha = self.rgba[..., 3:]
        return np.asarray(np.rint((self.rgba[..., :3] * alpha + background * (1 - alpha)) * 255), np.uint8)

    def depth_units(self) -> NDArray[np.uint16]:
        """Return (h, w) z-depth in steps of `DEPTH_UNIT`, 0 = no hit."""
        return np.asarray(np.rint(self.depth / DEPTH_UNIT), np.uint16)

    def part_ids(self) -> NDArray[np.uint8]:
        """Return (h, w) indices into `part_names`."""
        return np.asarray(self.part + 1, np.uint8)


@runtime_checkable
class Named(Protocol):
    """A part or a surface."""

    @property
    def name(self) -> str: ...


def part_names(parts: Iterable[Named]) -> list[str]:
    """Return what the ids of `Picture.part_ids` mean; 0 is no hit."""
    return ["", *(part.name for part in parts)]


def differs(
    source: Picture, truth: Picture, source_names: list[str], truth_names: list[str]
) -> NDArray[np.bool_]:
    """Return (h, w), true where colour, part or depth of two views differ at the precision of the files."""
    colour = (source.rgba_bytes() != truth.rgba_bytes()).any(axis=-1)
    part = np.array(source_names)[source.part_ids()] != np.array(truth_names)[truth.part_ids()]
    return np.asarray(colour | part | (source.depth_units() != truth.depth_units()))


class MeshRenderer:
    """Cast rays at a fixed list of surfaces; build once, render many views."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        self.surfaces = tuple(surfaces)
        parts = [np.full(len(s.mesh.faces), i, np.int16) for i, s in enumerate(self.surfaces)]
        self._part = np.concatenate(parts)
        self._corner_normals = np.concatenate([_corner_normals(s) for s in self.surfaces])  # (faces, 3, 3)
        self._scene = rtcore_scene.EmbreeScene()
        triangles = np.concatenate([s.mesh.triangles for s in self.surfaces])
        TriangleMesh(self._scene, triangles.astype(np.float32))

    def render(self, c2w: Array, width: int, height: int, focal: float, supersample: int = 2) -> Picture:
        """Render one pinhole view; `focal` in pixels of the output, principal point at the centre."""
        return self.render_lens(c2w, pinhole_from_focal(focal, height, width), supersample)

    def render_lens(self, c2w: Array, lens: Lens, supersample: int = 2) -> Picture:
        """Render one view through a lens, with its distortion.

        Each pixel averages `supersample`^2 rays; depth and part id come from the ray nearest to the camera.
        """
        w, h = lens.width * supersample, lens.height * supersample
        rotation, position = np.asarray(c2w, np.float64)[:3, :3], np.asarray(c2w, np.float32)[:3, 3]
        directions = (camera_rays(lens, supersample).reshape(-1, 3) @ rotation.T).astype(np.float32)
        origins = np.tile(position, (h * w, 1))
        hit = self._scene.run(origins, directions, output=1)
        found = np.flatnonzero(hit["primID"] >= 0)
        face = hit["primID"][found]
        distance = hit["tfar"][found]  # directions have unit z in the camera: this is z-depth
        points = origins[found] + distance[:, None] * directions[found]
        u, v = hit["u"][found, None], hit["v"][found, None]
        corners = self._corner_normals[face]
        normals = corners[:, 0] * (1 - u - v) + corners[:, 1] * u + corners[:, 2] * v

        rgba = np.zeros((h * w, 4), np.float32)
        depth = np.full(h * w, np.inf, np.float32)
        part = np.full(h * w, -1, np.int16)
        rgba[found, :3] = self._shade(self._part[face], points, normals)
        rgba[found, 3] = 1.0
        depth[found] = distance
        part[found] = self._part[face]
        return downsample(rgba.reshape(h, w, 4), depth.reshape(h, w), part.reshape(h, w), supersample)

    def _shade(self, part: NDArray[np.int16], points: Array, normals: Array) -> Array:
        """Return colours (n, 3): base colour times ambient and Lambert light, plus the highlight of gloss."""
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-8)
        facing = np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)[:, None]
        sky = SKY * normals[:, 2:]
        out = np.empty_like(points)
        for index, surface in enumerate(self.surfaces):
            mine = np.flatnonzero(part == index)
            if len(mine):
                lit = surface.colour(points[mine]) * (AMBIENT + sky[mine] + DIFFUSE * facing[mine])
                out[mine] = lit + surface.gloss * facing[mine] ** 12 if surface.gloss else lit
        return np.clip(out, 0.0, 1.0)


def _corner_normals(surface: Surface) -> Array:
    mesh = surface.mesh
    if surface.smooth:
        return np.asarray(mesh.vertex_normals[mesh.faces], np.float32)
    return np.repeat(mesh.face_normals[:, None], 3, axis=1).astype(np.float32)


def downsample(rgba: Array, depth: Array, part: NDArray[np.int16], factor: int) -> Picture:
    """Return mean colour and opacity of each pixel's factor^2 samples; depth and part of the nearest.

    `rgba` (h, w, 4) is premultiplied; `depth` (h, w) is infinite where nothing was hit.
    """
    samples = [(slice(i, None, factor), slice(j, None, factor)) for i in range(factor) for j in range(factor)]
    total = np.add.reduce([rgba[sample] for sample in samples])
    covered = total[..., 3:]
    nearest, ids = depth[samples[0]], part[samples[0]]
    for sample in samples[1:]:
        closer = depth[sample] < nearest
        nearest, ids = np.where(closer, depth[sample], nearest), np.where(closer, part[sample], ids)
    mean = np.concatenate([total[..., :3] / np.maximum(covered, 1e-6), covered / len(samples)], axis=-1)
    return Picture(mean, np.where(np.isfinite(nearest), nearest, 0).astype(np.float32), ids)
