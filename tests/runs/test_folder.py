import csv
import json
import math
from pathlib import Path

import pytest

from piva.errors import InputError, WriteError
from piva.runs.folder import EditRecord, RunFolder, is_locked, json_safe, lock


def test_an_edit_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RuntimeError), folder.edit("mug/blue") as place:
        (place / "after.png").write_text("half")
        raise RuntimeError
    assert not (tmp_path / "run/edits/mug/blue").exists()
    with folder.edit("mug/blue") as place:
        (place / "after.png").write_text("whole")
    assert (tmp_path / "run/edits/mug/blue/after.png").read_text() == "whole"
    assert [p.name for p in (tmp_path / "run/edits/mug").iterdir()] == ["blue"]


def test_a_failed_write_keeps_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("summary.json", {"a": 1})

    def full(self: Path, text: str) -> None:
        self.open("w").write(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        folder.write_json("summary.json", {"a": 2})
    monkeypatch.undo()
    assert json.loads((tmp_path / "summary.json").read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_rows_of_different_columns_make_one_table(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_rows("metrics.csv", [{"id": "a", "x": 1.0}, {"id": "b, c", "y": 2.0}])
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {"id": "a", "x": "1.0", "y": ""},
            {"id": "b, c", "x": "", "y": "2.0"},
        ]


def test_what_json_cannot_say_is_null_or_a_word() -> None:
    assert json_safe({"a": float("nan"), "b": float("inf"), "c": 1.5, "d": "x"}) == {
        "a": None,
        "b": "inf",
        "c": 1.5,
        "d": "x",
    }


def test_a_record_comes_back_with_its_nan(tmp_path: Path) -> None:
    record = EditRecord(
        row={"id": "a", "type": "", "source_prompt": "x", "target_prompt": "y", "x": math.nan, "y": 1.5},
        snapshots=[{"id": "a", "step": 1, "x": math.nan}],
        seconds={},
        passes={},
    )
    record.write(tmp_path)
    assert repr(EditRecord.read(tmp_path)) == repr(record)
    assert EditRecord.read(tmp_path / "elsewhere") is None
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(InputError, match="result.json, line 1"):
        EditRecord.read(tmp_path)


def test_of_two_writers_the_second_is_refused_and_a_full_disk_is_named(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "run")
    with lock(tmp_path / "run"):
        assert is_locked(tmp_path / "run")
        with (
            pytest.raises(InputError, match="run: found a run that is at work there"),
            lock(tmp_path / "run"),
        ):
            pass
    assert not is_locked(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file/run: found Not a directory"), lock(tmp_path / "file/run"):
        pass


def test_a_record_of_another_edit_is_refused(tmp_path: Path) -> None:
    row = {"id": "a/dog", "type": "", "source_prompt": "", "target_prompt": ""}
    with RunFolder(tmp_path).edit("a/cat") as place:
        EditRecord(row=row, snapshots=[], seconds={}, passes={}, diverged="").write(place)
    with pytest.raises(InputError, match="found the edit a/dog, wanted a/cat"):
        RunFolder(tmp_path).record("a/cat")


def test_steps_after_a_damaged_line_are_not_lost(tmp_path: Path) -> None:
    """A killed run tears the last line alone."""
    lines = [json.dumps({"edit": "a", "step": step}) + "\n" for step in range(3)]
    log = tmp_path / "metrics.jsonl"
    log.write_text(lines[0] + lines[1] + lines[2][:5])
    RunFolder(tmp_path).keep_steps({"a": 9})
    assert log.read_text() == lines[0] + lines[1]
    log.write_text(damaged := lines[0] + lines[1][:5] + "\n" + lines[2])
    with pytest.raises(InputError, match="metrics.jsonl, line 2: found no JSON"):
        RunFolder(tmp_path).keep_steps({"a": 9})
    assert log.read_text() == damaged
