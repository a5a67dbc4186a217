import pytest

from piva.errors import InputError
from piva.files import as_number, get, inside, read_json, read_text


def test_syntax_error_names_its_line_and_column(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{\n "a": 1,\n "b": \n}')
    with pytest.raises(InputError, match=r"a\.json, line 4, column 1: found Expecting value"):
        read_json(path)


@pytest.mark.parametrize(("text", "message"), [("[1]", "an object"), ("[" * 100_000, "JSON"), ("", "line 1")])
def test_other_malformed_json(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_json(path)


def test_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="UTF-8"):
        read_text(path)
    with pytest.raises(InputError, match="no such file"):
        read_text(tmp_path / "b.txt")


def test_keys_are_named():
    with pytest.raises(InputError, match="file: a: found nothing, wanted text"):
        get({}, "a", str, "file")
    with pytest.raises(InputError, match="file: a: found 3, wanted text"):
        get({"a": 3}, "a", str, "file")
    with pytest.raises(InputError, match="file: a: found True"):
        get({"a": True}, "a", int, "file")
    for bad in (True, "1", None, float("nan")):
        with pytest.raises(InputError, match="a finite number"):
            as_number(bad, "x")


def test_paths_cannot_leave_their_root(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    assert inside(root, "sub/a.png", "x") == root / "sub" / "a.png"
    for name in ("../secret", "sub/../../secret", str(tmp_path / "secret"), "link", "up/secret", "a\0b"):
        with pytest.raises(InputError, match="a path inside"):
            inside(root, name, "x")
