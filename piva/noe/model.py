"""Cast rays at glTF models with Embree: textures, vertex colours, cut-outs and glass, under the toys' light.

Vocabulary as in `piva.noe.mesh`; `part` is the index of the primitive.
"""

from dataclasses import dataclass, replace

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

from piva.cameras.lens import camera_rays, pinhole_from_focal
from piva.noe.glb import as_input_error, read_glb
from piva.noe.gltf import Primitive, read_primitives
from piva.noe.materials import Array, Material, Texture, read_material, tinted
from piva.noe.mesh import AMBIENT, DIFFUSE, LIGHT, SKY, Picture, downsample

Array64 = NDArray[np.float64]
LAYERS = 24  # surfaces along a ray; what lies deeper is not seen
STEP = 1e-4  # how far behind a surface a ray goes on, relative to the distance
SOLID = 0.5  # the opacity from which depth and part count a surface as hit


@dataclass(frozen=True)
class Model:
    """Primitives and their materials."""

    primitives: list[Primitive]
    materials: list[Material]


def read_model(content: bytes, where: str) -> Model:
    """Return the model in a .glb file's bytes, z up, in its own units. Raises `InputError` naming `where`."""
    document = read_glb(content, where)
    primitives = read_primitives(document)
    pictures: dict[int, list[NDArray[np.uint8]]] = {}
    with as_input_error(where):
        return Model(primitives, [read_material(document, primitive, pictures) for primitive in primitives])


def bounds(model: Model) -> tuple[NDArray[np.float64], float]:
    """Return centre (3,) and longest side of the box around the model."""
    low = np.min([primitive.corners.min(axis=(0, 1)) for primitive in model.primitives], axis=0)
    high = np.max([primitive.corners.max(axis=(0, 1)) for primitive in model.primitives], axis=0)
    return (low + high) / 2, float((high - low).max())


def placed(model: Model, centre: NDArray[np.float64], scale: float, turn_deg: float) -> Model:
    """Return the model with `centre` at the origin, `scale` times as big, turned about z."""
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    primitives = []
    for primitive in model.primitives:
        corners = (primitive.corners - centre) * scale @ turn.T
        normals = (primitive.normals @ turn.T).astype(np.float32)
        primitives.append(replace(primitive, corners=corners, normals=normals))
    return Model(primitives, model.materials)


class ModelRenderer:
    """Cast rays at a model; build once, render many views."""

    def __init__(self, model: Model) -> None:
        self._model = model
        corners = np.concatenate([primitive.corners for primitive in model.primitives])
        parts = [np.full(len(p.corners), i, np.int16) for i, p in enumerate(model.primitives)]
        self._part = np.concatenate(parts)
        self._first = np.cumsum([0, *(len(primitive.corners) for primitive in model.primitives)])
        self._normals = np.concatenate([primitive.normals for primitive in model.primitives])  # (faces, 3, 3)
        outside = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._area = np.linalg.norm(outside, axis=1)  # twice the triangle's
        self._agree = agree = np.einsum("fi,fki->f", outside, self._normals) >= 0
        single = [not material.double_sided for material in model.materials]
        self._single = np.array(single)[self._part]
        # face normals on the side of the corners' normals
        self._outside = np.where(agree[:, None], outside, -outside).astype(np.float32)
        self._scene = rtcore_scene.EmbreeScene()
        TriangleMesh(self._scene, corners.astype(np.float32))

    def render(self, c2w: Array, width: int, height: int, focal: float, supersample: int = 2) -> Picture:
        """Render one pinhole view; `focal` in pixels of the output, principal point at the centre.

        Each pixel averages `supersample`^2 rays; depth and part are of the nearest solid surface they hit.
        """
        lens = pinhole_from_focal(focal, height, width)
        rotation, position = np.asarray(c2w, np.float64)[:3, :3], np.asarray(c2w, np.float32)[:3, 3]
        rays = (camera_rays(lens, supersample).reshape(-1, 3) @ rotation.T).astype(np.float32)
        rgba = np.zeros((len(rays), 4), np.float32)  # premultiplied
        depth, part = np.full(len(rays), np.inf, np.float32), np.full(len(rays), -1, np.int16)
        going, start = np.arange(len(rays)), np.zeros(len(rays), np.float32)
        for _ in range(LAYERS):
            origins = position + start[:, None] * rays[going]
            hit = self._scene.run(origins, rays[going], output=1)
            found = np.flatnonzero(hit["primID"] >= 0)
            going, face = going[found], hit["primID"][found]
            if not len(going):
                break
            distance = start[found] + hit["tfar"][found]  # rays have unit z in the camera: this is z-depth
            u, v = hit["u"][found], hit["v"][found]
            weights = np.stack([1 - u - v, u, v], axis=1)
            colour = self._shade(face, weights, rays[going], distance / (focal * supersample))
            left = 1 - rgba[going, 3:]
            rgba[going] += left * colour[:, 3:] * np.concatenate([colour[:, :3], np.ones_like(left)], axis=1)
            solid = (rgba[going, 3] >= SOLID) & (part[going] < 0)
            depth[going[solid]], part[going[solid]] = distance[solid], self._part[face[solid]]
            on = rgba[going, 3] < 1 - 1e-3
            going, start = going[on], distance[on] * (1 + STEP)
        h, w = height * supersample, width * supersample
        view = downsample(rgba.reshape(h, w, 4), depth.reshape(h, w), part.reshape(h, w), supersample)
        return replace(view, rgba=np.clip(view.rgba, 0, 1))

    def _shade(self, face: NDArray[np.int32], weights: Array, rays: Array, footprint: Array) -> Array:
        """Return RGBA (n, 4), straight alpha, of hits.

        `weights` (n, 3) of the corners; `footprint` (n,) is the distance between neighbouring rays there.
        """
        normals = np.einsum("nk,nki->ni", weights, self._normals[face])
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-8)
        # where both sides are seen, each is lit from its own
        behind = np.einsum("ni,ni->n", self._outside[face], rays) > 0
        normals = np.where(behind[:, None], -normals, normals)
        facing = np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)[:, None]
        light = AMBIENT + SKY * normals[:, 2:] + DIFFUSE * facing
        out = np.empty((len(face), 4), np.float32)
        parts = self._part[face]
        for index in map(int, np.unique(parts)):
            mine = np.flatnonzero(parts == index)
            out[mine] = self._colour(index, face[mine], weights[mine], light[mine], footprint[mine])
        # a face's front is where its corners wind counter-clockwise, whatever its normals say
        out[self._single[face] & (behind == self._agree[face]), 3] = 0
        return np.clip(out, 0.0, 1.0)

    def _colour(
        self, index: int, face: NDArray[np.int32], weights: Array, light: Array, footprint: Array
    ) -> Array:
        primitive, material = self._model.primitives[index], self._model.materials[index]
        local = face - self._first[index]

        def read(texture: Texture | None) -> Array:
            if texture is None:
                return np.ones((len(face), 4), np.float32)
            corners = primitive.uv[texture.channel][local]
            level = self._level(texture, corners, self._area[face], footprint)
            return texture.sample(np.einsum("nk,nki->ni", weights, corners), level)

        rgba = tinted(read(material.texture), material.factor)
        if primitive.colour is not None:
            rgba = tinted(rgba, np.einsum("nk,nki->ni", weights, primitive.colour[local]))
        lit = rgba[:, :3] if material.unlit else rgba[:, :3] * light
        if material.glow.any():
            glow = tinted(read(material.glow_texture), np.append(material.glow, 1.0))
            lit = lit + glow[:, :3]
        return np.concatenate([lit, material.opacity(rgba[:, 3:])], axis=1, dtype=np.float32)

    @staticmethod
    def _level(texture: Texture, corners: Array, area: Array64, footprint: Array) -> Array64:
        """Return log2 of the number of texels between two neighbouring rays."""
        edges = corners[:, 1:] - corners[:, :1]
        edges = edges @ texture.matrix[:, :2].T * texture.levels[0].shape[1::-1]
        texels = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
        between = footprint * np.sqrt(texels / np.maximum(area, 1e-20))
        return np.asarray(np.log2(np.maximum(between, 1e-6)))
