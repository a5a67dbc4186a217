"""From GLBs to what `dataset=noe` reads."""

import dataclasses
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.chat_server import edits_for, good, serving
from helpers.command import call
from helpers.glbs import Z_UP, changed, glb, picture, textured
from helpers.scenes import synthetic
from PIL import Image

from piva.cameras.lens import focal_from_fov
from piva.config import build, check, compose
from piva.datasets.noe import Noe
from piva.datasets.scene import check_views, read_views
from piva.errors import InputError
from piva.noe.__main__ import build_noe, main
from piva.noe.model import ModelRenderer, placed, read_model
from piva.noe.settings import BuildNoe
from piva.noe.views import cameras

BOX = trimesh.creation.box((3, 1, 0.5))
BOX.unmerge_vertices()
BOX.apply_translation((7, 8, 9))
MUG = glb(textured(BOX, BOX.vertices[:, :2], picture(1)).scene())
EDITS = edits_for("mug")


def licensed(content, licence):
    return changed(
        content,
        lambda data: data["asset"].update(extras={"title": "Mug", "license": licence, "author": "Ann"}),
    )


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "glbs"
    folder.mkdir()
    (folder / "mug.glb").write_bytes(licensed(MUG, "CC-BY-NC-4.0"))
    (folder / "cup.glb").write_bytes(MUG)
    (tmp_path / "edits.json").write_text(json.dumps({"records": [*EDITS, EDITS[0] | {"path": "cup"}]}))
    return folder


@cache
def small():
    words = ["source=glbs", "prompts=paper", "size=24", "views=6", "test_views=2", "workers=1"]
    return build(BuildNoe, compose(*words, name="build_noe"))


def settings(sources, **changes):
    paths = {"source": sources, "prompts": sources.parent / "edits.json", "out": sources.parent / "noe"}
    return dataclasses.replace(small(), **{key: str(path) for key, path in paths.items()} | changes)


def files(folder):
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def test_the_ordinary_reader_reads_it(sources):
    out = build_noe(settings(sources))
    edits = list(Noe(root=str(out), edits="all").read())
    ids = [edit.id for edit in edits]
    assert ids == ["cup/texturing", "mug/texturing", "mug/addition", "mug/translation"]
    assert (edits[2].source_prompt, edits[2].target_prompt) == ("a red mug", "a red mug with a spoon")
    assert (edits[2].type, edits[2].truth) == ("addition", None)
    for edit in edits:
        check_views(edit.scene)
        assert edit.image == edit.scene / "images/0006.png"  # the front
    checked = check(compose("task=nerf", f"dataset.root={out}", "dataset.edits=all", "prior.force=true"))
    assert [edit.id for edit in checked.edits] == ids
    meta = json.loads((edits[1].scene / "meta.json").read_text())
    assert (meta["name"], meta["licence"], meta["author"]) == ("Mug", "CC-BY-NC-4.0", "Ann")


def test_the_views_are_the_objects(sources):
    chosen = settings(sources, objects=["mug"], front_deg=90.0)
    scene = build_noe(chosen) / "objaverse_synthetic/mug"
    views = read_views(scene)
    assert (len(views.train), len(views.test)) == (6, 2)
    np.testing.assert_array_equal(views.c2w, cameras(chosen))
    assert (views.c2w[:6, 2, 3] > 0).all()  # the upper hemisphere
    meta = json.loads((scene / "meta.json").read_text())
    np.testing.assert_allclose(meta["centre"], (7, -9, 8))  # z up
    assert meta["scale"] == pytest.approx(2 / 3)
    model = placed(read_model(MUG, "mug"), np.array(meta["centre"]), 2 / 3, -90.0)
    drawn = ModelRenderer(model).render(views.c2w[7], 24, 24, focal_from_fov(39.6, 24))
    np.testing.assert_array_equal(views.images[7], np.rint(drawn.rgba * 255))
    depth = np.asarray(Image.open(scene / "depth/0007.png"))
    assert depth.dtype == np.uint16
    np.testing.assert_allclose(depth * 1e-3, drawn.depth, atol=0.51e-3)


def test_the_front_is_turned_to_the_first_test_view(sources, tmp_path):
    """A red face at glTF's +x is seen from the right unless `front_deg` says that it is the front."""
    box = trimesh.creation.box()
    box.unmerge_vertices()
    red = box.face_normals[:, 0] > 0.5
    colours = np.full((len(box.vertices), 4), 255, np.uint8)
    colours[box.faces[red].ravel()] = (255, 0, 0, 255)
    box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=colours)
    (sources / "mug.glb").write_bytes(glb(box.scene()))
    shares = []
    for front in (0.0, 90.0):
        changes = {"front_deg": front, "out": str(tmp_path / str(front)), "elevation_deg": 0.0}
        out = build_noe(settings(sources, objects=["mug"], **changes))
        front_view = np.asarray(Image.open(out / "objaverse_synthetic/mug/images/0006.png")).astype(int)
        shares.append(((front_view[..., 0] - front_view[..., 1] > 100) & (front_view[..., 3] == 255)).sum())
    assert shares[0] == 0
    assert shares[1] > 50
    assert Z_UP[1, 2] == -1


def test_what_is_finished_is_kept_and_what_is_damaged_is_drawn_anew(sources):
    out = build_noe(settings(sources))
    before = files(out)
    (out / "objaverse_synthetic/cup/images/0003.png").unlink()
    leftover = out / "objaverse_synthetic/mug.0a1b2c3d.tmp"  # of a run that was killed
    leftover.mkdir()
    build_noe(settings(sources))
    after = files(out)
    assert set(after) == set(before)
    assert all(after[path] == before[path] for path in before if "mug" in path.parts)
    assert len(list(Noe(root=str(out), edits="all").read())) == 4
    build_noe(settings(sources, size=16))
    assert read_views(out / "objaverse_synthetic/mug").images.shape[1] == 16


def test_a_second_build_adds_to_the_benchmark(sources):
    build_noe(settings(sources, objects=["cup"]))
    out = build_noe(settings(sources, objects=["mug"]))
    assert len(list(Noe(root=str(out), edits="all").read())) == 4


def test_noncommercial_licences_can_be_left_out(sources):
    out = build_noe(settings(sources, noncommercial=False))
    assert [edit.id for edit in Noe(root=str(out), edits="all").read()] == ["cup/texturing"]


def test_a_bad_object_is_named_and_the_others_are_built(sources):
    (sources / "mug.glb").write_bytes(MUG[:-100])
    words = [f"source={sources}", f"prompts={sources.parent / 'edits.json'}", f"out={sources.parent / 'noe'}"]
    done = call(main, "piva.noe", *words, "size=16", "views=3", "test_views=1", "workers=1")
    assert done.returncode == 1, done.stderr
    expected = r"1 of 2 objects cannot be used and the others are built; the first: .*mug\.glb: found"
    assert re.search(expected, done.stderr.splitlines()[-1])
    (edit,) = Noe(root=str(sources.parent / "noe"), edits="all").read()
    assert edit.id == "cup/texturing"
    with pytest.raises(InputError, match=r"mug\.glb: found \d+ bytes of"):
        build_noe(settings(sources, objects=["mug"]))


def test_an_untouched_nerf_synthetic_scene_gets_the_papers_edit(sources):
    out = Path(settings(sources).out)
    scene = synthetic(out / "nerf_synthetic/hotdog")
    before = files(scene)
    build_noe(settings(sources, prompts="paper"))
    (edit,) = Noe(root=str(out), edits="all").read()
    assert (edit.id, edit.target_prompt) == ("hotdog/addition", "a plate of hot dogs and french fries")
    assert edit.image == scene / "test/r_0.png"
    assert files(scene) == before


def test_a_language_model_names_the_edits_once(sources):
    with serving(good) as endpoint:
        chosen = settings(sources, prompts="ask", url=endpoint.url, model="some-model")
        out = build_noe(chosen)
        build_noe(chosen)
    assert len(endpoint.requests) == 2  # one for each object
    records = json.loads((out / "benchmark.json").read_text())["records"]
    assert [record["id"] for record in records[:3]] == ["cup/texturing", "cup/addition", "cup/translation"]
    assert {record["origin"] for record in records} == {"llm:some-model"}
    kept = json.loads((out / "prompts/objaverse_synthetic/cup.json").read_text())
    assert json.loads(kept["replies"][-1]) == edits_for("objaverse_synthetic/cup")


def test_an_object_without_a_usable_reply_is_skipped_and_asked_again_the_next_time(sources, caplog):
    def stubborn(request):
        cup = "cup" in request["messages"][1]["content"][0]["text"]
        return (200, "A fine cup!") if cup else good(request)

    with serving(stubborn) as endpoint:
        chosen = settings(sources, prompts="ask", url=endpoint.url, model="some-model", attempts=2)
        out = build_noe(chosen)
    ids = [edit.id for edit in Noe(root=str(out), edits="all").read()]
    assert ids == ["mug/texturing", "mug/addition", "mug/translation"]
    assert "objaverse_synthetic/cup: the reply for objaverse_synthetic/cup: found no JSON" in caplog.text
    refused = json.loads((out / "prompts/objaverse_synthetic/cup.refused.json").read_text())
    assert refused["replies"] == ["A fine cup!"] * 2
    with serving(good) as endpoint:
        build_noe(settings(sources, prompts="ask", url=endpoint.url, model="some-model"))
    assert len(endpoint.requests) == 1
    assert len(list(Noe(root=str(out), edits="all").read())) == 6


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["source=glbs"], "prompts: found no value"),
        (
            ["source=glbs", "prompts=paper", "sise=9"],
            "sise: found no such key, wanted a key of the configuration; did you mean size",
        ),
        (["source=glbs", "prompts=paper"], "glbs/cup.glb: found a vertex that is not finite"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words, expected):
    Path("glbs").mkdir()
    mesh = BOX.copy()
    mesh.vertices[3] = np.nan
    Path("glbs/cup.glb").write_bytes(glb(mesh.scene()))
    done = call(main, "piva.noe", *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert not list(Path().glob("noe/**/*.*"))
    assert not list(Path().glob("*.log"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": "nowhere"}, "source: found nothing to read at nowhere"),
        ({"prompts": "nowhere.json"}, "nowhere.json: found no such file"),
        ({"prompts": "paper"}, "prompts: found no edits of these objects"),
        ({"prompts": "ask"}, "url: found nothing, .*PIVA_CHAT_URL"),
        ({"prompts": "ask", "url": "localhost:80", "model": "m"}, "url: found 'localhost:80'"),
        ({"prompts": "ask", "url": "http://127.0.0.1/v1"}, "model: found nothing, .*PIVA_CHAT_MODEL"),
        ({"distance": 70.0}, "distance: found 70, wanted depths below 65"),
        ({"objects": ["jug"]}, "objects: found 'jug'"),
        ({"out": "glbs.txt"}, "glbs.txt.*: found Not a directory"),
    ],
)
def test_each_bad_setting_has_its_one_line(sources, changes, expected):
    Path("glbs.txt").write_text("")
    (sources / "mug.glb").unlink()
    with pytest.raises(InputError, match=expected) as error:
        build_noe(settings(sources, **changes))
    assert "\n" not in str(error.value)


def test_the_command_builds_what_the_other_command_reads(sources):
    small = ["size=16", "views=3", "test_views=1", "workers=1"]
    words = [f"source={sources}", f"prompts={sources.parent / 'edits.json'}", "objects=[mug]", "out=made"]
    done = call(main, "piva.noe", *words, *small)
    assert done.returncode == 0, done.stderr
    assert "dataset=noe dataset.root=made" in done.stdout
    assert len(list(Noe(root="made", edits="all").read())) == 3
