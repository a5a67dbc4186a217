"""Against VTK, and against numbers worked out by hand."""

import json
import struct
import zlib

import numpy as np
import pytest
import trimesh
from helpers.glbs import Z_UP, changed, coloured, glb, picture, png, textured, with_picture
from helpers.vtk_reference import Thing, draw
from PIL import Image

from piva.cameras.lens import focal_from_fov
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.noe.materials import to_linear, to_srgb
from piva.noe.model import ModelRenderer, bounds, placed, read_model

SIZE, FOV = 512, 40.0
C2W = orbit(-70, 25, 4.0)
BALL = trimesh.creation.icosphere(subdivisions=3, radius=0.8)
BOX = trimesh.creation.box((1.0, 0.8, 1.2))
BOX.unmerge_vertices()


def ours(content, c2w=C2W, supersample=1, size=SIZE):
    return ModelRenderer(read_model(content, "x.glb")).render(
        c2w, size, size, focal_from_fov(FOV, size), supersample
    )


def thing(mesh, **look):
    return Thing(mesh.vertices @ Z_UP.T, mesh.faces, mesh.vertex_normals @ Z_UP.T, **look)


def agree(content, things, lit=True):
    """Silhouettes within 3 pixels of 512^2, depth 1e-3, colours 1/255 on average."""
    mine = ours(content)
    rgb, depth = draw(things, C2W, SIZE, FOV, lit)
    both = (depth > 0) & (mine.depth > 0)
    assert both.sum() > 10_000
    assert ((depth > 0) != (mine.depth > 0)).sum() <= 3
    error = np.abs(depth - mine.depth)[both]
    assert np.quantile(error, 0.999) < 1e-3  # the rest lie on edges, where one pixel may see another face
    assert np.abs(rgb - mine.rgba[..., :3])[both].mean() < 1 / 255


def sphere_uv(mesh, u=1.7, v=2.2):
    x, y, z = mesh.vertices.T
    return np.column_stack([np.arctan2(z, x) / np.pi * u + 0.3, y * v])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "wrap"), [(10497, "Repeat"), (33648, "MirroredRepeat"), (33071, "ClampToEdge")]
)
def test_textures_tile_as_their_wrap_mode_says(code, wrap):
    def sampler(data):
        data["samplers"] = [{"wrapS": code, "wrapT": code}]
        data["textures"][0]["sampler"] = 0

    image, uv = picture(1), sphere_uv(BALL)
    agree(
        glb(textured(BALL, uv, image).scene(), sampler),
        [thing(BALL, uv=uv, texture=np.asarray(image), wrap=wrap)],
    )


@pytest.mark.slow
def test_nodes_stand_where_the_scene_graph_puts_them():
    """Two materials, turned and stretched nodes below turned nodes, one of them mirrored."""
    one, other = picture(2), picture(3)
    scene = trimesh.Scene()
    outer = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3), (0.1, 0, 0.2))
    inner = trimesh.transformations.translation_matrix((0.5, 0.2, -0.1)) @ np.diag([0.4, 0.9, 0.6, 1.0])
    mirror = np.diag([-0.7, 0.7, 0.7, 1.0]) @ trimesh.transformations.translation_matrix((1.2, 0, 0))
    scene.add_geometry(textured(BALL, sphere_uv(BALL), one), node_name="ball", transform=outer)
    box_uv = BOX.vertices[:, :2] * 2 + BOX.vertices[:, 2:]
    box = textured(BOX, box_uv, other)
    scene.add_geometry(box, node_name="box", parent_node_name="ball", transform=inner)
    scene.add_geometry(box, node_name="mirrored", transform=mirror)
    expected = []
    for mesh, matrix, image, uv in (
        (BALL, outer, one, sphere_uv(BALL)),
        (BOX, outer @ inner, other, box_uv),
        (BOX, mirror, other, box_uv),
    ):
        points = trimesh.transform_points(mesh.vertices, matrix)
        normals = mesh.vertex_normals @ np.linalg.inv(matrix[:3, :3])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        faces = mesh.faces[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else mesh.faces
        expected.append(Thing(points @ Z_UP.T, faces, normals @ Z_UP.T, uv, np.asarray(image)))
    content = glb(scene)
    names = [node.get("name") for node in json.loads(content[20 : content.index(b"BIN\0") - 4])["nodes"]]
    assert {"ball", "box", "mirrored"} <= set(names)
    agree(content, expected)


def test_srgb_and_linear_are_inverse():
    """A quarter of the light is 0.537 on the screen: 1.055 * 0.25 ** (1 / 2.4) - 0.055."""
    assert to_srgb(np.array(0.25)) == pytest.approx(0.5371, abs=1e-4)
    np.testing.assert_allclose(to_linear(to_srgb(np.linspace(0, 1, 50))), np.linspace(0, 1, 50), atol=1e-9)


@pytest.mark.slow
def test_vertex_colours_are_linear():
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (len(BOX.faces), 3), dtype=np.uint8)
    linear = np.zeros((len(BOX.vertices), 4), np.uint8)
    linear[BOX.faces] = np.concatenate([faces, np.full((len(faces), 1), 255, np.uint8)], axis=1)[:, None]
    seen = np.rint(to_srgb(linear[:, :3] / 255) * 255).astype(np.uint8)
    agree(glb(coloured(BOX, linear).scene()), [thing(BOX, colours=seen)])


def spec_gloss(data):
    base = data["materials"][0].pop("pbrMetallicRoughness")
    data["materials"][0]["extensions"] = {
        "KHR_materials_pbrSpecularGlossiness": {
            "diffuseTexture": base["baseColorTexture"],
            "diffuseFactor": [1, 0.25, 1, 1],
            "specularFactor": [0.2, 0.2, 0.2],
        }
    }


@pytest.mark.slow
def test_specular_glossiness_shows_its_diffuse_colour_and_palettes_theirs():
    image = picture(4, (4, 4)).quantize(12)
    assert image.mode == "P"
    uv = sphere_uv(BALL)
    content = with_picture(glb(textured(BALL, uv, image.convert("RGB")).scene()), png(image), spec_gloss)
    shown = np.asarray(image.convert("RGB")) / 255
    shown = np.rint(to_srgb(to_linear(shown) * (1, 0.25, 1)) * 255).astype(np.uint8)
    mine = ours(content, supersample=1)
    rgb, depth = draw([thing(BALL, uv=uv, texture=shown)], C2W, SIZE, FOV, True)
    both = (depth > 0) & (mine.depth > 0)
    # texels are blended before the factor, not after
    assert np.abs(rgb - mine.rgba[..., :3])[both].mean() < 2.5 / 255


def plane(colour, x=0.0, **material):
    """A square of side 4 that faces the camera of `look`, `x` away from the origin."""
    points = np.array([(x, y, z) for y, z in ((-2, -2), (2, -2), (2, 2), (-2, 2))])
    mesh = trimesh.Trimesh(points @ Z_UP, [(0, 1, 2), (0, 2, 3)], process=False)  # y up
    image = Image.fromarray(np.broadcast_to(np.array(colour, np.uint8), (2, 2, len(colour))).copy())
    return textured(mesh, np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float), image, **material)


def unlit(data):
    for material in data["materials"]:
        material.setdefault("extensions", {})["KHR_materials_unlit"] = {}


def look(*planes, change=unlit):
    return ours(glb(trimesh.Scene(list(planes)), change), orbit(0, 0, 4.0), 2, 8)


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("front", "colour", "alpha", "depth"),
    [
        (plane((*RED, 64), 1.0), RED, 1, 3),  # OPAQUE: alpha means nothing
        (plane((*RED, 64), 1.0, alphaMode="MASK"), BLUE, 1, 4),
        (plane((*RED, 64), 1.0, alphaMode="MASK", alphaCutoff=0.2), RED, 1, 3),
        (plane((*RED, 64), 1.0, alphaMode="BLEND"), (64, 0, 191), 1, 4),
        (plane((*RED, 191), 1.0, alphaMode="BLEND"), (191, 0, 64), 1, 3),
    ],
)
def test_alpha_modes(front, colour, alpha, depth):
    view = look(front, plane(BLUE, 0.0))
    np.testing.assert_allclose(
        view.rgba, np.broadcast_to([*np.array(colour) / 255, alpha], (8, 8, 4)), atol=1e-5
    )
    np.testing.assert_allclose(view.depth, depth, atol=1e-5)


def test_glass_alone_is_partly_there_with_its_own_colour():
    view = look(plane((*RED, 64), 1.0, alphaMode="BLEND"))
    np.testing.assert_allclose(view.rgba, np.broadcast_to([1, 0, 0, 64 / 255], (8, 8, 4)), atol=1e-5)
    assert (view.depth == 0).all()  # less than half there
    assert (view.part == -1).all()


def test_the_base_colour_factor_is_linear_and_the_light_is_the_toys():
    """0.8 is linear 0.604; times 0.25 = 0.151, sRGB 0.426. Facing +x, away from sun and sky: ambient 0.66."""

    def factor(data):
        data["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0.25, 1, 1, 1]

    view = look(plane((204, 204, 204)), change=factor)
    np.testing.assert_allclose(
        view.rgba[..., :3], np.broadcast_to(np.array([0.4262, 0.8, 0.8]) * 0.66, (8, 8, 3)), atol=1e-3
    )


def test_what_glows_is_added():
    def glow(data):
        unlit(data)
        data["materials"][0] |= {"emissiveFactor": [0, 1, 0], "emissiveTexture": {"index": 0}}

    view = look(plane((102, 51, 51)), change=glow)
    np.testing.assert_allclose(view.rgba[0, 0], np.array([0.4, 0.4, 0.2, 1]), atol=1e-5)


def test_both_sides_are_seen_each_lit_from_its_own():
    """The plane's normals point to +x; from -x the sun shines on it at cos = 0.4 / |light|."""
    content = glb(trimesh.Scene([plane((255, 255, 255), doubleSided=True)]))
    front, back = (ours(content, orbit(azimuth, 0, 4.0), 1, 8).rgba[4, 4, 0] for azimuth in (0, 180))
    assert front == pytest.approx(0.66, abs=1e-5)
    assert back == pytest.approx(0.66 + 0.44 * 0.40 / np.linalg.norm((0.40, 0.62, 0.68)), abs=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_single_sided_materials_are_not_seen_from_behind(turned):
    """The front is where the corners wind counter-clockwise, whatever the normals say."""
    front = plane(RED)
    if turned:
        front.vertex_normals = -front.vertex_normals
    content = glb(trimesh.Scene([front, plane(BLUE, -1.0, doubleSided=True)]), unlit)
    seen, behind = (ours(content, orbit(azimuth, 0, 4.0), 1, 8) for azimuth in (0, 180))
    np.testing.assert_allclose(seen.rgba[4, 4], (1, 0, 0, 1), atol=1e-5)
    np.testing.assert_allclose(behind.rgba[4, 4], (0, 0, 1, 1), atol=1e-5)
    alone = ours(glb(trimesh.Scene([front]), unlit), orbit(180, 0, 4.0), 1, 8)
    assert not alone.rgba.any()
    assert (alone.part == -1).all()


def deep_png(kind, values):
    """Return a PNG of 2 x 2 texels of 16 bits; `kind` is PNG's colour type."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0))]
    row = b"\0" + np.array([values] * 2, ">u2").tobytes()
    chunks += [(b"IDAT", zlib.compress(row * 2)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("kind", "values", "shown"),
    [
        (0, [32768], (128, 128, 128, 255)),
        (4, [32768, 16384], (128, 128, 128, 64)),
        (2, [32768, 255, 65535], (128, 0, 255, 255)),
        (6, [32768, 255, 65535, 16384], (128, 0, 255, 64)),
    ],
)
def test_textures_of_16_bits_are_scaled(kind, values, shown):
    content = with_picture(glb(plane(RED, alphaMode="BLEND").scene()), deep_png(kind, values), unlit)
    view = ours(content, orbit(0, 0, 4.0), 2, 8)
    np.testing.assert_allclose(view.rgba[4, 4], np.array(shown) / 255, atol=1e-5)


def test_pictures_of_absurd_size_are_refused_before_they_are_decoded():
    content = bytearray(deep_png(0, [0]))
    content[16:24] = struct.pack(">II", 12_000, 12_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(InputError, match=r"x\.glb: found a picture of 12000 x 12000, wanted at most"):
        read_model(with_picture(glb(plane(RED).scene()), bytes(content), unlit), "x.glb")


@pytest.mark.parametrize(
    ("transform", "mapped"),
    [
        ({"offset": [0.25, 0.5]}, lambda u, v: (u + 0.25, v + 0.5)),
        ({"scale": [2, 3]}, lambda u, v: (2 * u, 3 * v)),
        ({"rotation": np.pi / 2}, lambda u, v: (v, -u)),  # counter-clockwise with v down
        ({"rotation": np.pi / 2, "scale": [2, 3], "offset": [0.1, 0]}, lambda u, v: (3 * v + 0.1, -2 * u)),
    ],
)
def test_texture_transforms_are_those_of_the_coordinates(transform, mapped):
    def change(data):
        data["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = {
            "KHR_texture_transform": transform
        }

    uv, image = sphere_uv(BALL), picture(5)
    moved = np.column_stack(mapped(*uv.T))
    one = ours(glb(textured(BALL, uv, image).scene(), change), size=96)
    other = ours(glb(textured(BALL, moved, image).scene()), size=96)
    np.testing.assert_allclose(one.rgba, other.rgba, atol=0.01)
    plain = ours(glb(textured(BALL, uv, image).scene()), size=96)
    assert np.abs(one.rgba - plain.rgba).mean() > 0.02


def test_fine_textures_are_blurred_instead_of_flickering():
    """A chessboard of 512 x 512 fields on 16 x 16 pixels of the screen comes out grey."""
    fields = np.indices((512, 512)).sum(axis=0) % 2 * np.uint8(255)
    points = np.array([(0, y, z) for y, z in ((-2, -2), (2, -2), (2, 2), (-2, 2))]) @ Z_UP
    mesh = trimesh.Trimesh(points, [(0, 1, 2), (0, 2, 3)], process=False)
    board = textured(
        mesh,
        np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float),
        Image.fromarray(fields.astype(np.uint8)).convert("RGB"),
    )
    view = ours(glb(trimesh.Scene([board]), unlit), orbit(0, 0, 4.0), 2, 16)
    np.testing.assert_allclose(view.rgba[..., :3], 0.5, atol=0.01)


def test_supersampling_averages_pixels_with_straight_alpha():
    content = glb(textured(BALL, sphere_uv(BALL), picture(1)).scene(), unlit)
    fine, coarse = ours(content, supersample=1, size=128), ours(content, supersample=2, size=64)
    np.testing.assert_allclose(
        fine.rgba[..., 3].reshape(64, 2, 64, 2).mean(axis=(1, 3)), coarse.rgba[..., 3], atol=1e-6
    )
    edge = (coarse.rgba[..., 3] > 0) & (coarse.rgba[..., 3] < 1)
    assert edge.sum() > 20
    assert coarse.rgba[edge][:, :3].max(axis=1).min() > 0.05  # not darkened by the black around


def test_a_model_is_put_into_its_place():
    content = glb(textured(BOX, BOX.vertices[:, :2], picture(1)).scene())
    model = read_model(content, "x.glb")
    centre, longest = bounds(model)
    assert longest == pytest.approx(1.2)
    moved = placed(model, centre + 0.0, 2 / longest, 90.0)
    new_centre, new_longest = bounds(moved)
    np.testing.assert_allclose(new_centre, 0, atol=1e-9)
    assert new_longest == pytest.approx(2)
    turned = np.concatenate([primitive.corners for primitive in moved.primitives]).reshape(-1, 3)
    original = (
        (np.concatenate([primitive.corners for primitive in model.primitives]).reshape(-1, 3) - centre)
        * 2
        / longest
    )
    np.testing.assert_allclose(
        turned, np.column_stack([-original[:, 1], original[:, 0], original[:, 2]]), atol=1e-9
    )


def test_gltfs_front_is_ours():
    """glTF's +z (towards the viewer) is our -y, its +y (up) our +z."""
    mesh = trimesh.Trimesh([(0, 0, 5), (1, 0, 5), (0, 3, 5)], [(0, 1, 2)])
    (primitive,) = read_model(changed(glb(mesh.scene()), lambda _: None), "x.glb").primitives
    np.testing.assert_allclose(primitive.corners[0], [(0, -5, 0), (1, -5, 0), (0, -5, 3)])
