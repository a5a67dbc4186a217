import csv
import json
import math
from pathlib import Path

import pytest

from piva.errors import InputError
from piva.runs.folder import RunFolder, json_safe, means, one_set_of_networks


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


def test_runs_of_different_networks_do_not_share_a_table(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("a", "b", "c", "unfinished")]
    for run, networks in zip(runs, ({"clip": "x"}, {"clip": "x"}, {"clip": "y"}), strict=False):
        RunFolder(run).write_json("summary.json", {"metric_networks": networks})
    assert one_set_of_networks([runs[0], runs[3], runs[1]]) == {"clip": "x"}
    with pytest.raises(
        InputError, match=r"c: found metrics by {'clip': 'y'}, wanted {'clip': 'x'} as in .*a"
    ):
        one_set_of_networks(runs)


def test_means_are_over_the_rows_that_have_a_value() -> None:
    rows = [
        {"id": "a", "x": 1.0, "y": math.nan},
        {"id": "b", "x": 2.0, "y": 3.0},
        {"id": "c", "y": math.nan, "z": math.nan},
    ]
    found = means(rows)
    assert (found["x"], found["y"]) == (1.5, 3.0)
    assert math.isnan(found["z"])


def test_what_json_cannot_say_is_null() -> None:
    assert json_safe({"a": float("nan"), "b": float("inf"), "c": 1.5, "d": "x"}) == {
        "a": None,
        "b": None,
        "c": 1.5,
        "d": "x",
    }
