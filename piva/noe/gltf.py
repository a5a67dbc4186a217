"""Binary glTF 2.0: the container, its arrays and its scene graph, flattened to triangles in a world whose z points up.

trimesh reads GLBs too, but drops what colours depend on: wrap modes, second texture coordinates, texture transforms, and the
colours of palette pictures.
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

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
SHAPES = {
    "SCALAR": (),
    "VEC2": (2,),
    "VEC3": (3,),
    "VEC4": (4,),
    "MAT2": (2, 2),
    "MAT3": (3, 3),
    "MAT4": (4, 4),
}
TRIANGLES, STRIP, FAN = 4, 5, 6
UNREADABLE = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu"}
Z_UP = np.array(
    [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float
)  # glTF's y is up and its front +z; ours is -y


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Triangles of one material, n of them, corner by corner; not shared between triangles."""

    name: str
    corners: NDArray[np.float64]  # (n, 3, 3) positions, z up
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
        """The bytes of a buffer view."""
        view = self.json["bufferViews"][index]
        if self.json["buffers"][view["buffer"]].get("uri") is not None:
            raise InputError(
                self.where,
                "a buffer outside the file",
                "a GLB that holds all its data",
                "export it as one .glb",
            )
        start = view.get("byteOffset", 0)
        data = self.binary[start : start + view["byteLength"]]
        if len(data) != view["byteLength"]:
            raise InputError(
                self.where, "an end before its data's end", "a whole GLB", "download or export it again"
            )
        return data

    def accessor(self, index: int) -> Array:
        """An array (count, ...) of numbers; normalised integers as floats in [0, 1] or [-1, 1]."""
        if index not in self._decoded:
            self._decoded[index] = self._decode(self.json["accessors"][index])
        return self._decoded[index]

    def _decode(self, about: dict[str, Any]) -> Array:
        shape = (about["count"], *SHAPES[about["type"]])
        kind = np.dtype(COMPONENTS[about["componentType"]])
        if "bufferView" in about:
            stride = self.json["bufferViews"][about["bufferView"]].get("byteStride", 0)
            values = self._numbers(about["bufferView"], about.get("byteOffset", 0), shape, kind, stride)
        else:
            values = np.zeros(shape, kind)
        if sparse := about.get("sparse"):
            values, count = values.copy(), sparse["count"]
            places = sparse["indices"]
            at = self._numbers(
                places["bufferView"],
                places.get("byteOffset", 0),
                (count,),
                np.dtype(COMPONENTS[places["componentType"]]),
            )
            values[at] = self._numbers(
                sparse["values"]["bufferView"],
                sparse["values"].get("byteOffset", 0),
                (count, *shape[1:]),
                kind,
            )
        if about.get("normalized") and kind.kind in "iu":
            return np.maximum(values / np.float32(np.iinfo(kind).max), -1).astype(np.float32)
        return values

    def _numbers(
        self, view: int, offset: int, shape: tuple[int, ...], kind: np.dtype[Any], stride: int = 0
    ) -> Array:
        data = self.view(view)
        size = int(np.prod(shape[1:], dtype=int)) * kind.itemsize
        stride = stride or size
        if shape[0] and offset + stride * (shape[0] - 1) + size > len(data):
            raise InputError(
                self.where, "an array longer than its data", "a whole GLB", "download or export it again"
            )
        rows = (
            np.ndarray((shape[0], size), np.uint8, data, offset, (stride, 1))
            if shape[0]
            else np.empty((0, size), np.uint8)
        )
        return np.ascontiguousarray(rows).view(kind).reshape(shape)


@contextmanager
def whole(where: str) -> Iterator[None]:
    """What goes wrong inside because a file is not what its format says becomes an `InputError` that names it."""
    try:
        yield
    except InputError:
        raise
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        struct.error,
        RecursionError,
        MemoryError,
    ) as error:
        raise InputError(where, f"a malformed file ({one_line(error)})", "binary glTF 2.0 (.glb)") from None


def read_glb(content: bytes, where: str) -> Document:
    """The document in a .glb file's bytes; raises `InputError`."""
    with whole(where):
        magic, version, length = struct.unpack_from("<4sII", content)
        if magic != b"glTF" or version != 2:
            raise InputError(where, "another format", "binary glTF 2.0 (.glb)", "export it as .glb")
        if length > len(content):
            raise InputError(
                where, f"{len(content)} bytes of {length}", "a whole GLB", "download or export it again"
            )
        at, chunks = 12, dict[bytes, bytes]()
        while at + 8 <= length:
            size, kind = struct.unpack_from("<I4s", content, at)
            chunks.setdefault(kind, content[at + 8 : at + 8 + size])
            at += 8 + size
        data = json.loads(chunks[b"JSON"])
        if missing := UNREADABLE & set(data.get("extensionsRequired", [])):
            raise InputError(
                where, f"the extension {sorted(missing)[0]}", "a GLB without compression", "export it without"
            )
        return Document(where, data, chunks.get(b"BIN\0", b""))


def read_patches(document: Document) -> list[Patch]:
    """The triangles of the document's scene, each node's in its place; skins in their rest pose. Raises `InputError`."""
    with whole(document.where):
        patches = [patch for patch in _patches(document) if len(patch.corners)]
    if not patches:
        raise InputError(document.where, "no triangles", "a mesh of at least one")
    if not all(np.isfinite(patch.corners).all() for patch in patches):
        raise InputError(
            document.where,
            "a vertex that is not finite",
            "finite coordinates",
            "mend the mesh and export it again",
        )
    return patches


def _patches(document: Document) -> Iterator[Patch]:
    nodes = document.json.get("nodes", [])
    places = _places(document)
    for index, place in places.items():
        if "mesh" not in nodes[index]:
            continue
        mesh = document.json["meshes"][nodes[index]["mesh"]]
        for part in mesh["primitives"]:
            matrices = (
                place[None]
                if "skin" not in nodes[index]
                else _skin(document, nodes[index]["skin"], part, places)
            )
            yield _patch(document, nodes[index].get("name") or mesh.get("name", ""), part, matrices)


def _places(document: Document) -> dict[int, NDArray[np.float64]]:
    """World matrices (4, 4) of the nodes in the scene; without a scene, of all roots."""
    nodes = document.json.get("nodes", [])
    if "scenes" in document.json:
        roots = document.json["scenes"][document.json.get("scene", 0)].get("nodes", [])
    else:
        roots = sorted(
            set(range(len(nodes))) - {child for node in nodes for child in node.get("children", [])}
        )
    places: dict[int, NDArray[np.float64]] = {}
    waiting = [(root, Z_UP) for root in roots]
    while waiting:
        index, parent = waiting.pop()
        if index in places:
            raise ValueError("a node below itself or below two others")
        places[index] = parent @ _local(nodes[index])
        waiting += [(child, places[index]) for child in nodes[index].get("children", [])]
    return places


def _local(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T  # column by column in the file
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = trimesh.transformations.quaternion_matrix((w, x, y, z))
    move = trimesh.transformations.translation_matrix(node.get("translation", (0, 0, 0)))
    return np.asarray(move @ turn @ np.diag([*node.get("scale", (1, 1, 1)), 1.0]))


def _skin(
    document: Document, index: int, part: dict[str, Any], places: dict[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """One matrix a vertex (n, 4, 4): the joints' places weighted, which replace the node's own."""
    skin = document.json["skins"][index]
    joints = np.stack([places[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        joints = joints @ document.accessor(skin["inverseBindMatrices"]).transpose(0, 2, 1)
    at, weight = (document.accessor(part["attributes"][name]) for name in ("JOINTS_0", "WEIGHTS_0"))
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-8)
    return np.asarray(np.einsum("vk,vkij->vij", weight / total, joints[at.astype(int)]))


def _patch(document: Document, name: str, part: dict[str, Any], matrices: NDArray[np.float64]) -> Patch:
    attributes = {key: document.accessor(value) for key, value in part["attributes"].items()}
    points = attributes["POSITION"].astype(np.float64)
    points = (
        np.einsum("vij,vj->vi", np.broadcast_to(matrices[:, :3, :3], (len(points), 3, 3)), points)
        + matrices[:, :3, 3]
    )
    order = (
        document.accessor(part["indices"]).astype(int).ravel()
        if "indices" in part
        else np.arange(len(points))
    )
    faces = _faces(order, part.get("mode", TRIANGLES))
    corners = points[faces]
    sets = [
        attributes[f"TEXCOORD_{i}"].astype(np.float32)[faces]
        for i in range(4)
        if f"TEXCOORD_{i}" in attributes
    ]
    colour = attributes.get("COLOR_0")
    if colour is not None:
        colour = np.pad(colour, ((0, 0), (0, 4 - colour.shape[1])), constant_values=1)
    material = document.json["materials"][part["material"]] if "material" in part else {}
    return Patch(
        name=name,
        corners=corners,
        normals=_normals(attributes.get("NORMAL"), faces, corners, matrices),
        uv=sets,
        colour=None if colour is None else colour.astype(np.float32)[faces],
        material=material,
    )


def _faces(order: NDArray[np.int_], mode: int) -> NDArray[np.int_]:
    """(n, 3) of a list, a strip or a fan; none of points and lines."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if mode == STRIP:
        return np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
    if mode == FAN:
        return np.stack([np.broadcast_to(order[0], len(order) - 2), order[1:-1], order[2:]], axis=1)
    return np.empty((0, 3), int)


def _normals(
    given: Array | None, faces: Array, corners: Array, matrices: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(n, 3, 3): the file's, turned as their vertices are; flat ones where it has none."""
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
    return np.asarray(
        vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32
    )
