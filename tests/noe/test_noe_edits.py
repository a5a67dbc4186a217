import json

import pytest

from piva.errors import InputError
from piva.noe.edits import PAPER, as_records, check_edit, read_edits

GOOD = {"source_prompt": "a red mug", "target_prompt": "a blue mug", "type": "texturing"}


def test_a_good_edit_keeps_its_fields():
    assert check_edit(GOOD | {"more": 1}, "x") == GOOD | {"instruction": ""}
    assert check_edit(GOOD | {"instruction": " Paint it blue "}, "x")["instruction"] == "Paint it blue"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_prompt": ""}, "source_prompt: found 0 words, wanted 1 to 20"),
        ({"target_prompt": "a " * 21}, "target_prompt: found 21 words"),
        ({"target_prompt": "a red mug "}, "target_prompt: found the source prompt again"),
        ({"target_prompt": 3}, "target_prompt: found 3, wanted text"),
        ({"type": "colour"}, "type: found 'colour', wanted one of texturing, addition, translation"),
        ({"instruction": ["x"]}, "instruction: found"),
    ],
)
def test_each_bad_edit_has_its_one_line(changes, message):
    with pytest.raises(InputError, match=message):
        check_edit(GOOD | changes, "x")


def test_the_papers_eleven_pairs():
    edits = read_edits(PAPER)
    assert sum(map(len, edits.values())) == 11
    assert len(edits) == 7
    kinds = [edit["type"] for listed in edits.values() for edit in listed]
    assert {kind: kinds.count(kind) for kind in kinds} == {"texturing": 2, "addition": 6, "translation": 3}
    box = edits["objaverse_synthetic/e114ab027906482abe7daa04eef60e95"]
    assert box[2]["target_prompt"] == "Herb garden box"
    assert {edit["origin"] for edit in box} == {"paper, Table 4"}
    assert "nerf_synthetic/hotdog" in edits


def test_files_written_by_hand(tmp_path):
    path = tmp_path / "edits.json"
    path.write_text(
        json.dumps({"records": [{"path": "mug", **GOOD}, {"path": "nerf_synthetic/lego", **GOOD}]})
    )
    edits = read_edits(path)
    assert list(edits) == ["objaverse_synthetic/mug", "nerf_synthetic/lego"]
    assert edits["objaverse_synthetic/mug"] == [GOOD | {"instruction": "", "origin": "hand"}]
    path.write_text(json.dumps({"records": [GOOD]}))
    with pytest.raises(InputError, match=r"records\[0\]: path: found nothing"):
        read_edits(path)


def test_records_have_ids_of_their_own():
    edits = [GOOD | {"instruction": "", "origin": "hand"}] * 2 + [
        GOOD | {"instruction": "", "origin": "hand", "type": "addition"}
    ]
    records = as_records("objaverse_synthetic/mug", edits)
    assert [record["id"] for record in records] == ["mug/texturing", "mug/texturing-2", "mug/addition"]
    assert {record["path"] for record in records} == {"objaverse_synthetic/mug"}
