import json

import numpy as np
import pytest
from PIL import Image

from piva.datasets.pie import Pie
from piva.images import decode_runs
from piva.toys.pie import ensure
from piva.toys.pie_entries import entries

SIZE = 32
FIELDS = [
    *("image_path", "original_prompt", "editing_prompt", "editing_instruction"),
    *("editing_type_id", "blended_word", "mask"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return ensure(tmp_path_factory.mktemp("cache") / "pie", "development", SIZE, workers=1)


@pytest.fixture(scope="module")
def records(made):
    return json.loads((made / "mapping_file.json").read_text())


def image(path):
    return np.asarray(Image.open(path))


def test_the_mapping_file_is_pies(records, made):
    assert list(records) == [entry.id for entry in entries("development")]
    for name, record in records.items():
        assert list(record) == FIELDS
        assert record["image_path"].endswith(f"/{name}.jpg")
        assert record["editing_type_id"] == name[0]
        assert "[" in record["original_prompt"] + record["editing_prompt"]
        with Image.open(made / "annotation_images" / record["image_path"]) as photo:
            assert (photo.format, photo.size, photo.mode) == ("JPEG", (SIZE, SIZE), "RGB")


def test_the_ordinary_reader_reads_it(made):
    edits = list(Pie(root=str(made), types=list(range(10)), edits="all").read())
    for edit, entry in zip(edits, entries("development"), strict=True):
        assert (edit.source_prompt, edit.target_prompt) == (
            entry.pair.source.caption,
            entry.pair.target.caption,
        )
        assert edit.truth == made / "truth"
        assert (edit.truth / "images" / f"{edit.image.stem}.png").is_file()
        assert (edit.truth / "masks" / f"{edit.image.stem}.png").is_file()
    assert {edit.type for edit in edits[:7]} >= {
        "change object",
        "add object",
        "delete object",
        "change background",
    }


def test_the_mask_is_where_the_truth_differs(made, records):
    for name, record in records.items():
        mask = image(made / f"truth/masks/{name}.png") > 0
        np.testing.assert_array_equal(decode_runs(record["mask"], SIZE, SIZE), mask)
        assert 0.005 < mask.mean() < 0.7
        source, truth = (
            image(made / "annotation_images" / record["image_path"]),
            image(made / f"truth/images/{name}.png"),
        )
        error = np.abs(source.astype(float) - truth)
        assert error[~mask].mean() < 4  # of 255: the source is a JPEG, and the truth is not
        assert error[mask].mean() > 3 * error[~mask].mean()


def test_backgrounds_are_white_or_pale(made, records):
    corners = [image(made / f"truth/images/{name}.png")[0, 0] for name in records]
    assert 0.5 < np.mean([(corner == 255).all() for corner in corners]) < 0.95
    assert all((corner >= 140).all() for corner in corners)


def test_generation_is_deterministic_and_needs_no_second_process(made, tmp_path):
    again = ensure(tmp_path / "pie", "development", SIZE, workers=2)
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(files) == 2 + 3 * 44
    assert all((again / file).read_bytes() == (made / file).read_bytes() for file in files)
