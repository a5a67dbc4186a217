"""Runs read back from their folders."""

from pathlib import Path

import pytest
from helpers.finished_runs import drawn, write_run

from piva.errors import InputError
from piva.runs.folder import RunFolder
from piva.runs.run import Run, find_runs, one_set_of_networks


def test_a_run_comes_back_with_its_types(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        {"000000000007": {"eval/clip": 0.25}},
        snapshots={2: {"000000000007": {"eval/clip": 0.5}}},
    )
    found = Run.read(run)
    assert found.rows[0]["id"] == "000000000007"
    assert found.rows[0]["eval/clip"] == 0.25
    assert found.snapshots == [{"id": "000000000007", "step": 2, "eval/clip": 0.5}]
    assert found.config["score"]["guidance_scale"] == 7.5
    assert found.edit("000000000007") == run / "edits/000000000007"


def test_an_empty_cell_is_no_value(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"a": {"x": 1.0}})
    (run / "metrics.csv").write_text('id,type,source_prompt,target_prompt,x,y\na,,"one, two",,,2\n')
    assert Run.read(run).rows == [
        {"id": "a", "type": "", "source_prompt": "one, two", "target_prompt": "", "y": 2.0}
    ]


def test_runs_are_found_once_below_any_of_the_folders(tmp_path: Path) -> None:
    one = write_run(tmp_path / "sweep/lambda=0.1,score=piva", drawn(["a"]))
    two = write_run(tmp_path / "sweep/lambda=0.4,score=piva", drawn(["a"]))
    same = write_run(tmp_path / "sweep/lambda=0.4,score=dds", drawn(["a"]))
    (same / "same_as.json").write_text("{}")
    write_run(one / "edits/hidden", drawn(["a"]))  # what lies in a run's own folders is no run
    assert list(find_runs([tmp_path, one, tmp_path / "sweep"])) == [one, two]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (
            lambda run: (run / "metrics.csv").write_text("id,x\na,1\nb,2,3\n"),
            ["metrics.csv, line 3", "do not fit"],
        ),
        (lambda run: (run / "metrics.csv").write_text("id,x\na,red\n"), ["line 2: x", "'red'", "a number"]),
        (lambda run: (run / "config.yaml").write_text("a: [1"), ["config.yaml", "what piva.run wrote"]),
        (lambda run: (run / "summary.json").write_text("{"), ["summary.json, line 1"]),
    ],
)
def test_a_torn_file_is_named(tmp_path: Path, break_it, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    run = write_run(tmp_path / "run", drawn(["a"]))
    break_it(run)
    with pytest.raises(InputError) as error:
        Run.read(run)
    for word in words:
        assert word in str(error.value)


def test_an_id_does_not_lead_out_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="path inside"):
        Run.read(write_run(tmp_path / "run", drawn(["a"]))).edit("../../secret")


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list(find_runs([tmp_path / "nowhere"]))
    with pytest.raises(InputError, match=r"no metrics\.csv"):
        list(find_runs([tmp_path]))


def test_runs_of_different_networks_do_not_share_a_table(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("a", "b", "c", "unfinished")]
    for run, networks in zip(runs, ({"clip": "x"}, {"clip": "x"}, {"clip": "y"}), strict=False):
        RunFolder(run).write_json("summary.json", {"metric_networks": networks})
    assert one_set_of_networks(Run(runs[i]) for i in (0, 3, 1)) == {"clip": "x"}
    with pytest.raises(
        InputError, match=r"c: found metrics by {'clip': 'y'}, wanted {'clip': 'x'} as in .*a"
    ):
        one_set_of_networks(map(Run, runs))


def test_steps_come_back_by_edit_without_a_torn_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn(["a", "b"]))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"edit": "b", "st')
    steps = Run(run).steps
    assert {edit: [row["step"] for row in rows] for edit, rows in steps.items()} == {
        "a": [0, 1, 2, 3],
        "b": [0, 1, 2, 3],
    }


def test_a_folder_without_files_is_an_unfinished_run(tmp_path: Path) -> None:
    run = Run.read(tmp_path)
    assert (run.config, run.summary, run.record, run.rows, run.steps, run.failures) == (
        {},
        {},
        {},
        [],
        {},
        {},
    )
    assert (run.status, run.duplicate_of) == ("unfinished", None)
