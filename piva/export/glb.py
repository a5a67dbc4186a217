"""Surfaces as binary glTF 2.0: y is up, and colours are those of the field's renders, in any program that
reads it.

A texture gives every triangle a tile of its own, two triangles to a tile. With `n` texels along a triangle's
side, its corners are at the texels (0, 0), (n - 1, 0) and (0, n - 1), and one more diagonal lies beyond the
long side, for bilinear sampling. Two such halves, one of them rotated, fill a tile of n + 2 by n + 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from piva.export.settings import MeshSettings
from piva.export.stored import Stored
from piva.export.surface import Surface, colours, solid, surface
from piva.noe.materials import to_linear

Array = NDArray[np.float32]
Look = Callable[[Array, Array], Array]  # places (n, 3) and normals there -> colours (n, 3), sRGB in [0, 1]

# Our (x, y, z) is glTF's (x, z, -y): its +y is up, its front +z.
Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
UNLIT = "KHR_materials_unlit"
LINEAR, CLAMP = 9729, 33071  # no mipmaps: they would mix triangles that are not neighbours


def glb(stored: Stored, settings: MeshSettings) -> bytes:
    """Return the field's surface as a file's bytes: one scene unit is a metre, up is +y, the front (our -y)
    is at +z.

    Raises `InputError` if the field has no surface at this level, or none at all.
    """
    scene = solid(stored, settings)
    found, look = surface(scene, settings), partial(colours, scene)
    return textured(found, look, settings.texels) if settings.texels else coloured(found, look)


def textured(surface: Surface, look: Look, texels: int) -> bytes:
    """Return a mesh with its colours in a texture, `texels` along a triangle's side."""
    faces = surface.faces
    plan = layout(len(faces), texels)
    normals = np.einsum("tk,fki->fti", np.clip(plan.weights, 0, 1), surface.normals[faces])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-20)
    places = np.einsum("tk,fki->fti", plan.weights, surface.vertices[faces])
    pixels = np.zeros((*plan.size, 3), np.uint8)
    seen = look(places.reshape(-1, 3), normals.reshape(-1, 3)).reshape(places.shape)
    pixels[plan.rows, plan.columns] = np.rint(seen * 255)
    uv = plan.uv.reshape(-1, 2) * (1, -1) + (0, 1)  # trimesh's v points up
    material = PBRMaterial(baseColorTexture=Image.fromarray(pixels), metallicFactor=0, roughnessFactor=1)
    mesh = trimesh.Trimesh(
        surface.vertices[faces].reshape(-1, 3) @ Y_UP.T,
        np.arange(faces.size).reshape(-1, 3),
        vertex_normals=surface.normals[faces].reshape(-1, 3) @ Y_UP.T,
        visual=TextureVisuals(uv=uv, material=material),
        process=False,
    )

    def change(tree: dict[str, Any]) -> None:
        tree["samplers"] = [{"magFilter": LINEAR, "minFilter": LINEAR, "wrapS": CLAMP, "wrapT": CLAMP}]
        tree["textures"][0]["sampler"] = 0

    return _exported(mesh, change)


def coloured(surface: Surface, look: Look) -> bytes:
    """Return a mesh with its colours in the vertices: smaller, but some programs show none, or too dark ones.

    They are linear, as the format demands, and floats: in bytes dark colours would be visibly quantised.
    """
    linear = to_linear(look(surface.vertices, surface.normals)).astype(np.float32)
    mesh = trimesh.Trimesh(
        surface.vertices @ Y_UP.T,
        surface.faces,
        vertex_normals=surface.normals @ Y_UP.T,
        vertex_attributes={"_COLOR_0": linear},
        process=False,
    )

    def change(tree: dict[str, Any]) -> None:
        tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}]
        primitive = tree["meshes"][0]["primitives"][0]
        primitive["material"] = 0
        primitive["attributes"]["COLOR_0"] = primitive["attributes"].pop("_COLOR_0")

    return _exported(mesh, change)


def _exported(mesh: trimesh.Trimesh, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the file's bytes after what trimesh cannot express. Materials are unlit: the field contains the
    light.
    """

    def finish(tree: dict[str, Any]) -> None:
        change(tree)
        tree["materials"][0]["extensions"] = {UNLIT: {}}
        tree["extensionsUsed"] = [UNLIT]

    content: bytes = trimesh.exchange.gltf.export_glb(
        mesh.scene(), include_normals=True, tree_postprocessor=finish
    )
    return content


class Layout(NamedTuple):
    """Where the texels of m triangles lie."""

    weights: Array  # (t, 3): barycentric, of a triangle's t texels; negative beyond its long side
    columns: NDArray[np.int64]  # (m, t): where those texels are in the texture
    rows: NDArray[np.int64]
    size: tuple[int, int]  # (h, w) of the texture
    uv: Array  # (m, 3, 2): of the corners, v down


def layout(triangles: int, n: int) -> Layout:
    """Return the layout of an about square texture with `n` >= 2 texels along a triangle's side."""
    i, j = (index.ravel() for index in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    i, j = i[i + j <= n], j[i + j <= n]
    weights = np.stack([n - 1 - i - j, i, j], axis=1) / (n - 1)
    width, height = n + 2, n + 1  # of a tile
    tiles = (triangles + 1) // 2
    across = max(1, round(np.sqrt(tiles * height / width)))
    tile = np.arange(triangles) // 2
    left, top = (tile % across * width)[:, None], (tile // across * height)[:, None]
    turned = (np.arange(triangles) % 2 == 1)[:, None]

    def place(x: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return left + np.where(turned, width - 1 - x, x), top + np.where(turned, height - 1 - y, y)

    columns, rows = place(i, j)
    size = (-(-tiles // across) * height, across * width)
    corners = np.stack(place(np.array([0, n - 1, 0]), np.array([0, 0, n - 1])), axis=-1) + 0.5
    return Layout(weights.astype(np.float32), columns, rows, size, (corners / size[::-1]).astype(np.float32))
