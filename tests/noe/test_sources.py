import gzip
import json
import zipfile

import pytest

from piva.errors import InputError
from piva.noe.sources import about, list_sources, noncommercial


def write_gz(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(data).encode()))


@pytest.fixture
def cache(tmp_path):
    """As the package objaverse leaves it: three listed, two downloaded, one of them annotated."""
    root = tmp_path / "hf-objaverse-v1"
    write_gz(
        root / "object-paths.json.gz",
        {uid: f"glbs/000-00{i}/{uid}.glb" for i, uid in enumerate(("aaa", "bbb", "ccc"))},
    )
    for i, uid in enumerate(("aaa", "bbb")):
        (root / f"glbs/000-00{i}").mkdir(parents=True)
        (root / f"glbs/000-00{i}/{uid}.glb").write_bytes(uid.encode())
    write_gz(
        root / "metadata/000-000.json.gz",
        {"aaa": {"name": "Pot", "license": "by", "user": {"username": "ann"}}},
    )
    return root


@pytest.mark.parametrize("below", ["", "hf-objaverse-v1"])
def test_an_objaverse_cache(cache, below):
    first, second = list_sources(cache.parent / below, "all")
    assert (first.uid, first.read(), second.uid) == ("aaa", b"aaa", "bbb")
    assert about(first.annotation(), {}) == {"name": "Pot", "licence": "by", "author": "ann", "origin": ""}
    assert second.annotation() == {}
    assert [source.uid for source in list_sources(cache, ["bbb", "aaa"])] == ["bbb", "aaa"]
    assert [source.uid for source in list_sources(cache, "bbb")] == ["bbb"]
    assert [source.uid for source in list_sources(cache, 1)] == ["aaa"]


def test_what_a_cache_lacks_is_named(cache):
    with pytest.raises(InputError, match=r"objects: found no file .*glbs/000-002/ccc\.glb"):
        list_sources(cache, ["ccc"])
    with pytest.raises(InputError, match="objects: found 'ddd', wanted a uid that .*object-paths"):
        list_sources(cache, ["ddd"])
    write_gz(cache / "object-paths.json.gz", {"ccc": "../../ccc.glb"})
    with pytest.raises(InputError, match="ccc: found '../../ccc.glb', wanted a path inside"):
        list_sources(cache, ["ccc"])


@pytest.mark.parametrize("name", ["object-paths.json.gz", "metadata/000-000.json.gz"])
def test_truncated_tables_are_one_line(cache, name):
    path = cache / name
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"json\.gz: found an unreadable file") as error:
        list_sources(cache, ["aaa"])[0].annotation()
    assert "\n" not in str(error.value)


def test_folders_files_and_archives(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.glb").write_bytes(b"B")
    (tmp_path / "deep/a.glb").write_bytes(b"A")
    assert [(source.uid, source.read()) for source in list_sources(tmp_path, "all")] == [
        ("b", b"B"),
        ("a", b"A"),
    ]
    assert [source.uid for source in list_sources(tmp_path, ["a"])] == ["a"]
    assert list_sources(tmp_path / "b.glb", "all")[0].read() == b"B"
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "deep/a.glb", "x/a.glb")
        archive.writestr("x/readme.txt", "no object")
    (source,) = list_sources(tmp_path / "all.zip", "all")
    assert (source.uid, source.read(), source.annotation()) == ("a", b"A", {})


def test_a_truncated_archive_is_one_line(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.glb", b"0123456789" * 100)
    whole = path.read_bytes()
    for share in (0.0, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"all\.zip: found an unreadable archive") as error:
            list_sources(path, "all")
        assert "\n" not in str(error.value)
    damaged = bytearray(whole)
    damaged[45] ^= 0xFF  # in the compressed bytes
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"all\.zip: found an unreadable archive"):
        list_sources(path, "all")[0].read()


def test_bad_places_are_one_line(tmp_path):
    with pytest.raises(InputError, match="source: found nothing to read at .*nowhere"):
        list_sources(tmp_path / "nowhere", "all")
    with pytest.raises(InputError, match=r"source: found no \.glb in"):
        list_sources(tmp_path, "all")
    for name in ("a.glb", "deep/a.glb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="objects: found the id 'a' twice"):
        list_sources(tmp_path, "all")
    (tmp_path / "deep/a.glb").rename(tmp_path / "deep/..glb")
    with pytest.raises(InputError, match="found the name '.'"):
        list_sources(tmp_path, "all")


def test_what_a_glb_says_of_itself():
    asset = {
        "copyright": "2020 Bo",
        "extras": {"title": "Pot", "author": "Ann", "license": "CC-BY-4.0", "source": "https://x"},
    }
    assert about({}, asset) == {"name": "Pot", "licence": "CC-BY-4.0", "author": "Ann", "origin": "https://x"}
    assert about({"license": "by-nc"}, asset)["licence"] == "by-nc"
    assert about({}, {"copyright": "2020 Bo"})["licence"] == "2020 Bo"
    assert about({}, {"extras": [1]})["licence"] == ""


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("by", False),
        ("cc0", False),
        ("", False),
        ("CC-BY-4.0 (http://creativecommons.org/licenses/by/4.0/)", False),
        ("by-nc", True),
        ("by-nc-sa", True),
        ("CC-BY-NC-4.0 (http://creativecommons.org/licenses/by-nc/4.0/)", True),
        ("Creative Commons Attribution-NonCommercial", True),
    ],
)
def test_licences_for_noncommercial_use(licence, expected):
    assert noncommercial(licence) is expected


def test_suffixes_count_in_any_case(tmp_path):
    (tmp_path / "glbs").mkdir()
    mug = tmp_path / "glbs/Mug.GLB"
    mug.write_bytes(b"mug")
    with zipfile.ZipFile(tmp_path / "all.ZIP", "w") as archive:
        archive.write(mug, "in/Mug.Glb")
    for place in (mug.parent, mug, tmp_path / "all.ZIP"):
        (source,) = list_sources(place, "all")
        assert (source.uid, source.read()) == ("Mug", b"mug")


def test_what_a_zip_would_unpack_to_is_bounded(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mug.glb", bytes(1001))
    (source,) = list_sources(tmp_path / "all.zip", "all")
    monkeypatch.setattr("piva.noe.sources.LARGEST", 1000)
    with pytest.raises(InputError, match=r"all\.zip: mug\.glb: found 1001 bytes, wanted at most 1000"):
        source.read()
