"""Surfaces as binary glTF 2.0: upright, and coloured as the field is rendered, in any program that reads it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from piva.export.settings import MeshSettings
from piva.export.stored import Stored
from piva.export.surface import Surface, colours, surface
from piva.export.texture import layout
from piva.noe.materials import to_linear

Array = NDArray[np.float32]
Look = Callable[[Array, Array], Array]  # places (n, 3) and normals there -> colours (n, 3), sRGB in [0, 1]

Y_UP = np.array(
    [[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32
)  # our (x, y, z) is glTF's (x, z, -y): its +y is up, its front +z
UNLIT = "KHR_materials_unlit"
LINEAR, CLAMP = 9729, 33071  # no smaller versions of the texture: they would mix patches that are strangers


def glb(stored: Stored, settings: MeshSettings) -> bytes:
    """The field's surface as a file's content. One scene unit is a metre, up is +y, and the front, which was at -y, is at +z.

    Raises `InputError` if the field has no surface at this level.
    """
    found, look = surface(stored, settings), partial(colours, stored)
    return textured(found, look, settings.texels) if settings.texels else coloured(found, look)


def textured(surface: Surface, look: Look, texels: int) -> bytes:
    """Colours in a texture, `texels` along a triangle's side."""
    faces = surface.faces
    plan = layout(len(faces), texels)
    normals = np.einsum("tk,fki->fti", np.clip(plan.weights, 0, 1), surface.normals[faces])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-20)
    places = np.einsum("tk,fki->fti", plan.weights, surface.vertices[faces])
    pixels = np.zeros((*plan.size, 3), np.uint8)
    seen = look(places.reshape(-1, 3), normals.reshape(-1, 3)).reshape(places.shape)
    pixels[plan.rows, plan.columns] = np.rint(seen * 255)
    up = plan.uv.reshape(-1, 2) * (1, -1) + (0, 1)  # trimesh's v points up
    material = PBRMaterial(baseColorTexture=Image.fromarray(pixels), metallicFactor=0, roughnessFactor=1)
    mesh = trimesh.Trimesh(
        surface.vertices[faces].reshape(-1, 3) @ Y_UP.T,
        np.arange(faces.size).reshape(-1, 3),
        vertex_normals=surface.normals[faces].reshape(-1, 3) @ Y_UP.T,
        visual=TextureVisuals(uv=up, material=material),
        process=False,
    )

    def change(tree: dict[str, Any]) -> None:
        tree["samplers"] = [{"magFilter": LINEAR, "minFilter": LINEAR, "wrapS": CLAMP, "wrapT": CLAMP}]
        tree["textures"][0]["sampler"] = 0

    return _exported(mesh, change)


def coloured(surface: Surface, look: Look) -> bytes:
    """Colours in the vertices: a smaller file, but some programs do not show them, and some show them too dark.

    They are linear, as the format wants vertices', and floats: in bytes dark ones would be steps apart.
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
    """The file's content, after what trimesh cannot say. The field holds the light of its pictures: no other is wanted."""

    def finish(tree: dict[str, Any]) -> None:
        change(tree)
        tree["materials"][0]["extensions"] = {UNLIT: {}}
        tree["extensionsUsed"] = [UNLIT]

    content: bytes = trimesh.exchange.gltf.export_glb(
        mesh.scene(), include_normals=True, tree_postprocessor=finish
    )
    return content
