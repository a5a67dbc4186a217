import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from piva.datasets.images import read_rgba
from piva.datasets.noe import Noe
from piva.datasets.views import check_views, read_views
from piva.errors import InputError
from piva.nerf.cameras import focal_from_fov
from piva.toys.benchmark import FOV_DEG, cameras, ensure, placement
from piva.toys.edits import DEVELOPMENT, TEST
from piva.toys.world import bounds, renderer

SIZE = 16
MUG_CASE = next(case for case in TEST if case.name == "mug")


def make(folder):
    return ensure(folder, "test", SIZE, ("mug",), workers=1)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cache") / "noe")


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "noe")


@pytest.fixture(scope="module")
def edits(made):
    return list(Noe(root=str(made), edits="all").read())


def test_records_are_the_definition(edits, made):
    assert [edit.id for edit in edits] == ["mug/blue", "mug/ball", "mug/vase"]
    assert (edits[0].source_prompt, edits[0].target_prompt) == ("a red mug", "a blue mug")
    assert all(edit.image == made / "toys/mug/images/0100.png" for edit in edits)


def test_views_read_back_are_what_was_rendered(edits):
    check_views(edits[0].scene)
    views = read_views(edits[0].scene)
    assert (len(views.train), len(views.test)) == (100, 12)
    np.testing.assert_array_equal(views.c2w, cameras())
    assert views.fx == views.fy == focal_from_fov(FOV_DEG, SIZE)
    case = MUG_CASE
    meta = json.loads((edits[0].scene / "meta.json").read_text())
    for toy, folder in ((case.source, edits[0].scene), (case.changes[1].target, edits[1].truth)):
        picture = renderer(toy, np.array(meta["centre"]), meta["scale"]).render(views.c2w[103], SIZE, SIZE, views.fx)
        np.testing.assert_array_equal(read_rgba(folder / views.names[103]), np.rint(picture.rgba * 255))
        depth = np.asarray(Image.open(folder / "depth/0103.png"))
        assert depth.dtype == np.uint16
        np.testing.assert_allclose(depth * 1e-3, picture.depth, atol=0.51e-3)


def test_the_first_test_frame_faces_the_front():
    np.testing.assert_allclose(cameras()[100, :2, 3] / 4.031, (0, -np.cos(np.radians(15))), atol=1e-6)


def test_the_source_equals_the_truth_outside_the_mask(edits):
    views = read_views(edits[0].scene)
    for edit in edits:
        for index in views.test:
            mask = np.asarray(Image.open(edit.truth / "masks" / f"{index:04d}.png"))
            truth = read_rgba(edit.truth / views.names[index])
            assert set(np.unique(mask)) <= {0, 255}
            assert not mask.all()
            assert mask.any() or index != views.test[0]  # from behind, the mug may hide what was added
            np.testing.assert_array_equal(truth[mask == 0], views.images[index][mask == 0])
    texturing = np.asarray(Image.open(edits[0].truth / "masks/0100.png")) > 0
    np.testing.assert_array_equal(texturing, views.images[100][..., 3] > 0)  # all of the mug, nothing else


@pytest.mark.parametrize("case", TEST + DEVELOPMENT, ids=lambda case: case.name)
def test_no_view_cuts_a_toy(case):
    centre, scale = placement(case)
    toys = [case.source, *(change.target for change in case.changes)]
    assert scale <= 2 / bounds(toys)[1]
    points = np.concatenate([s.mesh.vertices for toy in toys for s in renderer(toy, centre, scale).surfaces])[::3]
    for c2w in cameras()[::3]:
        x, y, z = ((points - c2w[:3, 3]) @ c2w[:3, :3]).T
        assert max(abs(x / z).max(), abs(y / z).max()) < np.tan(np.radians(FOV_DEG / 2))


def test_generation_is_deterministic_and_needs_no_second_process(made, tmp_path):
    again = ensure(tmp_path / "noe", "test", SIZE, ("mug",), workers=2)
    assert contents(again) == contents(made)


def test_a_whole_cache_is_left_alone(copy):
    before = (copy / "manifest.json").stat().st_mtime_ns, copy.stat().st_ino
    make(copy)
    assert ((copy / "manifest.json").stat().st_mtime_ns, copy.stat().st_ino) == before


@pytest.mark.parametrize("damage", ["half-written", "no manifest", "older version", "empty"])
def test_a_damaged_cache_is_made_anew(copy, made, damage):
    manifest = copy / "manifest.json"
    if damage == "half-written":
        (copy / "toys/mug/images/0050.png").unlink()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "older version":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "fingerprint": "of another recipe"}))
    else:
        shutil.rmtree(copy)
        copy.mkdir()
    make(copy)
    assert contents(copy) == contents(made)
    assert [path.name for path in copy.parent.iterdir()] == ["noe"]  # nothing temporary stays


def test_two_processes_at_once_both_succeed(made, tmp_path):
    folder = tmp_path / "cache/noe"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(make, [folder, folder])) == [folder, folder]
    assert contents(folder) == contents(made)
    assert [path.name for path in folder.parent.iterdir()] == ["noe"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="PIVA_CACHE"):
        make(tmp_path / "file" / "noe")
