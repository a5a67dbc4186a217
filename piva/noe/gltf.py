"""Read binary glTF 2.0: its scene graph as triangles in a world with z up.

trimesh reads GLBs too, but drops what colours depend on: wrap modes, second texture coordinates, texture
transforms, and the colours of palette pictures.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from piva.errors import InputError
from piva.noe.glb import DRACO, Array, Document, as_input_error, unreadable

Matrix = NDArray[np.float64]

TRIANGLES, STRIP, FAN = 4, 5, 6
MOST = 20_000_000  # triangles, and corners in the file: some 5 GB
MOST_PRIMITIVES = 2**15 - 1  # their indices have 16 bits
MOST_INSTANCES = 2**17  # of a mesh
INSTANCING = "EXT_mesh_gpu_instancing"
USED = re.compile(r"POSITION|NORMAL|COLOR_0|(TEXCOORD|JOINTS|WEIGHTS)_[0-3]")
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
    """Return the triangles of the document's scene in world space.

    Skins are in their rest pose, morph targets at their default weights. A mesh's triangles wind
    counter-clockwise as seen from their front, mirrored ones too.

    Raises `InputError` if the file is malformed, compressed or too large, has no triangles, or a vertex that
    is not finite.
    """
    with as_input_error(document.where):
        primitives = [primitive for primitive in _primitives(document) if len(primitive.corners)]
    if not primitives:
        raise InputError(document.where, "no triangles", "a mesh of at least one")
    if not all(np.isfinite(primitive.corners).all() for primitive in primitives):
        raise _not_finite(document.where, "where its node puts it")
    return primitives


def _too_large(where: str) -> InputError:
    wanted = f"at most {MOST} triangles in {MOST_PRIMITIVES} primitives"
    return InputError(where, "a mesh too large", wanted, "simplify it")


def _not_finite(where: str, which: str) -> InputError:
    found, wanted = f"a vertex that is not finite ({which})", "finite coordinates"
    return InputError(where, found, wanted, "mend the mesh and export it again")


def _primitives(document: Document) -> Iterator[Primitive]:
    to_world = _world_matrices(document)
    size, count = 0, 0
    for index, matrix in to_world.items():
        node = document.item("nodes", index)
        if "mesh" not in node:
            continue
        mesh = document.item("meshes", node["mesh"])
        name, weights = node.get("name") or mesh.get("name", ""), node.get("weights", mesh.get("weights", []))
        for part in mesh["primitives"]:
            attributes = _attributes(document, part, weights)
            faces = _faces(_order(document, part, len(attributes["POSITION"])), part.get("mode", TRIANGLES))
            places = matrix @ _instances(document, node)
            size += len(places) * max(len(faces), len(attributes["POSITION"]))
            count += 1
            if size > MOST or count > MOST_PRIMITIVES:
                raise _too_large(document.where)
            if "skin" in node:
                places = _skin(document, node["skin"], attributes, to_world)
            elif len(places) > 1:
                attributes, faces, places = _copied(attributes, faces, places)
            yield _primitive(document, name, part, attributes, faces, places)


def _attributes(document: Document, part: dict[str, Any], weights: list[float]) -> dict[str, Array]:
    """Return a primitive's arrays, all of one length, morphed by its targets' default weights."""
    given = part["attributes"]
    if compressed := {DRACO} & set(part.get("extensions", {})):
        arrays = [*given.values(), *([part["indices"]] if "indices" in part else [])]
        if not arrays or any("bufferView" not in document.item("accessors", array) for array in arrays):
            raise unreadable(document.where, compressed.pop())
    out = {name: document.accessor(index) for name, index in given.items() if USED.fullmatch(name)}
    for weight, target in zip(weights, part.get("targets", []), strict=True) if any(weights) else ():
        for name in target.keys() & out.keys():
            out[name] = _comparable(name, out[name]) + weight * document.accessor(target[name])
    for name, values in out.items():
        if len(values) != len(out["POSITION"]):
            raise ValueError(f"{len(values)} of {name} for {len(out['POSITION'])} vertices")
        if not np.isfinite(values).all():
            raise _not_finite(document.where, name)
    return out


def _comparable(name: str, values: Array) -> Array:
    """Return colours in [0, 1] where the file forgot that its integers are such; else the values."""
    if name.startswith("COLOR") and values.dtype.kind == "u":
        return values / np.float32(np.iinfo(values.dtype).max)
    return values


def _order(document: Document, part: dict[str, Any], count: int) -> NDArray[np.int_]:
    if "indices" not in part:
        return np.arange(count)
    order = document.accessor(part["indices"])
    if order.dtype.kind != "u" or order.ndim != 1:
        raise ValueError(f"indices of {order.dtype}")
    return order.astype(int)


def _instances(document: Document, node: dict[str, Any]) -> Matrix:
    """Return matrices (n, 4, 4) below the node's, one for each time that its mesh is drawn."""
    if INSTANCING not in node.get("extensions", {}):
        return np.eye(4)[None]
    given = node["extensions"][INSTANCING]["attributes"]
    place = {name: document.accessor(index) for name, index in given.items()}
    count = len(next(iter(place.values())))
    if count > MOST_INSTANCES:
        raise ValueError(f"{count} instances of a mesh, more than {MOST_INSTANCES}")
    out = np.tile(np.eye(4), (count, 1, 1))
    if "ROTATION" in place:
        out[:, :3, :3] = Rotation.from_quat(place["ROTATION"]).as_matrix()
    out[:, :3, :3] *= place.get("SCALE", np.ones((count, 3)))[:, None]
    out[:, :3, 3] = place.get("TRANSLATION", np.zeros((count, 3)))
    return out


def _copied(
    attributes: dict[str, Array], faces: Array, places: Matrix
) -> tuple[dict[str, Array], Array, Matrix]:
    """Return the arrays and faces once for each place, and a matrix a vertex."""
    copies, count = len(places), len(attributes["POSITION"])
    arrays = {name: np.tile(values, (copies, 1)) for name, values in attributes.items()}
    faces = (faces + count * np.arange(copies)[:, None, None]).reshape(-1, 3)
    return arrays, faces, np.repeat(places, count, axis=0)


def _world_matrices(document: Document) -> dict[int, Matrix]:
    """Return node-to-world matrices (4, 4) of the nodes in the scene; without a scene, of all roots."""
    nodes = document.json.get("nodes", [])
    if "scenes" in document.json:
        roots = document.item("scenes", document.json.get("scene", 0)).get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = sorted(set(range(len(nodes))) - children)
    to_world: dict[int, Matrix] = {}
    waiting = [(root, Z_UP) for root in roots]
    while waiting:
        index, parent = waiting.pop()
        if index in to_world:
            raise ValueError("a node below itself or below two others")
        node = document.item("nodes", index)
        to_world[index] = parent @ _local(node)
        waiting += [(child, to_world[index]) for child in node.get("children", [])]
    return to_world


def _local(node: dict[str, Any]) -> Matrix:
    given = [node.get(key, 0) for key in ("matrix", "rotation", "translation", "scale")]
    if not all(np.isfinite(np.array(values, float)).all() for values in given):
        raise ValueError("a node at a place that is not finite")
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T  # column by column in the file
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = trimesh.transformations.quaternion_matrix((w, x, y, z))
    move = trimesh.transformations.translation_matrix(node.get("translation", (0, 0, 0)))
    return np.asarray(move @ turn @ np.diag([*node.get("scale", (1, 1, 1)), 1.0]))


def _skin(
    document: Document, index: int, attributes: dict[str, Array], to_world: dict[int, Matrix]
) -> Matrix:
    """Return a matrix a vertex (n, 4, 4): the weighted joints', which replace that of the mesh's own node."""
    skin = document.item("skins", index)
    joints = np.stack([to_world[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        joints = joints @ document.accessor(skin["inverseBindMatrices"]).transpose(0, 2, 1)
    sets = [f"_{i}" for i in range(4) if f"JOINTS_{i}" in attributes]  # four joints each
    at, weight = (
        np.concatenate([attributes[name + i] for i in sets], axis=1) for name in ("JOINTS", "WEIGHTS")
    )
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-8)
    places = np.zeros((len(at), 4, 4))
    for k in range(at.shape[1]):  # at once, they would take gigabytes
        places += weight[:, k, None, None] * joints[at[:, k].astype(int)]
    return places


def _primitive(
    document: Document,
    name: str,
    part: dict[str, Any],
    attributes: dict[str, Array],
    faces: Array,
    places: Matrix,
) -> Primitive:
    points = attributes["POSITION"].astype(np.float64)
    linear = np.broadcast_to(places[:, :3, :3], (len(points), 3, 3))
    points = np.einsum("vij,vj->vi", linear, points) + places[:, :3, 3]
    mirrored = np.broadcast_to(np.linalg.det(places[:, :3, :3]) < 0, len(points))[faces[:, 0]]
    faces = np.where(mirrored[:, None], faces[:, ::-1], faces)
    sets = [name for name in (f"TEXCOORD_{i}" for i in range(4)) if name in attributes]
    colour = attributes.get("COLOR_0")
    if colour is not None:
        colour = _comparable("COLOR_0", colour)
        colour = np.pad(colour, ((0, 0), (0, 4 - colour.shape[1])), constant_values=1)
    return Primitive(
        name=name,
        corners=points[faces],
        normals=_normals(attributes.get("NORMAL"), faces, points[faces], places),
        uv=[attributes[name].astype(np.float32)[faces] for name in sets],
        colour=None if colour is None else colour.astype(np.float32)[faces],
        material=document.item("materials", part["material"]) if "material" in part else {},
    )


def _faces(order: NDArray[np.int_], mode: int) -> NDArray[np.int_]:
    """Return vertex indices (n, 3) of a list, a strip or a fan; none of points and lines."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if mode == STRIP:
        faces = np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
        faces[1::2] = faces[1::2][:, [0, 2, 1]]  # all wind alike
        return faces
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
