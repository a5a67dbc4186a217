"""The container, its arrays and its scene graph, on GLBs put together by hand."""

import json
import struct

import numpy as np
import pytest
import trimesh
from helpers.glbs import changed, glb, picture, textured

from piva.errors import InputError
from piva.noe.glb import read_glb
from piva.noe.gltf import read_primitives
from piva.noe.model import read_model

SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float32)


def z_up(points):
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


class Builder:
    """Arrays in, a GLB out."""

    def __init__(self):
        self.binary, self.data = b"", {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": []}

    def view(self, array):
        content = np.ascontiguousarray(array).tobytes()
        self.data["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content)}
        )
        self.binary += content + b"\0" * (-len(content) % 4)
        return len(self.data["bufferViews"]) - 1

    def accessor(self, array, **more):
        codes = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
        kind = {1: "SCALAR", 2: {2: "VEC2", 3: "VEC3", 4: "VEC4"}.get(array.shape[-1]), 3: "MAT4"}[array.ndim]
        about = {
            "bufferView": self.view(array),
            "componentType": codes[array.dtype.name],
            "count": len(array),
            "type": kind,
        }
        self.data["accessors"].append(about | more)
        return len(self.data["accessors"]) - 1

    def glb(self, primitive, **top):
        data = {
            **self.data,
            "buffers": [{"byteLength": len(self.binary)}],
            "meshes": [{"primitives": [primitive]}],
        }
        data = {**data, "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}], "scene": 0} | top
        text = json.dumps(data).encode()
        text += b" " * (-len(text) % 4)
        chunks = (
            struct.pack("<I4s", len(text), b"JSON")
            + text
            + struct.pack("<I4s", len(self.binary), b"BIN\0")
            + self.binary
        )
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def only_primitive(content):
    (found,) = read_primitives(read_glb(content, "x.glb"))
    return found


@pytest.mark.parametrize(
    ("mode", "order", "faces"),
    [
        (4, [0, 1, 2, 0, 2, 3], [(0, 1, 2), (0, 2, 3)]),
        (5, [0, 1, 3, 2], [(0, 1, 3), (1, 3, 2)]),
        (6, [0, 1, 2, 3], [(0, 1, 2), (0, 2, 3)]),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_lists_strips_and_fans(mode, order, faces, indexed):
    builder = Builder()
    if indexed:
        part = {
            "attributes": {"POSITION": builder.accessor(SQUARE)},
            "indices": builder.accessor(np.array(order, np.uint16)),
        }
    else:
        part = {"attributes": {"POSITION": builder.accessor(SQUARE[order])}}
    found = only_primitive(builder.glb(part | {"mode": mode}))
    np.testing.assert_array_equal(found.corners, z_up(SQUARE[np.array(faces)]))
    flat = np.broadcast_to((0, 1, 0), (2, 3, 3))  # the file has no normals
    np.testing.assert_allclose(np.abs(found.normals), flat)


def test_interleaved_normalised_and_sparse_arrays():
    builder = Builder()
    rows = np.zeros(4, np.dtype([("point", "<f4", 3), ("uv", "<u2", 2)]))
    rows["point"], rows["uv"] = SQUARE, [(0, 0), (65535, 0), (65535, 65535), (0, 13107)]
    view = builder.view(rows.view(np.uint8))
    builder.data["bufferViews"][view]["byteStride"] = 16
    at, value = builder.view(np.array([3], np.uint8)), builder.view(np.array([(0, 5, 0)], np.float32))
    builder.data["accessors"] += [
        {
            "bufferView": view,
            "componentType": 5126,
            "count": 4,
            "type": "VEC3",
            "sparse": {
                "count": 1,
                "indices": {"bufferView": at, "componentType": 5121},
                "values": {"bufferView": value},
            },
        },
        {
            "bufferView": view,
            "byteOffset": 12,
            "componentType": 5123,
            "normalized": True,
            "count": 4,
            "type": "VEC2",
        },
    ]
    found = only_primitive(builder.glb({"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "mode": 6}))
    np.testing.assert_array_equal(found.corners[1], z_up(np.array([(0, 0, 0), (1, 1, 0), (0, 5, 0)])))
    np.testing.assert_allclose(found.uv[0][1], [(0, 0), (1, 1), (0, 0.2)], atol=1e-6)


def test_a_skin_rests_where_its_joints_are():
    """The mesh's node is ignored; a vertex between two joints lies between their places."""
    builder = Builder()
    joints = np.array([(0, 1, 0, 0)] * 4, np.uint8)
    weights = np.array([(1, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0.5, 0.5, 0, 0)], np.float32)
    bind = np.stack([np.eye(4, dtype=np.float32)] * 2)
    bind[1, 3, :3] = (0, -1, 0)  # column by column: the second joint was bound at y = 1
    attributes = {
        "POSITION": builder.accessor(SQUARE),
        "JOINTS_0": builder.accessor(joints),
        "WEIGHTS_0": builder.accessor(weights),
    }
    top = {
        "nodes": [
            {"mesh": 0, "skin": 0, "translation": [100, 0, 0]},
            {"translation": [0, 0, 2], "children": [2]},
            {"translation": [0, 1, 0], "scale": [3, 3, 3]},
        ],
        "scenes": [{"nodes": [0, 1]}],
        "skins": [{"joints": [1, 2], "inverseBindMatrices": builder.accessor(bind)}],
    }
    found = only_primitive(builder.glb({"attributes": attributes, "mode": 6}, **top))
    # The third vertex: (1, 1, 0) - (0, 1, 0), times 3, + (0, 1, 2). The fourth: (0, 1, 2) by both joints.
    np.testing.assert_allclose(found.corners[0], z_up(np.array([(0, 0, 2), (1, 0, 2), (3, 1, 2)])))
    np.testing.assert_allclose(found.corners[1][2], z_up(np.array((0, 1, 2))))


def test_points_and_lines_are_left_out_and_alone_refused():
    builder = Builder()
    content = builder.glb({"attributes": {"POSITION": builder.accessor(SQUARE)}, "mode": 1})
    with pytest.raises(InputError, match=r"x\.glb: found no triangles"):
        only_primitive(content)


GOOD = glb(textured(trimesh.creation.box(), np.zeros((8, 2)), picture()).scene())


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_one_line(share):
    with pytest.raises(InputError, match=r"x\.glb: found") as error:
        read_model(GOOD[: int(share * len(GOOD))], "x.glb")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"]), "the extension KHR_draco"),
        (lambda d: d["buffers"][0].update(uri="x.bin"), "a buffer outside the file"),
        (lambda d: d["bufferViews"][0].update(byteLength=10**9), "an end before its data"),
        (lambda d: d["accessors"][0].update(count=10**6), "an array longer than its data"),
        (lambda d: d.update(extensionsRequired=["ACME_new"]), "the extension ACME_new"),
        (
            lambda d: d.update(extensionsRequired=["KHR_materials_unlit", "KHR_texture_basisu"]),
            "KHR_texture_basisu",
        ),
        (lambda d: d["accessors"][0].update(componentType=7), "a malformed file"),
        (lambda d: d["accessors"][1].update(bufferView=99), "a malformed file"),
        (lambda d: d.update(nodes=[{"children": [0]}]), "a malformed file"),
        (lambda d: d.update(meshes=[]), "a malformed file"),
        (lambda d: d.update(nodes=[{}], scenes=[{"nodes": [0]}]), "no triangles"),
        (lambda d: d["images"].__setitem__(0, {"uri": "wood.png"}), "'wood.png' outside the file"),
        (
            lambda d: d["images"].__setitem__(0, {"uri": "data:image/png;base64,aGVsbG8="}),
            "an unreadable picture",
        ),
        (lambda d: d["textures"].__setitem__(0, {}), "a texture without a picture"),
        (lambda d: d.update(textures=[]), "a malformed file"),
        (lambda d: d["materials"][0].update(emissiveFactor="red"), "a malformed file"),
        (lambda d: d["images"].__setitem__(0, {"uri": "data:image/png;base64,a"}), "a malformed file"),
    ],
)
def test_each_bad_document_has_its_one_line(change, message):
    with pytest.raises(InputError, match=message) as error:
        read_model(changed(GOOD, change), "x.glb")
    assert str(error.value).startswith("x.glb: found")
    assert "\n" not in str(error.value)


def test_vertices_that_are_no_numbers_are_refused():
    mesh = trimesh.creation.box()
    mesh.vertices[3, 1] = np.nan
    with pytest.raises(InputError, match=r"x\.glb: found a vertex that is not finite"):
        read_model(glb(mesh.scene()), "x.glb")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", json.dumps({"asset": {"version": "2.0"}}).encode()])
def test_other_formats_are_named_as_such(content):
    with pytest.raises(InputError, match="x.glb: found .*wanted binary glTF"):
        read_glb(content, "x.glb")
