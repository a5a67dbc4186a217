import pytest
from helpers.scenes import edit_json, nerfstudio, write

from piva.datasets.in2n import PAPER, In2n
from piva.errors import InputError


def reader(root, edits="all", **changes):
    settings = {
        "downscale": None,
        "orientation": None,
        "centre": "poses",
        "auto_scale": True,
        "near": 0.1,
        **changes,
    }
    return In2n(root=str(root), edits=edits, **settings)


@pytest.fixture
def root(tmp_path):
    """Where the paper's two scenes lie, bent as captures are."""
    for name in ("face", "bear"):
        nerfstudio(tmp_path / name, k1=0.01, p1=-0.002)
    return tmp_path


def test_the_papers_twelve_edits_need_no_file_of_the_users(root):
    edits = list(reader(root).read())
    assert [edit.scene.name for edit in edits] == ["face"] * 9 + ["bear"] * 3
    assert len({edit.id for edit in edits}) == len({edit.target_prompt for edit in edits}) == 12
    assert {edit.source_prompt for edit in edits} == {"a photo of a man", "a photo of a bear statue"}
    panda = edits[-1]
    assert (panda.id, panda.target_prompt) == ("bear/panda", "a photo of a panda")
    assert panda.image == root / "bear/images/0004.png"
    assert (panda.capture.scale, panda.capture.near, panda.truth) == (True, 0.1, None)
    assert PAPER.is_file()


def test_only_the_chosen_scenes_must_be_there(tmp_path):
    nerfstudio(tmp_path / "bear")
    assert [edit.id for edit in reader(tmp_path, ["bear/polar", "bear/grizzly"]).read()] == [
        "bear/polar",
        "bear/grizzly",
    ]
    with pytest.raises(InputError, match="face: found no such folder"):
        reader(tmp_path).read()


def test_a_file_of_the_users_own_comes_first(root):
    record = {"id": "mine", "path": "bear", "source_prompt": "a", "target_prompt": "b"}
    write(root / "edits.json", {"records": [record]})
    (edit,) = reader(root).read()
    assert (edit.id, edit.scene) == ("mine", root / "bear")
    edit_json(root / "edits.json", lambda data: data["records"][0].update(path="../bear"))
    with pytest.raises(InputError, match=r"edits\.json: mine: path: .*a path inside"):
        reader(root).read()


def test_a_root_that_is_not_there():
    with pytest.raises(
        InputError, match=r"dataset.root: found no folder nowhere.*docs/in2n\.md.*dataset\.root=toys"
    ):
        reader("nowhere").read()
