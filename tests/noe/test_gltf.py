"""The container, its arrays and its scene graph, on GLBs put together by hand."""

import json
import struct
import tracemalloc

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
        (5, [0, 1, 3, 2], [(0, 1, 3), (1, 2, 3)]),
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
        (lambda d: d["accessors"][0].update(count=10**6), "an array (of 1000000 with|longer than its data)"),
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


def square(builder, **attributes):
    return {"attributes": {"POSITION": builder.accessor(SQUARE)} | attributes, "mode": 6}


@pytest.mark.parametrize("where", ["mesh", "node"])
def test_morph_targets_have_their_default_weights(where):
    builder = Builder()
    up, right = np.zeros((2, 4, 3), np.float32)
    up[2:, 1], right[1:3, 0] = 2, 3
    part = square(builder) | {"targets": [{"POSITION": builder.accessor(shift)} for shift in (up, right)]}
    mesh, node = {"primitives": [part]}, {"mesh": 0}
    mesh["weights"] = [1, 0.5] if where == "mesh" else [0, 0]
    if where == "node":
        node["weights"] = [1, 0.5]
    found = only_primitive(builder.glb(part, meshes=[mesh], nodes=[node]))
    np.testing.assert_allclose(
        found.corners, z_up(SQUARE + up + 0.5 * right)[np.array([(0, 1, 2), (0, 2, 3)])]
    )
    del mesh["weights"]
    found = only_primitive(builder.glb(part, meshes=[mesh]))
    np.testing.assert_allclose(found.corners[0], z_up(SQUARE)[:3])


def test_instances_are_drawn_each_in_its_place():
    """Two instances, the second turned by 180 degrees about y and twice as large, below a node at z = 5."""
    builder = Builder()
    half_turn = np.array([(0, 0, 0, 32767), (0, 32767, 0, 0)], np.int16)
    attributes = {
        "TRANSLATION": builder.accessor(np.array([(0, 0, 0), (1, 0, 0)], np.float32)),
        "ROTATION": builder.accessor(half_turn, normalized=True),
        "SCALE": builder.accessor(np.array([(1, 1, 1), (2, 2, 2)], np.float32)),
    }
    extension = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    node = {"mesh": 0, "translation": [0, 0, 5], "extensions": extension}
    content = builder.glb(square(builder), nodes=[node], extensionsRequired=list(extension))
    second = SQUARE * (-2, 2, 2) + (1, 0, 0)
    both = np.concatenate([points[[(0, 1, 2), (0, 2, 3)]] for points in (SQUARE, second)]) + (0, 0, 5)
    np.testing.assert_allclose(only_primitive(content).corners, z_up(both), atol=1e-6)


def test_mirrored_meshes_keep_their_front():
    """The square's front is +z of glTF, -y of ours, whether or not its node mirrors x."""
    builder = Builder()
    for scale in ([1, 1, 1], [-1, 1, 1]):
        found = only_primitive(builder.glb(square(builder), nodes=[{"mesh": 0, "scale": scale}]))
        wound = np.cross(found.corners[:, 1] - found.corners[:, 0], found.corners[:, 2] - found.corners[:, 0])
        np.testing.assert_allclose(wound, [(0, -1, 0)] * 2, atol=1e-9)


@pytest.mark.parametrize(
    ("colours", "more"),
    [
        (np.array([(51, 0, 255)] * 4, np.uint8), {"normalized": True}),
        (np.array([(51, 0, 255)] * 4, np.uint8), {}),  # the standard wants the word; writers forget it
        (np.array([(13107, 0, 65535, 65535)] * 4, np.uint16), {"normalized": True}),
        (np.array([(0.2, 0, 1)] * 4, np.float32), {}),
    ],
)
def test_vertex_colours_of_all_component_types(colours, more):
    builder = Builder()
    values, (rows, width) = colours, colours.shape
    padded = np.zeros((rows, 4), values.dtype)  # rows begin at multiples of four bytes
    padded[:, :width] = values
    about = {"count": rows, "type": f"VEC{width}"} | more
    index = builder.accessor(padded, **about)
    builder.data["bufferViews"][-1]["byteStride"] = padded.strides[0]
    found = only_primitive(builder.glb(square(builder, COLOR_0=index)))
    np.testing.assert_allclose(found.colour, np.broadcast_to([0.2, 0, 1, 1], (2, 3, 4)), atol=1e-6)


@pytest.mark.parametrize("name", ["POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_attributes_that_are_no_numbers_are_refused_by_name(name, number):
    builder = Builder()
    values = np.zeros((4, 2 if name == "TEXCOORD_0" else 3), np.float32)
    values[1, 1] = number
    with pytest.raises(InputError, match=rf"x\.glb: found a vertex that is not finite \({name}\)"):
        only_primitive(builder.glb(square(builder, **{name: builder.accessor(values)})))


def test_compressed_meshes_without_a_fallback_are_refused_by_name():
    builder = Builder()
    extensions = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    part = square(builder) | {"extensions": extensions}
    assert len(only_primitive(builder.glb(part)).corners) == 2  # what is there without it
    accessor = builder.data["accessors"][part["attributes"]["POSITION"]]
    del accessor["bufferView"]
    with pytest.raises(InputError, match="KHR_draco_mesh_compression"):
        only_primitive(builder.glb(part))
    builder = Builder()
    part = square(builder)
    builder.data["bufferViews"][0] |= {"buffer": 1, "extensions": {"EXT_meshopt_compression": {"buffer": 0}}}
    with pytest.raises(InputError, match="EXT_meshopt_compression"):
        only_primitive(builder.glb(part, buffers=[{"byteLength": 48}, {"byteLength": 48}]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["accessors"].append({"componentType": 5123, "count": 3 * 10**8, "type": "SCALAR"}),
            "300000000",
        ),
        (
            lambda d: d["accessors"].append({"componentType": 5123, "count": 10**30, "type": "SCALAR"}),
            "an array of 1000",
        ),
        (
            lambda d: d["accessors"].append({"componentType": 5123, "count": -3, "type": "SCALAR"}),
            "a count of -3",
        ),
        (
            lambda d: d["accessors"].append({"componentType": 5126, "count": 3, "type": "SCALAR"}),
            "indices of float32",
        ),
        (lambda d: d["bufferViews"][0].update(byteStride=4), "a byteStride of 4 for numbers of 12 bytes"),
        (lambda d: d["bufferViews"][0].update(byteStride=-12), "a byteStride of -12"),
        (lambda d: d["bufferViews"][0].update(byteOffset=-12), "a byteOffset of -12"),
        (lambda d: d["bufferViews"][0].update(byteLength=10**12), "an end before its data's end"),
        (lambda d: d["accessors"][0].update(byteOffset=-4), "a byteOffset of -4"),
        (lambda d: d.update(nodes=[{"mesh": -1}]), "a reference of -1"),
        (lambda d: d.update(scenes=[{"nodes": [0, 0]}]), "a node below itself or below two others"),
    ],
)
def test_counts_are_checked_before_anything_of_their_size_is_made(change, message):
    builder = Builder()
    part = square(builder) | {"indices": 1}
    builder.data["accessors"].append({"componentType": 5123, "count": 3, "type": "SCALAR"})

    def both(data):
        change(data)
        data["meshes"][0]["primitives"][0]["indices"] = len(data["accessors"]) - 1

    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            only_primitive(changed(builder.glb(part), both))
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()


def test_a_mesh_is_too_large_by_the_sum_of_its_instances(monkeypatch):
    monkeypatch.setattr("piva.noe.gltf.MOST", 11)
    for nodes in (2, 3):
        builder = Builder()
        top = {"nodes": [{"mesh": 0}] * nodes, "scenes": [{"nodes": [*range(nodes)]}]}
        document = read_glb(builder.glb(square(builder), **top), "x.glb")
        if nodes == 2:
            assert len(read_primitives(document)) == 2
        else:
            with pytest.raises(InputError, match="a mesh too large"):
                read_primitives(document)
