import json
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from piva.errors import InputError
from piva.noe.generated import ABANDONED_S, draw_all, ensure, fingerprint, save_json
from piva.toys.noe import LOOKS


def write(folder):
    """Slow enough for two processes to meet."""
    (folder / "deep/er").mkdir(parents=True)
    for i in range(20):
        (folder / f"deep/er/{i}.txt").write_text(f"{i}" * 100)
        time.sleep(0.005)
    save_json(folder / "top.json", {"a": 1})


def make(folder):
    return ensure(folder, "this recipe", write)


def contents(folder):
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cache") / "thing")


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "thing")


def test_the_manifest_names_every_file_and_its_size(made):
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["fingerprint"] == "this recipe"
    assert manifest["files"] == {
        name: len(data) for name, data in contents(made).items() if name != "manifest.json"
    }


def test_a_whole_folder_is_left_alone_and_so_are_a_users_own_files_in_it(copy):
    (copy / "notes.txt").write_text("mine")
    before = copy.stat().st_ino
    ensure(copy, "this recipe", lambda _: pytest.fail("nothing to write"))
    assert copy.stat().st_ino == before
    assert (copy / "notes.txt").exists()


def remove_file(folder):
    (folder / "deep/er/7.txt").unlink()


def truncate_file(folder):
    (folder / "deep/er/7.txt").write_text("7")


def remove_manifest(folder):
    (folder / "manifest.json").unlink()


def cut_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:100])


def foreign_manifest(folder):
    (folder / "manifest.json").write_text("[1, 2]")


def other_recipe(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("this recipe", "an older recipe"))


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        remove_file,
        truncate_file,
        remove_manifest,
        cut_manifest,
        foreign_manifest,
        other_recipe,
        empty,
        shutil.rmtree,
    ],
)
def test_a_damaged_folder_is_made_anew(copy, made, damage):
    damage(copy)
    make(copy)
    assert contents(copy) == contents(made)
    assert [path.name for path in copy.parent.iterdir()] == ["thing"]  # nothing temporary stays


def test_what_killed_runs_left_goes_when_old(copy):
    names = ("thing.1a2b3c4d.tmp", "thing.5e6f7a8b.tmp", "thing-dev.1a2b3c4d.tmp")
    fresh, old, foreign = (copy.with_name(name) for name in names)
    for folder in (fresh, old, foreign):
        write(folder)
    for folder in (old, foreign):
        os.utime(folder, (0, time.time() - ABANDONED_S - 60))
    make(copy)
    assert (fresh.exists(), old.exists(), foreign.exists()) == (True, False, True)


def test_two_processes_at_once_both_succeed(made, tmp_path):
    folder = tmp_path / "cache/thing"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(make, [folder, folder])) == [folder, folder]
    assert contents(folder) == contents(made)
    assert [path.name for path in folder.parent.iterdir()] == ["thing"]


def one_line(folder, error):
    text = str(error.value)
    assert text.startswith(f"{folder}: found ")
    assert "wanted a folder that can be written to; set PIVA_CACHE" in text
    assert "\n" not in text


def test_a_cache_below_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as error:
        make(tmp_path / "file" / "thing")
    one_line(tmp_path / "file" / "thing", error)


def test_a_read_only_cache_is_one_line_unless_all_is_there(copy, monkeypatch):
    def denied(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    # permissions do not bind the superuser, whom tests may run as
    for operation in ("mkdir", "rename", "write_text"):
        monkeypatch.setattr(Path, operation, denied)
    assert make(copy) == copy
    with pytest.raises(InputError, match="found Permission denied") as error:
        make(copy.with_name("other"))
    one_line(copy.with_name("other"), error)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def full(folder):
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="found No space left on device") as error:
        ensure(tmp_path / "thing", "this recipe", full)
    one_line(tmp_path / "thing", error)
    assert list(tmp_path.iterdir()) == []


def test_the_fingerprint_depends_on_the_request_and_the_sources():
    assert fingerprint(LOOKS, 1, "test") == fingerprint(LOOKS, 1, "test")
    others = (fingerprint(LOOKS, 2, "test"), fingerprint(LOOKS[1:], 1, "test"))
    assert len({fingerprint(LOOKS, 1, "test"), *others}) == 3


def square(number):
    return number * number, os.getpid()


def test_results_keep_the_order_of_the_jobs():
    alone, together = (draw_all(square, range(6), workers, "squares") for workers in (1, 2))
    assert [value for value, _ in alone] == [value for value, _ in together] == [0, 1, 4, 9, 16, 25]
    assert {process for _, process in alone} == {os.getpid()}
    assert os.getpid() not in {process for _, process in together}
