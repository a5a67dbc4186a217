"""Shards of a run, and the run made of them."""

import json
from pathlib import Path

import pytest
from helpers.two_edits import assert_equal_runs, two_edits

from piva import compose, run
from piva.errors import InputError
from piva.runs.merge import merge


@pytest.fixture
def words(prior_folder: Path, tmp_path: Path) -> list[str]:
    return [f"prior.path={prior_folder}", *two_edits(tmp_path / "data"), "steps=8"]


def shard(words: list[str], folder: Path, part: str, *more: str) -> Path:
    return run(compose(*words, f"dataset.shard={part}", *more, f"hydra.run.dir={folder}")).folder


def test_merged_shards_are_the_whole_run(words: list[str], tmp_path: Path) -> None:
    records = json.loads((tmp_path / "data/benchmark.json").read_text())["records"]
    third = {**records[0], "id": "b", "target_prompt": "cow"}
    (tmp_path / "data/benchmark.json").write_text(json.dumps({"records": [*records, third]}))
    shards = [shard(words, tmp_path / f"shard{i}", f"{i}/2") for i in (1, 2)]
    whole = run(compose(*words, f"hydra.run.dir={tmp_path / 'whole'}"))
    assert len(whole.rows) == 3
    out = merge(tmp_path / "merged", shards[::-1])
    assert_equal_runs(tmp_path / "whole", out)
    assert (
        run(compose(*words, f"hydra.run.dir={out}")).summary == whole.summary
    )  # which finds nothing left to do
    with pytest.raises(InputError, match="something there already"):
        merge(out, shards)


def test_what_does_not_belong_together_is_refused(words: list[str], tmp_path: Path) -> None:
    first = shard(words, tmp_path / "first", "1/2")
    with pytest.raises(InputError, match=r"the shards 1/2, wanted each of 1/2 to 2/2 once"):
        merge(tmp_path / "out", [first])
    with pytest.raises(InputError, match=r"the shards 1/2, 1/2"):
        merge(tmp_path / "out", [first, first])
    other = shard(words, tmp_path / "other", "2/2", "task.lr=0.1")
    with pytest.raises(
        InputError, match=r"other: found a run of task.lr=0.1, wanted task.lr=0.0333; as in .*first"
    ):
        merge(tmp_path / "out", [first, other])
    second = shard(words, tmp_path / "second", "2/2")
    (second / "summary.json").unlink()
    with pytest.raises(InputError, match=r"second: found a run that is not finished \(unfinished\)"):
        merge(tmp_path / "out", [first, second])
    assert not (tmp_path / "out").exists()
