"""Read binary glTF 2.0: its scene graph as triangles in a world with z up.

trimesh reads GLBs too, but drops what colours depend on: wrap modes, second texture coordinates, texture
transforms, and the colours of palette pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from piva.errors import InputError
from piva.noe.glb import Array, Document, as_input_error

Matrix = NDArray[np.float64]

TRIANGLES, STRIP, FAN = 4, 5, 6
# glTF's y is up and its front +z; ours is -y
Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)


@dataclass(frozen=True, kw_only=True)
class Primitive:
    """n triangles of one material, corner by corner; corners are not shared between triangles."""

    name: str
    corners: Matrix  # (n, 3, 3) positions, z up
    normals: NDArray[np.float32]  # (n, 3, 3)
    uv: list[NDArray[np.float32]]  # (n, 3, 2) for each set of texture coordinates
    colour: NDArray[np.float32] | None  # (n, 3, 4), linear
    material: dict[str, Any]  # as the file has it


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
