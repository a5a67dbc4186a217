"""Which runs share a table, and what a row of it is called."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.finished_runs import drawn, write_run

from piva.report.__main__ import report
from piva.report.sections import Section, sections
from piva.report.tables import baseline_of, cell, mean_tables, paired_tables
from piva.runs.run import Run, find_runs

EDITS = ["mug/blue", "car/hat", "cake/flag", "cone/tree"]


def of(root: Path) -> list[Section]:
    return sections(Run.read(folder) for folder in find_runs([root]))


def test_shards_and_seeds_of_equal_settings_are_one_row(tmp_path: Path) -> None:
    write_run(tmp_path / "shard1", drawn(EDITS[:2]))
    write_run(tmp_path / "shard2", drawn(EDITS[2:]))
    write_run(tmp_path / "seed1", drawn(EDITS, seed=5), seed=1)
    (section,) = of(tmp_path)
    (setting,) = section.settings
    assert setting.label == "DDS"
    assert setting.seeds == [0, 1]
    assert {edit.id for edit in section.edits} == set(EDITS)
    assert all(len(seeds) == 2 for seeds in setting.values("eval/clip").values())
    assert cell(setting, "eval/clip").seeds is not None


def test_a_section_names_the_gpus_of_its_runs(tmp_path: Path) -> None:
    for name, gpu in (("a", "NVIDIA H100"), ("b", None)):
        path = write_run(tmp_path / name, drawn(EDITS)) / "summary.json"
        summary = json.loads(path.read_text())
        summary["provenance"]["gpu"] = gpu
        path.write_text(json.dumps(summary))
    assert "GPU" not in of(tmp_path / "b")[0].facts
    assert of(tmp_path / "a")[0].facts["GPU"] == "NVIDIA H100"


def test_shards_give_the_numbers_of_the_whole_run(tmp_path: Path) -> None:
    """Byte for byte and in any order of the parts: means, intervals, differences, types, snapshots."""
    edits = [f"edit {i}" for i in range(7)]
    for score, lam, seed in (("DDS", None, 1), ("Piva", 0.4, 2)):
        values, early = drawn(edits, seed=seed), drawn(edits, seed=seed + 2)
        own = {"score": score, "lam": lam}
        write_run(tmp_path / f"whole/{score}", values, **own, snapshots={2: early})
        for i in range(3):
            part, then = ({edit: of[edit] for edit in edits[i::3]} for of in (values, early))
            types = [j % 2 for j in range(7)][i::3]
            write_run(tmp_path / f"parts/{3 - i}/{score}", part, **own, snapshots={2: then}, types=types)
    tables, drifts = [], []
    for name in ("whole", "parts"):
        report(str(tmp_path / name), f"out={tmp_path / name}.html")
        tables.append({path.name: path.read_text() for path in (tmp_path / f"{name}_tables").iterdir()})
        drifts.append([setting.snapshots for setting in of(tmp_path / name)[0].settings])
    assert len(tables[0]) == 12  # two kinds of metrics: means, differences, by type; CSV and LaTeX
    assert tables[0] == tables[1]
    assert drifts[0] == drifts[1]


def test_labels_name_what_differs_and_nothing_else(tmp_path: Path) -> None:
    write_run(tmp_path / "a", drawn(EDITS), settings={"reference": "edit", "guidance_scale": 3})
    write_run(tmp_path / "b", drawn(EDITS), settings={"reference": "edit", "guidance_scale": 7.5})
    write_run(
        tmp_path / "c",
        drawn(EDITS),
        score="Piva",
        lam=0.4,
        settings={"reference": "edit", "guidance_scale": 7.5},
    )
    write_run(
        tmp_path / "d",
        drawn(EDITS),
        score="Piva",
        lam=0.1,
        settings={"reference": "edit", "guidance_scale": 7.5},
    )
    labels = [setting.label for setting in of(tmp_path)[0].settings]
    assert labels == ["DDS, guidance_scale 3", "DDS, guidance_scale 7.5", "Piva λ 0.1", "Piva λ 0.4"]


def test_a_label_says_no_more_than_it_needs(tmp_path: Path) -> None:
    """Of settings that change together the kind of part is told, and `others` keeps them all."""
    for kind, guidance, t_max in (("Uniform", 3, 0.98), ("Descending", 1.5, 0.9)):
        schedule = {"_target_": f"piva.schedules.{kind.lower()}.{kind}", "t_max": t_max}
        for steps in (10, 40):
            given: dict[str, Any] = {
                "settings": {"guidance_scale": guidance},
                "groups": {"schedule": schedule},
            }
            write_run(tmp_path / f"{kind}{steps}", drawn(EDITS), steps=steps, **given)
    (section,) = of(tmp_path)
    labels = [setting.label for setting in section.settings]
    assert sorted(labels) == [
        "DDS, schedule Descending, steps 10",
        "DDS, schedule Descending, steps 40",
        "DDS, schedule Uniform, steps 10",
        "DDS, schedule Uniform, steps 40",
    ]
    assert {"t_max", "guidance_scale"} < {name for name, _ in section.settings[0].others}


def test_a_baseline_differs_in_the_score_alone(tmp_path: Path) -> None:
    for guidance in (3, 7.5):
        write_run(tmp_path / f"dds{guidance}", drawn(EDITS), settings={"guidance_scale": guidance})
    write_run(tmp_path / "piva", drawn(EDITS), score="Piva", lam=0.4, settings={"guidance_scale": 3})
    write_run(tmp_path / "sds", drawn(EDITS), score="SDS", settings={"guidance_scale": 100})
    settings = {setting.label: setting for setting in of(tmp_path)[0].settings}
    baseline = baseline_of(settings["Piva λ 0.4"], settings.values(), "dds")
    assert baseline is settings["DDS, guidance_scale 3"]
    assert [label for label, _ in paired_tables(of(tmp_path)[0], "dds")[0].rows] == [
        "Piva λ 0.4 minus DDS, guidance_scale 3"
    ]
    assert baseline_of(settings["SDS"], settings.values(), "dds") is None
    assert baseline_of(settings["DDS, guidance_scale 3"], settings.values(), "dds") is None


@pytest.mark.parametrize("other", [{"networks": {"clip": "another"}}, {"prior": "sd21"}])
def test_other_networks_and_priors_stand_in_another_section(tmp_path: Path, other: dict[str, object]) -> None:
    write_run(tmp_path / "a", drawn(EDITS))
    write_run(tmp_path / "b", drawn(EDITS, seed=1), **other)  # type: ignore[arg-type]
    parts = of(tmp_path)
    assert [len(part.settings) for part in parts] == [1, 1]
    assert parts[0].title != parts[1].title


def test_the_same_edit_twice_in_one_seed_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "1", {"a": {"eval/clip": 0.1}, "b": {"eval/clip": 0.3}})
    write_run(tmp_path / "2", {"a": {"eval/clip": 0.5}})
    found = cell(of(tmp_path)[0].settings[0], "eval/clip").edits
    assert (found.n, found.mean) == (2, pytest.approx(0.4))


def test_one_id_with_other_prompts_is_another_edit(tmp_path: Path) -> None:
    write_run(tmp_path / "1", {"cat": {"eval/clip": 0.1}})
    write_run(tmp_path / "2", {"cat": {"eval/clip": 0.3}}, prompts=("a {}", "a dog, not a {}"))
    assert len(of(tmp_path)[0].edits) == 2


def test_anchors_stand_above_the_settings(tmp_path: Path) -> None:
    write_run(tmp_path / "1", drawn(EDITS))
    clip, truth = mean_tables(of(tmp_path)[0])
    assert [label for label, _ in clip.rows] == ["identity", "truth", "DDS"]
    assert [cells[0].edits.mean for _, cells in clip.rows[:2]] == pytest.approx([0.5, 0.8])  # type: ignore[union-attr]
    assert [label for label, _ in truth.rows] == ["identity", "DDS"]
    assert paired_tables(of(tmp_path)[0], "dds") == []
