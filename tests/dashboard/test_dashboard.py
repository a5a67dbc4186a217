"""The workspace as JSON, and what the command answers to bad words."""

import json
from pathlib import Path
from typing import Any

import pytest
import wandb_workspaces.workspaces.internal as internal
from helpers.command import call
from helpers.finished_runs import drawn, write_run

from piva.config import compose
from piva.dashboard.__main__ import dashboard, main, sync
from piva.errors import InputError


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = tmp_path / "dashboard.json"
    assert dashboard(f"out={out}", "tracker.project=noe") == str(out)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def panels(workspace: dict[str, Any], section: str) -> list[dict[str, Any]]:
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    (found,) = [each["panels"] for each in sections if each["name"] == section]
    return list(found)


def test_the_json_lands_in_outputs() -> None:
    assert compose(name="dashboard").out == "outputs/dashboard.json"


def test_the_workspace_shows_the_files_metrics(workspace: dict[str, Any]) -> None:
    assert (workspace["displayName"], workspace["project"]) == ("DDS vs Piva", "noe")
    line, scatter = panels(workspace, "Trade-off")
    assert "tables/tradeoff" in json.dumps(line["config"]["userQuery"])
    assert line["config"]["fieldSettings"] == {"x": "LPIPS", "y": "CLIP", "stroke": "score"}
    axes = [scatter["config"][key] for key in ("xAxis", "yAxis", "zAxis")]
    assert axes == ["summary:eval/lpips", "summary:eval/clip", "config:score.value.lam"]
    shown = [panel["config"]["metrics"] for panel in panels(workspace, "By score")]
    assert ["eval/clip"] in shown
    media = [panel["config"]["mediaKeys"] for panel in panels(workspace, "Pictures")]
    assert ["pictures/after"] in media


def test_the_json_is_a_workspace_to_wandb_too(workspace: dict[str, Any]) -> None:
    model = internal.View.model_validate(workspace)
    assert [section.name for section in model.spec.section.panel_bank_config.sections][:2] == [
        "Trade-off",
        "By score",
    ]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["sync"], ["OUTPUTS", "no folder"]),
        (["sync", "nowhere"], ["nowhere", "no such folder"]),
        (["tracker.mode=on"], ["tracker.mode", "auto, offline, online"]),
        (["tracker=files"], ["tracker", "wandb"]),
        (["nmae=x"], ["nmae", "did you mean name"]),
    ],
    ids=" ".join,
)
def test_bad_arguments_are_one_line_and_exit_code_2(argv: list[str], expected: list[str]) -> None:
    done = call(main, "piva.dashboard", *argv)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert all(word in done.stderr for word in expected), done.stderr


def test_a_torn_run_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn(["a"]))
    (run / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json"):
        sync(str(run), "tracker.mode=offline")


def test_the_configuration_composes() -> None:
    assert compose(name="dashboard").tracker.project == "piva"
