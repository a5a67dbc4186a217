"""Write GLBs with trimesh, and change their JSON for what trimesh does not write."""

import base64
import io
import json
import struct

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

Z_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)  # glTF's y is up


def picture(seed=0, size=(8, 8), alpha=False):
    values = np.random.default_rng(seed).integers(0, 256, (*size, 4 if alpha else 3), dtype=np.uint8)
    return Image.fromarray(values)


def textured(mesh, uv, image, **options):
    """Return the mesh with a texture; `uv` as in glTF, v down."""
    mesh = mesh.copy()
    up = np.column_stack([uv[:, 0], 1 - uv[:, 1]])
    mesh.visual = TextureVisuals(
        uv=up, material=PBRMaterial(baseColorTexture=image, metallicFactor=0, **options)
    )
    return mesh


def coloured(mesh, colours):
    """Return the mesh with vertex colours (n, 4) uint8, linear."""
    mesh = mesh.copy()
    mesh.visual = ColorVisuals(mesh, vertex_colors=colours)
    return mesh


def glb(scene, change=None):
    content = trimesh.exchange.gltf.export_glb(scene, include_normals=True)
    return content if change is None else changed(content, change)


def changed(content, change):
    """Return a GLB whose JSON went through `change(data)`."""
    size = struct.unpack_from("<I", content, 12)[0]
    data = json.loads(content[20 : 20 + size])
    change(data)
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + rest


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def with_picture(content, data_of_picture, change):
    """Return a GLB whose first picture is another file, as a data URI."""

    def both(data):
        data["images"][0] = {"uri": "data:image/png;base64," + base64.b64encode(data_of_picture).decode()}
        change(data)

    return changed(content, both)
