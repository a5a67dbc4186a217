import io

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from piva.datasets.pie import Pie
from piva.errors import InputError
from piva.images import read_rgb


def jpeg(grey, size=(512, 512)):
    file = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(file, "JPEG")
    return file.getvalue()


def row(number, **changes):
    return {
        "id": f"{number:012d}",
        "image": {"bytes": jpeg(number % 200), "path": f"{number:012d}.jpg"},
        "source_prompt": "a cat on a [wooden] chair",
        "target_prompt": "a [dog] on a [metal] chair",
        "edit_action": "{}",
        "aspect_mapping": "{}",
        "blended_words": '["cat,dog"]',
        "mask": "515 3",
        **changes,
    }


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


@pytest.fixture
def root(tmp_path):
    """Laid out as the data set is on its hub."""
    folder = tmp_path / "PIE_Bench_pp"
    table(folder / "0_random_140/V1-00000-of-00001.parquet", row(7), row(8))
    table(folder / "9_change_style_80/V1-00000-of-00001.parquet", row(911))
    return folder


def read(root, edits="all", types=range(10)):
    return list(Pie(root=str(root), types=list(types), edits=edits).read())


def test_entries(root):
    edits = read(root)
    assert [edit.id for edit in edits] == ["000000000007", "000000000008", "000000000911"]
    assert [edit.type for edit in edits] == ["random", "random", "change style"]
    assert (edits[0].source_prompt, edits[0].target_prompt) == (
        "a cat on a wooden chair",
        "a dog on a metal chair",
    )
    for edit, grey in zip(edits, (7, 8, 111), strict=True):
        np.testing.assert_allclose(read_rgb(edit.image), grey / 255, atol=0.01)
        inner = np.asarray(Image.open(edit.mask))[1:-1, 1:-1]
        assert np.argwhere(inner).tolist() == [
            [0, 2],
            [0, 3],
            [0, 4],
        ]  # 515 = 512 + 3, less the frame's column


def test_some_entries(root):
    assert [edit.id for edit in read(root, types=[9])] == ["000000000911"]
    assert [edit.id for edit in read(root, "2-3")] == ["000000000008", "000000000911"]


def test_a_truncated_file_is_one_line(root):
    path = root / "9_change_style_80/V1-00000-of-00001.parquet"
    whole = path.read_bytes()
    for share in (0.0, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(
            InputError, match=r"V1-00000-of-00001\.parquet: found an unreadable file"
        ) as error:
            read(root)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": "515"}, "mask: .*pairs"),
        ({"image": {"bytes": None, "path": "x.jpg"}}, "image: found no bytes"),
        ({"image": {"bytes": b"no picture", "path": "x.jpg"}}, "not an image format"),
        ({"image": {"bytes": jpeg(3, (256, 512)), "path": "x.jpg"}}, "256x512 pixels, wanted 512x512"),
        ({"target_prompt": None}, "editing_prompt: found None, wanted text"),
        ({"id": "../x"}, "id: .*a path inside"),
    ],
)
def test_each_bad_row_has_its_one_line(root, changes, message):
    table(root / "9_change_style_80/V1-00000-of-00001.parquet", row(911, **changes))
    with pytest.raises(InputError, match=message) as error:
        read(root)
    assert "\n" not in str(error.value)


def test_a_missing_column_and_an_unknown_type_are_named(root):
    rows = [{key: value for key, value in row(911).items() if key != "mask"}]
    table(root / "9_change_style_80/V1-00000-of-00001.parquet", *rows)
    with pytest.raises(InputError, match=r"parquet: mask: found nothing"):
        read(root)
    (root / "9_change_style_80").rename(root / "other")
    table(root / "other/V1-00000-of-00001.parquet", row(911))
    with pytest.raises(InputError, match="an editing type from 0 to 9"):
        read(root)
