"""Shards of a run: reports and piva.evaluate take all of them for the whole run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.two_edits import two_edits

from piva import compose, run
from piva.errors import InputError
from piva.evaluate import evaluate
from piva.evaluation.settings import check
from piva.report.sections import sections
from piva.runs.folder import RunFolder
from piva.runs.run import Run, find_runs

SHARDS = ("1/2", "2/2")


@pytest.fixture(scope="module")
def made(prior_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three edits in `whole`, and its two shards in `shards/`."""
    root = tmp_path_factory.mktemp("runs")
    overrides = [f"prior.path={prior_folder}", *two_edits(root / "data"), "steps=4", "measure_at=[3]"]
    benchmark = root / "data/benchmark.json"
    records = json.loads(benchmark.read_text())["records"]
    benchmark.write_text(
        json.dumps({"records": [*records, {**records[0], "id": "b", "target_prompt": "cow"}]})
    )
    run(compose(*overrides, f"hydra.run.dir={root / 'whole'}"))
    for shard in SHARDS:
        run(compose(*overrides, f"dataset.shard={shard}", f"hydra.run.dir={root / 'shards' / shard[0]}"))
    return root


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> list[Path]:
    """Copies of both shards that a test may change."""
    return [Path(shutil.copytree(made / "shards" / name, tmp_path / name)) for name in "12"]


def scored(folders: str, out: Path) -> tuple[str, dict[str, Any]]:
    """What piva.evaluate prints of these edits, and its summary without their place."""
    table = evaluate(check(compose("metrics=pixels", f"edits={folders}", name="evaluate")), out)
    return table, json.loads((out / "summary.json").read_text())


def test_a_report_of_the_shards_is_that_of_the_whole_run(made: Path) -> None:
    found = [sections(map(Run.read, find_runs([made / name]))) for name in ("whole", "shards")]
    for (section,) in found:
        assert len(section.settings) == 1
        assert len(section.edits) == 3
    (whole,), (parts,) = ([section.settings[0] for section in each] for each in found)
    rows = [
        {edit: [m.row for m in seeds.values()] for edit, seeds in s.measured.items()} for s in (whole, parts)
    ]
    assert rows[0] == rows[1]
    assert (whole.label, whole.snapshots) == (parts.label, parts.snapshots)


def test_the_shards_score_as_the_whole_run(made: Path, tmp_path: Path) -> None:
    whole = scored(str(made / "whole"), tmp_path / "whole")
    for order in ("12", "21"):
        folders = ",".join(str(made / "shards" / name) for name in order)
        assert scored(f"[{folders}]", tmp_path / order) == whole


def test_what_does_not_belong_together_is_refused(shards: list[Path], made: Path) -> None:
    first, second = shards

    def refused(*folders: Path, match: str) -> None:
        edits = ",".join(map(str, folders))
        with pytest.raises(InputError, match=match):
            check(compose("metrics=pixels", f"edits=[{edits}]", name="evaluate"))

    refused(first, match=r"the shards 1/2, wanted each of 1/2 to 2/2 once")
    refused(first, first, match=r"the shards 1/2, 1/2")
    refused(
        first, made / "whole", match=r"whole: found a run of all its edits, wanted one with dataset.shard"
    )
    refused(first, made / "data", match=r"edits: found .*data, wanted runs of piva.run with dataset.shard")
    summary, record = Run(second).summary, Run(second).record
    RunFolder(second).write_json("summary.json", summary | {"metric_networks": {"clip": "another"}})
    refused(first, second, match=r"2: found metrics by {'clip': 'another'}, wanted {} as in .*1")
    shutil.rmtree(second / "edits/a/zebra")
    (second / "summary.json").unlink()
    refused(first, second, match=r"1 of 3 missing: a/zebra, wanted a picture for every edit")
    task = record["fingerprint"]["task"] | {"lr": 0.1}
    other = record | {"fingerprint": record["fingerprint"] | {"task": task}}
    RunFolder(second).write_json("run.json", other)
    refused(first, second, match=r"2: found a run of task.lr=0.1, wanted task.lr=0.0333; as in .*1")
