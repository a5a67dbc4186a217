import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from piva.datasets.in2n import In2n
from piva.datasets.scene import check_views, read_views
from piva.noe.mesh import MeshRenderer, Surface
from piva.toys.edits import DEVELOPMENT
from piva.toys.in2n import cameras, ensure, lens

WIDTH = 64
CASE = next(case for case in DEVELOPMENT if case.name == "robot")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return ensure(tmp_path_factory.mktemp("cache") / "in2n", "development", WIDTH, workers=1)


@pytest.fixture(scope="module")
def scene(made):
    return made / "robot"


def image(path):
    return np.asarray(Image.open(path))


def project(camera, c2w, point):
    """OpenCV's model, written out: pixel (u, v) of a world point by one frame of transforms.json."""
    rotation, position = c2w[:3, :3], c2w[:3, 3]
    x, y, z = rotation.T @ (point - position)
    x, y = x / -z, -y / -z  # OpenGL's axes to OpenCV's
    r2 = x**2 + y**2
    radial = 1 + camera["k1"] * r2 + camera["k2"] * r2**2
    u = x * radial + 2 * camera["p1"] * x * y + camera["p2"] * (r2 + 2 * x**2)
    v = y * radial + camera["p1"] * (r2 + 2 * y**2) + 2 * camera["p2"] * x * y
    return np.array([camera["fl_x"] * u + camera["cx"], camera["fl_y"] * v + camera["cy"]])


@pytest.mark.parametrize("frame", [3, 41, 66, 85])
def test_a_ball_is_seen_where_opencvs_formula_puts_it(scene, frame):
    """The file's poses, lens and world, against what the renderer shows in the room."""
    camera = json.loads((scene / "transforms.json").read_text())
    for key in ("fl_x", "fl_y", "cx", "cy"):
        camera[key] *= 256 / WIDTH
    world = np.array(json.loads((scene / "meta.json").read_text())["room_to_world"])
    c2w = np.array(camera["frames"][frame]["transform_matrix"])
    inward = cameras("robot")[frame]
    for right, up in ((0, 0), (1.35, 0.9), (-1.4, 0.85), (1.3, -1.0), (-1.3, -0.9)):  # also near corners
        centre = inward[:3, :3] @ (right, up, -2.7) + inward[:3, 3]
        ball = trimesh.creation.icosphere(3, 0.04).apply_translation(centre)
        caster = MeshRenderer([Surface("ball", ball, lambda points: np.ones_like(points), smooth=True)])
        alpha = caster.render_lens(inward, lens(256), supersample=4).rgba[..., 3]
        seen = [
            (alpha.sum(axis=axis) * (np.arange(alpha.shape[1 - axis]) + 0.5)).sum() / alpha.sum()
            for axis in (0, 1)
        ]
        expected = project(camera, c2w, world[:3, :3] @ centre + world[:3, 3])
        assert np.abs(seen - expected).max() < 0.3
        pinhole = camera | dict.fromkeys(("k1", "k2", "p1", "p2"), 0)
        undistorted = project(pinhole, c2w, world[:3, :3] @ centre + world[:3, 3])
        assert (
            right == 0 or np.abs(undistorted - expected).max() > 2
        )  # enough distortion for the test to tell


def test_the_reader_finds_toys_their_lens_and_their_truths(made):
    settings = {"downscale": None, "orientation": None, "centre": "poses", "auto_scale": True, "near": 0.1}
    edits = list(In2n(root=str(made), edits="all", **settings).read())
    assert [edit.id for edit in edits] == [f"robot/{change.name}" for change in CASE.changes]
    assert len({edit.scene for edit in edits}) == 1
    check_views(edits[0].scene, edits[0].capture)
    views = read_views(edits[0].scene, edits[0].capture)
    assert views.images.shape == (92, WIDTH * 3 // 4, WIDTH, 4)
    assert (len(views.train), len(views.test)) == (80, 12)
    assert views.names[80] == "images/frame_00081.jpg"
    assert set(views.lenses) == {lens(WIDTH)}
    assert all((edits[0].truth / "images" / f"frame_{i + 1:05d}.png").is_file() for i in views.test)


def test_the_reader_undoes_the_captures_world_but_for_a_turn(made):
    """What it makes of the arbitrary world is the room again: upright, the same shape."""
    settings = {"downscale": None, "orientation": "up", "centre": "poses", "auto_scale": True, "near": 0.1}
    (edit, *_) = In2n(root=str(made), edits=1, **settings).read()
    got, room = read_views(edit.scene, edit.capture).c2w[:, :3, 3].astype(float), cameras("robot")[:, :3, 3]
    room = room - room.mean(axis=0)
    scale = np.linalg.norm(got) / np.linalg.norm(room)
    assert np.abs(got).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(got[:, 2], scale * room[:, 2], atol=0.03)  # hand-held cameras tilt a little
    np.testing.assert_allclose(got @ got.T, scale**2 * room @ room.T, atol=1e-4)


def test_the_world_is_not_normalised(scene):
    data = json.loads((scene / "transforms.json").read_text())
    positions = np.array([frame["transform_matrix"] for frame in data["frames"]])[:, :3, 3]
    assert np.linalg.norm(positions.mean(axis=0)) > 0.2
    assert not np.isclose(np.abs(positions).max(), 1, atol=0.02)


def test_downscaled_folders_hold_the_same_frames(scene):
    full = sorted(path.name for path in (scene / "images").iterdir())
    assert len(full) == 92
    for factor in (2, 4):
        assert sorted(path.name for path in (scene / f"images_{factor}").iterdir()) == full
        with Image.open(scene / f"images_{factor}/{full[5]}") as small:
            assert (small.format, small.size) == ("JPEG", (WIDTH // factor, WIDTH * 3 // 4 // factor))


def test_records_name_truths_with_exact_masks(made, scene):
    records = json.loads((made / "edits.json").read_text())["records"]
    assert [record["type"] for record in records] == ["texturing", "addition", "translation"]
    for record, change in zip(records, CASE.changes, strict=True):
        assert (record["source_prompt"], record["target_prompt"]) == (
            CASE.source.caption,
            change.target.caption,
        )
        assert (made / record["path"] / "transforms.json").is_file()
        shares = []
        for frame in range(81, 93):
            name = f"frame_{frame:05d}"
            mask = image(made / record["truth"] / f"masks/{name}.png") > 0
            error = np.abs(
                image(scene / f"images/{name}.jpg").astype(float)
                - image(made / record["truth"] / f"images/{name}.png")
            )
            assert error[~mask].mean() < 5  # of 255: JPEG
            shares.append(mask.mean())
        assert min(shares) > 0.004
        assert max(shares) < 0.6


def test_generation_is_deterministic_and_needs_no_second_process(made, tmp_path):
    again = ensure(tmp_path / "in2n", "development", WIDTH, workers=2)
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(files) > 3 * 92
    assert all((again / file).read_bytes() == (made / file).read_bytes() for file in files)
