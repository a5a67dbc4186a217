"""Read binary glTF 2.0: the container, its arrays and its scene graph as triangles in a world with z up.

trimesh reads GLBs too, but drops what colours depend on: wrap modes, second texture coordinates, texture
transforms, and the colours of palette pictures.
"""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from piva.errors import InputError, one_line

Array = NDArray[Any]
Matrix = NDArray[np.float64]

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
SHAPES = {"SCALAR": ()} | {f"VEC{n}": (n,) for n in (2, 3, 4)} | {f"MAT{n}": (n, n) for n in (2, 3, 4)}
TRIANGLES, STRIP, FAN = 4, 5, 6
UNREADABLE = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu"}
# glTF's y is up and its front +z; ours is -y
Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
MALFORMED = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError),
    *(struct.error, RecursionError, MemoryError),
)


@dataclass(frozen=True, kw_only=True)
class Primitive:
    """n triangles of one material, corner by corner; corners are not shared between triangles."""

    name: str
    corners: Matrix  # (n, 3, 3) positions, z up
    normals: NDArray[np.float32]  # (n, 3, 3)
    uv: list[NDArray[np.float32]]  # (n, 3, 2) for each set of texture coordinates
    colour: NDArray[np.float32] | None  # (n, 3, 4), linear
    material: dict[str, Any]  # as the file has it


@dataclass(frozen=True)
class Document:
    """A GLB's JSON and its binary chunk."""

    where: str
    json: dict[str, Any]
    binary: bytes
    _decoded: dict[int, Array] = field(default_factory=dict)

    def view(self, index: int) -> bytes:
        """Return the bytes of a buffer view. Raises `InputError` if the file does not hold them."""
        view = self.json["bufferViews"][index]
        if self.json["buffers"][view["buffer"]].get("uri") is not None:
            wanted = "a GLB that holds all its data"
            raise InputError(self.where, "a buffer outside the file", wanted, "export it as one .glb")
        start = view.get("byteOffset", 0)
        data = self.binary[start : start + view["byteLength"]]
        if len(data) != view["byteLength"]:
            raise _cut_short(self.where, "an end before its data's end")
        return data

    def accessor(self, index: int) -> Array:
        """Return an array (count, ...) of numbers; normalised integers as floats in [0, 1] or [-1, 1]."""
        if index not in self._decoded:
            self._decoded[index] = self._decode(self.json["accessors"][index])
        return self._decoded[index]

    def _decode(self, about: dict[str, Any]) -> Array:
        shape = (about["count"], *SHAPES[about["type"]])
        kind = np.dtype(COMPONENTS[about["componentType"]])
        values = self._numbers(about, shape, kind) if "bufferView" in about else np.zeros(shape, kind)
        if sparse := about.get("sparse"):
            count, indices = sparse["count"], sparse["indices"]
            at = self._numbers(indices, (count,), np.dtype(COMPONENTS[indices["componentType"]]))
            values = values.copy()
            values[at] = self._numbers(sparse["values"], (count, *shape[1:]), kind)
        if about.get("normalized") and kind.kind in "iu":
            return np.maximum(values / np.float32(np.iinfo(kind).max), -1).astype(np.float32)
        return values

    def _numbers(self, about: dict[str, Any], shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
        data, offset = self.view(about["bufferView"]), about.get("byteOffset", 0)
        size = int(np.prod(shape[1:], dtype=int)) * kind.itemsize
        stride = self.json["bufferViews"][about["bufferView"]].get("byteStride", 0) or size
        if not shape[0]:
            return np.empty(shape, kind)
        if offset + stride * (shape[0] - 1) + size > len(data):
            raise _cut_short(self.where, "an array longer than its data")
        rows = np.ndarray((shape[0], size), np.uint8, data, offset, (stride, 1))
        return np.ascontiguousarray(rows).view(kind).reshape(shape)


def _cut_short(where: str, found: str) -> InputError:
    return InputError(where, found, "a whole GLB", "download or export it again")


@contextmanager
def as_input_error(where: str) -> Iterator[None]:
    """Raise an `InputError` naming `where` for what goes wrong in the block because the file is malformed."""
    try:
        yield
    except InputError:
        raise
    except MALFORMED as error:
        raise InputError(where, f"a malformed file ({one_line(error)})", "binary glTF 2.0 (.glb)") from None


def read_glb(content: bytes, where: str) -> Document:
    """Return the document in a .glb file's bytes. Raises `InputError`."""
    with as_input_error(where):
        magic, version, length = struct.unpack_from("<4sII", content)
        if magic != b"glTF" or version != 2:
            raise InputError(where, "another format", "binary glTF 2.0 (.glb)", "export it as .glb")
        if length > len(content):
            raise _cut_short(where, f"{len(content)} bytes of {length}")
        at, chunks = 12, dict[bytes, bytes]()
        while at + 8 <= length:
            size, kind = struct.unpack_from("<I4s", content, at)
            chunks.setdefault(kind, content[at + 8 : at + 8 + size])
            at += 8 + size
        data = json.loads(chunks[b"JSON"])
        if missing := UNREADABLE & set(data.get("extensionsRequired", [])):
            found = f"the extension {sorted(missing)[0]}"
            raise InputError(where, found, "a GLB without compression", "export it without")
        return Document(where, data, chunks.get(b"BIN\0", b""))


def read_primitives(document: Document) -> list[Primitive]:
    """Return the triangles of the document's scene in world space; skins in their rest pose.

    Raises `InputError` if the file is malformed, has no triangles, or a vertex that is not finite.
    """
    with as_input_error(document.where):
        primitives = [primitive for primitive in _primitives(document) if len(primitive.corners)]
    if not primitives:
        raise InputError(document.where, "no triangles", "a mesh of at least one")
    if not all(np.isfinite(primitive.corners).all() for primitive in primitives):
        remedy = "mend the mesh and export it again"
        raise InputError(document.where, "a vertex that is not finite", "finite coordinates", remedy)
    return primitives


def _primitives(document: Document) -> Iterator[Primitive]:
    nodes = document.json.get("nodes", [])
    to_world = _world_matrices(document)
    for index, matrix in to_world.items():
        node = nodes[index]
        if "mesh" not in node:
            continue
        mesh = document.json["meshes"][node["mesh"]]
        for part in mesh["primitives"]:
            matrices = _skin(document, node["skin"], part, to_world) if "skin" in node else matrix[None]
            yield _primitive(document, node.get("name") or mesh.get("name", ""), part, matrices)


def _world_matrices(document: Document) -> dict[int, Matrix]:
    """Return node-to-world matrices (4, 4) of the nodes in the scene; without a scene, of all roots."""
    nodes = document.json.get("nodes", [])
    if "scenes" in document.json:
        roots = document.json["scenes"][document.json.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = sorted(set(range(len(nodes))) - children)
    to_world: dict[int, Matrix] = {}
    waiting = [(root, Z_UP) for root in roots]
    while waiting:
        index, parent = waiting.pop()
        if index in to_world:
            raise ValueError("a node below itself or below two others")
        to_world[index] = parent @ _local(nodes[index])
        waiting += [(child, to_world[index]) for child in nodes[index].get("children", [])]
    return to_world


def _local(node: dict[str, Any]) -> Matrix:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T  # column by column in the file
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = trimesh.transformations.quaternion_matrix((w, x, y, z))
    move = trimesh.transformations.translation_matrix(node.get("translation", (0, 0, 0)))
    return np.asarray(move @ turn @ np.diag([*node.get("scale", (1, 1, 1)), 1.0]))


def _skin(document: Document, index: int, part: dict[str, Any], to_world: dict[int, Matrix]) -> Matrix:
    """Return a matrix a vertex (n, 4, 4): the weighted joints', which replace that of the mesh's own node."""
    skin = document.json["skins"][index]
    joints = np.stack([to_world[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        joints = joints @ document.accessor(skin["inverseBindMatrices"]).transpose(0, 2, 1)
    at, weight = (document.accessor(part["attributes"][name]) for name in ("JOINTS_0", "WEIGHTS_0"))
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-8)
    return np.asarray(np.einsum("vk,vkij->vij", weight / total, joints[at.astype(int)]))


def _primitive(document: Document, name: str, part: dict[str, Any], matrices: Matrix) -> Primitive:
    attributes = {key: document.accessor(value) for key, value in part["attributes"].items()}
    points = attributes["POSITION"].astype(np.float64)
    linear = np.broadcast_to(matrices[:, :3, :3], (len(points), 3, 3))
    points = np.einsum("vij,vj->vi", linear, points) + matrices[:, :3, 3]
    given = document.accessor(part["indices"]) if "indices" in part else np.arange(len(points))
    faces = _faces(given.astype(int).ravel(), part.get("mode", TRIANGLES))
    sets = [name for name in (f"TEXCOORD_{i}" for i in range(4)) if name in attributes]
    colour = attributes.get("COLOR_0")
    if colour is not None:
        colour = np.pad(colour, ((0, 0), (0, 4 - colour.shape[1])), constant_values=1)
    return Primitive(
        name=name,
        corners=points[faces],
        normals=_normals(attributes.get("NORMAL"), faces, points[faces], matrices),
        uv=[attributes[name].astype(np.float32)[faces] for name in sets],
        colour=None if colour is None else colour.astype(np.float32)[faces],
        material=document.json["materials"][part["material"]] if "material" in part else {},
    )


def _faces(order: NDArray[np.int_], mode: int) -> NDArray[np.int_]:
    """Return vertex indices (n, 3) of a list, a strip or a fan; none of points and lines."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if mode == STRIP:
        return np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
    if mode == FAN:
        return np.stack([np.broadcast_to(order[0], len(order) - 2), order[1:-1], order[2:]], axis=1)
    return np.empty((0, 3), int)


def _normals(given: Array | None, faces: Array, corners: Array, matrices: Matrix) -> NDArray[np.float32]:
    """Return (n, 3, 3): the file's normals in world space; flat ones where it has none."""
    if given is None:
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return np.repeat(_unit(flat)[:, None], 3, axis=1)
    linear = matrices[:, :3, :3]
    # The cofactors: the inverse transposed but for a factor, and defined for flattening matrices too.
    cofactors = np.stack([np.cross(linear[:, i - 2], linear[:, i - 1]) for i in range(3)], axis=1)
    cofactors *= np.sign(np.linalg.det(linear))[:, None, None] + (np.linalg.det(linear) == 0)[:, None, None]
    turned = np.einsum("vij,vj->vi", np.broadcast_to(cofactors, (len(given), 3, 3)), given.astype(np.float64))
    return _unit(turned)[faces]


def _unit(vectors: Array) -> NDArray[np.float32]:
    length = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return np.asarray(vectors / length, np.float32)
