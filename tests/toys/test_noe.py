import json

import numpy as np
import pytest
from PIL import Image

from piva.cameras.lens import focal_from_fov
from piva.datasets.noe import Noe
from piva.datasets.scene import check_views, read_views
from piva.images import read_rgba
from piva.toys.edits import TEST
from piva.toys.noe import FOV_DEG, cameras, ensure
from piva.toys.world import renderer

SIZE = 16
CASE = next(case for case in TEST if case.name == "mug")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return ensure(tmp_path_factory.mktemp("cache") / "noe", "test", SIZE, ("mug",), workers=1)


@pytest.fixture(scope="module")
def edits(made):
    return list(Noe(root=str(made), edits="all").read())


def image(path):
    return np.asarray(Image.open(path))


def test_records_are_the_definition(edits, made):
    assert [edit.id for edit in edits] == [f"mug/{change.name}" for change in CASE.changes]
    for edit, change in zip(edits, CASE.changes, strict=True):
        assert (edit.source_prompt, edit.target_prompt) == (CASE.source.caption, change.target.caption)
        assert edit.type == change.type
        assert edit.image == made / "toys/mug/images/0100.png"


def test_views_read_back_are_what_was_rendered(edits):
    check_views(edits[0].scene)
    views = read_views(edits[0].scene)
    assert (len(views.train), len(views.test)) == (100, 12)
    np.testing.assert_array_equal(views.c2w, cameras())
    focal = focal_from_fov(FOV_DEG, SIZE)
    assert all(lens.fx == lens.fy == focal for lens in views.lenses)
    meta = json.loads((edits[0].scene / "meta.json").read_text())
    for toy, folder in ((CASE.source, edits[0].scene), (CASE.changes[1].target, edits[1].truth)):
        picture = renderer(toy, np.array(meta["centre"]), meta["scale"]).render(
            views.c2w[103], SIZE, SIZE, focal
        )
        np.testing.assert_array_equal(read_rgba(folder / views.names[103]), np.rint(picture.rgba * 255))
        depth = image(folder / "depth/0103.png")
        assert depth.dtype == np.uint16
        np.testing.assert_allclose(depth * 1e-3, picture.depth, atol=0.51e-3)
        names = np.array(json.loads((folder / "parts.json").read_text()))
        parts = image(folder / "parts/0103.png")
        assert parts.dtype == np.uint8
        np.testing.assert_array_equal(
            names[parts], np.array([*(part.name for part in toy.parts), ""])[picture.part]
        )


def test_the_first_test_frame_faces_the_front():
    np.testing.assert_allclose(cameras()[100, :2, 3] / 4.031, (0, -np.cos(np.radians(15))), atol=1e-6)


def test_the_source_equals_the_truth_outside_the_mask(edits):
    views = read_views(edits[0].scene)
    for edit in edits:
        for index in views.test:
            mask = image(edit.truth / f"masks/{index:04d}.png")
            truth = read_rgba(edit.truth / views.names[index])
            assert set(np.unique(mask)) <= {0, 255}
            assert not mask.all()
            assert mask.any() or index != views.test[0]  # from behind, the mug may hide what was added
            np.testing.assert_array_equal(truth[mask == 0], views.images[index][mask == 0])
    texturing = image(edits[0].truth / "masks/0100.png") > 0
    np.testing.assert_array_equal(texturing, views.images[100][..., 3] > 0)  # all of the mug, nothing else


def test_the_added_part_is_named_in_the_truths_parts(edits):
    names = json.loads((edits[1].truth / "parts.json").read_text())
    ball = image(edits[1].truth / "parts/0100.png") == names.index("ball")
    assert ball.any()
    assert (image(edits[1].truth / "masks/0100.png")[ball] == 255).all()


def test_generation_is_deterministic_and_needs_no_second_process(made, tmp_path):
    again = ensure(tmp_path / "noe", "test", SIZE, ("mug",), workers=2)
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(files) > 112 * 3 + 36 * 4
    assert all((again / file).read_bytes() == (made / file).read_bytes() for file in files)
