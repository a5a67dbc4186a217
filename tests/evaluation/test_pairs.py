"""Where edited pictures are looked for, and what is refused before anything is measured."""

from pathlib import Path

import pytest
from PIL import Image

from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.evaluation.pairs import edited, views

BELOW = "1_change_object_80/1_artificial/1_animal"


def picture(path: Path, size: tuple[int, int] = (32, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(path)
    return path


@pytest.fixture
def edits(tmp_path: Path) -> list[Edit]:
    return [
        Edit(
            id=name,
            source_prompt="a",
            target_prompt="b",
            image=picture(tmp_path / f"annotation_images/{BELOW}/{name}.jpg"),
        )
        for name in ("111000000000", "111000000001")
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "edited").mkdir()
    return tmp_path / "edited"


@pytest.mark.parametrize(
    "layout",
    [
        f"annotation_images/{BELOW}/{{id}}.jpg",  # PnPInversion's
        f"annotation_images/{BELOW}/{{id}}.png",
        f"{BELOW}/{{id}}.jpg",
        "{id}.png",
        "edits/{id}/after.png",  # piva.run's
    ],
)
def test_layouts(folder: Path, edits: list[Edit], layout: str) -> None:
    paths = [picture(folder / layout.format(id=edit.id)) for edit in edits]
    pairs, missing = edited([folder], edits, skip=False)
    assert missing == []
    assert [pair.after for pair in pairs] == [[path] for path in paths]
    assert [pair.before for pair in pairs] == [[edit.image] for edit in edits]
    assert [pair.edit for pair in pairs] == edits


def test_ids_with_folders(folder: Path, tmp_path: Path) -> None:
    edit = Edit(
        id="mug/blue", source_prompt="a", target_prompt="b", image=picture(tmp_path / "scene/images/0000.png")
    )
    wanted = picture(folder / "mug/blue.png")
    assert edited([folder], [edit], skip=False)[0][0].after == [wanted]


def test_missing_pictures_are_counted_and_may_be_skipped(folder: Path, edits: list[Edit]) -> None:
    picture(folder / f"{edits[0].id}.png")
    with pytest.raises(
        InputError, match=r"edited: found 1 of 2 missing: 111000000001, wanted .*missing=skip"
    ):
        edited([folder], edits, skip=False)
    pairs, missing = edited([folder], edits, skip=True)
    assert ([pair.edit for pair in pairs], missing) == ([edits[0]], ["111000000001"])


def test_a_folder_with_none_of_them_is_refused_even_so(folder: Path, edits: list[Edit]) -> None:
    with pytest.raises(InputError, match="2 of 2 missing"):
        edited([folder], edits, skip=True)


def test_a_picture_of_another_size_is_named(folder: Path, edits: list[Edit]) -> None:
    for edit in edits:
        picture(folder / f"{edit.id}.png", (64, 64))
    with pytest.raises(
        InputError, match=r"111000000000.png: found 64x64 pixels, wanted 32x32 like 111000000000.jpg"
    ):
        edited([folder], edits, skip=False)


def test_a_strip_ends_with_the_edit(folder: Path, edits: list[Edit]) -> None:
    for edit in edits:
        picture(folder / f"{edit.id}.png", (128, 32))
    assert [pair.size for pair in edited([folder], edits, skip=False)[0]] == [(32, 32)] * 2


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_an_unreadable_picture_is_named(folder: Path, edits: list[Edit], damage: bytes | None) -> None:
    for edit in edits:
        path = picture(folder / f"{edit.id}.png")
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    with pytest.raises(InputError, match=r"111000000001.png: found an unreadable file"):
        edited([folder], edits, skip=False)


def test_a_link_out_of_the_folder_is_refused(folder: Path, edits: list[Edit], tmp_path: Path) -> None:
    secret = picture(tmp_path / "elsewhere.png")
    for edit in edits:
        (folder / f"{edit.id}.jpg").symlink_to(secret)
    with pytest.raises(InputError, match="a path inside"):
        edited([folder], edits, skip=False)


EDIT = Edit(id="x", source_prompt="a", target_prompt="b")


def test_views_are_paired_by_name(tmp_path: Path) -> None:
    names = ("r_10", "r_9", "r_1")
    before, after = tmp_path / "before", tmp_path / "after"
    for name in names:
        picture(before / f"{name}.png")
        picture(after / f"{name}.jpg")
    pair = views(EDIT, before, after)
    assert [(b.stem, a.stem) for b, a in zip(pair.before, pair.after, strict=True)] == [
        (n, n) for n in sorted(names)
    ]


@pytest.mark.parametrize(("side", "other"), [("before", "after"), ("after", "before")])
def test_views_that_one_folder_lacks_are_named(tmp_path: Path, side: str, other: str) -> None:
    for name in ("0", "1"):
        picture(tmp_path / other / f"{name}.png")
    picture(tmp_path / side / "0.png")
    with pytest.raises(InputError, match=rf"{side}=.*1 of 2 missing: 1,"):
        views(EDIT, tmp_path / "before", tmp_path / "after")


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "before/0.png")
    with pytest.raises(InputError, match="after: found no folder"):
        views(EDIT, tmp_path / "before", tmp_path / "after")
    (tmp_path / "after").mkdir()
    with pytest.raises(InputError, match="after: found no pictures"):
        views(EDIT, tmp_path / "before", tmp_path / "after")
