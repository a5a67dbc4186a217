"""Ray casting of glTF models with Embree: textures, vertex colours, cut-outs and glass, under the light that toys have too.

Vocabulary as in `piva.noe.mesh`. `part` is the index of the patch.
"""

from dataclasses import dataclass, replace

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

from piva.cameras.lens import Lens, camera_rays, pinhole_from_focal
from piva.noe.gltf import Patch, read_glb, read_patches, whole
from piva.noe.materials import Array, Material, read_material, tinted
from piva.noe.mesh import AMBIENT, DIFFUSE, LIGHT, Picture
from piva.noe.textures import Texture

SKY = 0.06  # as for toys
LAYERS = 24  # see-through surfaces behind one another; what lies deeper is not seen
STEP = 1e-4  # how far behind a surface a ray goes on, of the distance
SOLID = 0.5  # the opacity from which depth and part count a surface as hit


@dataclass(frozen=True)
class Model:
    """Patches with their materials."""

    patches: list[Patch]
    materials: list[Material]


def read_model(content: bytes, where: str) -> Model:
    """The model in a .glb file's bytes, z up, in its own units; raises `InputError` that begins with `where`."""
    document = read_glb(content, where)
    patches = read_patches(document)
    pictures: dict[int, list[NDArray[np.uint8]]] = {}
    with whole(where):
        return Model(patches, [read_material(document, patch, pictures) for patch in patches])


def bounds(model: Model) -> tuple[NDArray[np.float64], float]:
    """Centre (3,) and longest side of the box around the model."""
    low = np.min([patch.corners.min(axis=(0, 1)) for patch in model.patches], axis=0)
    high = np.max([patch.corners.max(axis=(0, 1)) for patch in model.patches], axis=0)
    return (low + high) / 2, float((high - low).max())


def placed(model: Model, centre: NDArray[np.float64], scale: float, turn_deg: float) -> Model:
    """The model with `centre` at the origin, `scale` times as big, turned about z."""
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    patches = [
        replace(
            p, corners=(p.corners - centre) * scale @ turn.T, normals=(p.normals @ turn.T).astype(np.float32)
        )
        for p in model.patches
    ]
    return Model(patches, model.materials)


class ModelRenderer:
    """Casts rays at one model; build once, render many views."""

    def __init__(self, model: Model) -> None:
        self._model = model
        corners = np.concatenate([patch.corners for patch in model.patches])
        self._part = np.concatenate(
            [np.full(len(p.corners), i, np.int16) for i, p in enumerate(model.patches)]
        )
        self._first = np.cumsum([0, *(len(patch.corners) for patch in model.patches)])
        self._normals = np.concatenate([patch.normals for patch in model.patches])  # (faces, 3, 3)
        outside = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._area = np.linalg.norm(outside, axis=1)  # twice the triangle's
        agree = np.einsum("fi,fki->f", outside, self._normals) >= 0
        self._outside = np.where(agree[:, None], outside, -outside).astype(
            np.float32
        )  # on the side of its corners' normals
        self._scene = rtcore_scene.EmbreeScene()
        TriangleMesh(self._scene, corners.astype(np.float32))

    def render(self, c2w: Array, width: int, height: int, focal: float, supersample: int = 2) -> Picture:
        """Render one pinhole view; `focal` in pixels of the output, principal point at the centre.

        Each pixel averages `supersample`^2 rays; depth and part are those of the nearest solid surface its rays hit.
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
            distance = (
                start[found] + hit["tfar"][found]
            )  # directions have unit z in the camera: this is z-depth
            weights = np.stack(
                [1 - hit["u"][found] - hit["v"][found], hit["u"][found], hit["v"][found]], axis=1
            )
            colour = self._shade(face, weights, rays[going], distance / (focal * supersample))
            left = 1 - rgba[going, 3:]
            rgba[going] += left * colour[:, 3:] * np.concatenate([colour[:, :3], np.ones_like(left)], axis=1)
            solid = (rgba[going, 3] >= SOLID) & (part[going] < 0)
            depth[going[solid]], part[going[solid]] = distance[solid], self._part[face[solid]]
            on = rgba[going, 3] < 1 - 1e-3
            going, start = going[on], distance[on] * (1 + STEP)
        return _downsample(rgba, depth, part, lens, supersample)

    def _shade(self, face: NDArray[np.int32], weights: Array, rays: Array, footprint: Array) -> Array:
        """RGBA (n, 4), straight alpha, of hits; `weights` of the corners; `footprint` is the distance between rays there."""
        normals = np.einsum("nk,nki->ni", weights, self._normals[face])
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-8)
        behind = (
            np.einsum("ni,ni->n", self._outside[face], rays) > 0
        )  # both sides are seen, each lit from its own
        normals = np.where(behind[:, None], -normals, normals)
        facing = np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)[:, None]
        light = AMBIENT + SKY * normals[:, 2:] + DIFFUSE * facing
        out = np.empty((len(face), 4), np.float32)
        parts = self._part[face]
        for index in map(int, np.unique(parts)):
            mine = np.flatnonzero(parts == index)
            out[mine] = self._colour(index, face[mine], weights[mine], light[mine], footprint[mine])
        return np.clip(out, 0.0, 1.0)

    def _colour(
        self, index: int, face: NDArray[np.int32], weights: Array, light: Array, footprint: Array
    ) -> Array:
        patch, material = self._model.patches[index], self._model.materials[index]
        local = face - self._first[index]

        def read(texture: Texture | None) -> Array:
            if texture is None:
                return np.ones((len(face), 4), np.float32)
            corners = patch.uv[texture.channel][local]
            level = self._level(texture, corners, self._area[face], footprint)
            return texture.sample(np.einsum("nk,nki->ni", weights, corners), level)

        rgba = tinted(read(material.texture), material.factor)
        if patch.colour is not None:
            rgba = tinted(rgba, np.einsum("nk,nki->ni", weights, patch.colour[local]))
        lit = rgba[:, :3] if material.unlit else rgba[:, :3] * light
        if material.glow.any():
            glow = tinted(read(material.glow_texture), np.append(material.glow, 1.0))
            lit = lit + glow[:, :3]
        return np.concatenate([lit, material.opacity(rgba[:, 3:])], axis=1, dtype=np.float32)

    @staticmethod
    def _level(
        texture: Texture, corners: Array, area: NDArray[np.float64], footprint: Array
    ) -> NDArray[np.float64]:
        """log2 of how many texels lie between two neighbouring rays."""
        edges = corners[:, 1:] - corners[:, :1]
        edges = edges @ texture.matrix[:, :2].T * texture.levels[0].shape[1::-1]
        texels = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
        between = footprint * np.sqrt(texels / np.maximum(area, 1e-20))
        return np.asarray(np.log2(np.maximum(between, 1e-6)))


def _downsample(rgba: Array, depth: Array, part: NDArray[np.int16], lens: Lens, factor: int) -> Picture:
    """Mean of the factor^2 samples of each pixel, alpha made straight; depth and part of the nearest."""

    def samples(values: NDArray[np.generic]) -> NDArray[np.generic]:
        grid = values.reshape(lens.height, factor, lens.width, factor, -1).swapaxes(1, 2)
        return grid.reshape(lens.height, lens.width, factor * factor, -1)

    mean = np.asarray(samples(rgba), np.float32).mean(axis=2)
    mean[..., :3] /= np.maximum(mean[..., 3:], 1e-6)
    depths, parts = samples(depth)[..., 0], samples(part)[..., 0]
    nearest = depths.argmin(axis=2)[..., None]
    shown = np.take_along_axis(depths, nearest, axis=2)[..., 0].astype(np.float32)
    return Picture(
        np.clip(mean, 0, 1),
        np.where(np.isfinite(shown), shown, 0).astype(np.float32),
        np.take_along_axis(parts, nearest, axis=2)[..., 0].astype(np.int16),
    )
