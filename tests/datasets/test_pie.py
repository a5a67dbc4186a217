import json
import logging

import numpy as np
import pytest
from PIL import Image

from piva.datasets.pie import Pie
from piva.errors import InputError
from piva.images import encode_runs

MASK = np.random.default_rng(0).random((512, 512)) < 0.3


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PIVA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "pie"
    (folder / "annotation_images/0_random_140").mkdir(parents=True)
    records = {}
    for i, mask in enumerate((encode_runs(MASK), [0, 262144], "5 3 1000 2")):
        name = f"{i:012d}"
        Image.new("RGB", (512, 512), (90, 30 * i, 10)).save(
            folder / f"annotation_images/0_random_140/{name}.jpg"
        )
        records[name] = {
            "image_path": f"0_random_140/{name}.jpg",
            "original_prompt": "a [round] cake with orange frosting",
            "editing_prompt": "a [square] cake with orange frosting [on a plate]",
            "editing_instruction": "Make the cake [square]",
            "editing_type_id": str(i),
            "blended_word": "cake cake",
            "mask": mask,
        }
    (folder / "mapping_file.json").write_text(json.dumps(records))
    return folder


ALL = list(range(10))


def read(root, edits="all", types=ALL):
    return list(Pie(root=str(root), types=types, edits=edits).read())


def change(root, **values):
    path = root / "mapping_file.json"
    records = json.loads(path.read_text())
    records["000000000000"].update(values)
    path.write_text(json.dumps(records))


def test_records(root):
    edits = read(root)
    assert [edit.id for edit in edits] == ["000000000000", "000000000001", "000000000002"]
    assert [edit.type for edit in edits] == ["random", "change object", "add object"]
    assert edits[0].source_prompt == "a round cake with orange frosting"
    assert edits[0].target_prompt == "a square cake with orange frosting on a plate"
    assert edits[0].image.is_file()
    assert edits[0].scene is None


def test_entries_of_some_types(root):
    assert [edit.id[-1] for edit in read(root, types=[2, 0])] == ["0", "2"]
    assert [edit.id[-1] for edit in read(root, 1, types=[1, 2])] == ["1"]
    assert [edit.id[-1] for edit in read(root, "2-2", types=[1, 2])] == ["2"]
    for types, message in (
        ([3], "types that .* has: 0, 1, 2"),
        ([10], "numbers from 0 to 9"),
        ([], "numbers from 0 to 9"),
    ):
        with pytest.raises(InputError, match=f"dataset.types: .*{message}"):
            read(root, types=types)


@pytest.mark.parametrize(
    "field", ["image_path", "original_prompt", "editing_prompt", "editing_type_id", "mask"]
)
def test_a_record_without_a_field_names_it(root, field):
    path = root / "mapping_file.json"
    records = json.loads(path.read_text())
    del records["000000000001"][field]
    path.write_text(json.dumps(records))
    with pytest.raises(InputError, match=rf"mapping_file.json: 000000000001: {field}: found nothing"):
        read(root)


def test_malformed_json_names_its_line(root):
    path = root / "mapping_file.json"
    path.write_text('{\n"000000000000": {"image_path": "a.jpg",,\n}')
    with pytest.raises(InputError, match=r"mapping_file\.json, line 2"):
        read(root)


def test_a_picture_of_another_size_is_refused(root):
    Image.new("RGB", (512, 500)).save(root / "annotation_images/0_random_140/000000000001.jpg")
    with pytest.raises(InputError, match=r"000000000001\.jpg: found 512x500 pixels, wanted 512x512"):
        read(root)


def test_an_id_cannot_leave_the_results(root):
    path = root / "mapping_file.json"
    path.write_text(path.read_text().replace('"000000000000":', '"../x":'))
    with pytest.raises(InputError, match="id: .*a path inside"):
        read(root)


def test_the_folder_that_the_archive_unpacks_to_is_found(root):
    root.rename(root.parent / "data")
    assert len(read(root.parent)) == 3


def test_masks_are_the_annotated_pixels_and_the_frame(root):
    edits = read(root)
    got = np.asarray(Image.open(edits[0].mask))
    expected = MASK.copy()
    expected[0] = expected[-1] = expected[:, 0] = expected[:, -1] = True
    np.testing.assert_array_equal(got, np.where(expected, 255, 0))
    assert (np.asarray(Image.open(edits[1].mask)) == 255).all()
    inner = np.asarray(Image.open(edits[2].mask))[1:-1, 1:-1]
    assert np.argwhere(inner).tolist() == [
        [0, 487],
        [0, 488],
    ]  # 1000 = 1 * 512 + 488, less the frame's column


def test_dataset_folder_is_left_alone(root):
    before = sorted(root.rglob("*"))
    assert len(read(root, 1)) == 1
    assert sorted(root.rglob("*")) == before
    assert len(list((root.parent / "cache/pie-masks").iterdir())) == 1


def test_missing_root_says_how_to_get_it(tmp_path):
    with pytest.raises(
        InputError, match=r"dataset.root: found no mapping_file.json and no \*.parquet.*form.*PnPInversion"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_path": "../../x.jpg"}, "image_path: .*a path inside"),
        ({"image_path": "0_random_140/x.jpg"}, "x.jpg: found no such file"),
        ({"original_prompt": "[ ]"}, "source prompt: found nothing"),
        ({"editing_prompt": None}, "editing_prompt: found None, wanted text"),
        ({"mask": [1]}, "mask: .*pairs"),
        ({"mask": [-1, 2]}, "mask: .*pairs"),
        ({"mask": ["a", 2]}, "mask: .*numbers"),
        ({"mask": [1.5, 2]}, "mask: .*numbers"),
        ({"editing_type_id": "10"}, "editing_type_id: found '10', wanted an editing type from 0 to 9"),
        ({"editing_type_id": 1}, "editing_type_id: found 1, wanted text"),
        ({"image_path": "/etc/passwd"}, "image_path: .*a path inside"),
        ({"image_path": "link/x.jpg"}, "image_path: .*a path inside"),
        ({"mask": None}, "mask: found None, wanted a list"),
    ],
)
def test_each_bad_record_has_its_one_line(root, values, message):
    (root / "annotation_images/link").symlink_to(root.parent, target_is_directory=True)
    change(root, **values)
    with pytest.raises(InputError, match=message) as error:
        read(root, 1)
    assert "\n" not in str(error.value)


def test_equal_prompts_are_a_warning(root, caplog):
    change(root, editing_prompt="a round cake with orange frosting")
    with caplog.at_level(logging.WARNING):
        read(root, 1)
    assert "000000000000" in caplog.text


def test_cache_that_cannot_be_written(root, monkeypatch):
    monkeypatch.setenv("PIVA_CACHE", str(root / "mapping_file.json"))
    with pytest.raises(InputError, match="PIVA_CACHE"):
        read(root, 1)


def test_truth_is_known_where_the_edited_picture_lies_beside(root):
    (root / "truth/images").mkdir(parents=True)
    Image.new("RGB", (512, 512)).save(root / "truth/images/000000000001.png")
    assert [edit.truth for edit in read(root)] == [None, root / "truth", None]
