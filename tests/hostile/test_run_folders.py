"""Somebody else's run folder: whatever its files hold, each command says one line that names the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.command import Done, call
from helpers.finished_runs import drawn, write_run
from omegaconf import OmegaConf
from PIL import Image

from piva import evaluate
from piva.cli import main as run
from piva.config import check, compose
from piva.dashboard.__main__ import main as dashboard
from piva.errors import InputError
from piva.export.__main__ import main as export
from piva.files import read_text, regular, user_path
from piva.metrics.comparison import Comparison, save_comparison
from piva.report.__main__ import main as report
from piva.report.gallery import thumbnails
from piva.runs.fingerprint import fingerprint, finished
from piva.runs.folder import EditRecord, RunFolder
from piva.runs.run import Run
from piva.runs.stored import stored_settings
from piva.runs.sweep import main as sweep

Main = Callable[[], None]
NETWORKS = '"metric_networks":{}'
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nscore: [*c, *c]\n"
DEEP = "[" * 100_000


def read_record(folder: Path) -> None:
    EditRecord.read(folder)


def keep_steps(folder: Path) -> None:
    RunFolder(folder).keep_steps({})


def status(folder: Path) -> None:
    _ = Run(folder).status


READERS = (read_record, keep_steps, status)
FILES: list[tuple[Callable[..., None], str, str]] = [  # command or reader, file, content
    (report, "summary.json", "{"),
    (report, "summary.json", "[]"),
    (report, "summary.json", ""),
    (report, "summary.json", "{}"),
    (report, "summary.json", "\0"),
    (report, "summary.json", DEEP),
    (report, "summary.json", '{"metric_networks": 5}'),
    (report, "summary.json", f'{{{NETWORKS},"failures":[5]}}'),
    (report, "summary.json", f'{{{NETWORKS},"failures":{{}}}}'),
    (report, "summary.json", f'{{{NETWORKS},"mean":[]}}'),
    (report, "summary.json", f'{{{NETWORKS},"edits":[1]}}'),
    (report, "summary.json", f'{{{NETWORKS},"choices":3}}'),
    (report, "summary.json", f'{{{NETWORKS},"unet":3}}'),
    (report, "summary.json", f'{{{NETWORKS},"provenance":"x"}}'),
    (report, "summary.json", f'{{{NETWORKS},"x":{"1" * 5000}}}'),
    (report, "config.yaml", "score: 5\n"),
    (report, "config.yaml", "score: {}\n"),
    (report, "config.yaml", "score: [\n"),
    (report, "config.yaml", "- a\n"),
    (report, "config.yaml", "a: ${\n"),
    (report, "config.yaml", BOMB),
    (report, "config.yaml", "!!python/object/apply:os.system [touch PWNED]\n"),
    (report, "config.yaml", "a: " + DEEP),
    (report, "config.yaml", "score: {_target_: piva.scores.dds.DDS}\n"),
    (report, "config.yaml", "seed: x\n"),
    (report, "config.yaml", "steps: [1]\n"),
    (report, "metrics.csv", "id,type\na,b\n"),
    (report, "metrics.csv", "a,b\n1,2\n"),
    (report, "metrics.csv", "id,type,source_prompt,target_prompt,eval/clip\na,b,c,d,x\n"),
    (report, "metrics.csv", "id,type,source_prompt,target_prompt\na,b,c,d,e\n"),
    (report, "metrics.csv", 'id,type,source_prompt,target_prompt\n"' + "a" * 200_000 + '",b,c,d\n'),
    (report, "metrics.csv", "id,type,source_prompt,target_prompt\n../../x,b,c,d\n"),
    (report, "snapshots.csv", "a\nb\n"),
    (report, "snapshots.csv", "id,step\nmug,x\n"),
    (report, "snapshots.csv", "id,step\nmug\n"),
    (sweep, "summary.json", "{"),
    (sweep, "summary.json", "{}"),
    (sweep, "same_as.json", "{"),
    (sweep, "same_as.json", "{}"),
    (sweep, "same_as.json", '{"folder": 3}'),
    (dashboard, "metrics.jsonl", "{}\n"),
    (dashboard, "metrics.jsonl", "[]\n"),
    (dashboard, "metrics.jsonl", '{"edit": 3, "step": 1}\n'),
    (evaluate.main, "config.yaml", "task: {_target_: piva.tasks.image.ImageTask}\n"),
    (evaluate.main, "config.yaml", "task: []\n"),
    (
        evaluate.main,
        "config.yaml",
        "task: {_target_: piva.tasks.image.ImageTask}\ndataset: {_target_: x.y}\n",
    ),
    (export, "config.yaml", "task: {_target_: piva.tasks.nerf.NerfTask}\n"),
    (export, "config.yaml", "task: {_target_: piva.tasks.nerf.NerfTask, field: {_target_: os.system}}\n"),
    (run, "run.json", "{"),
    (run, "run.json", '{"overrides": 3}'),
    (run, "run.json", '{"overrides": [3]}'),
    (run, "run.json", '{"overrides": ["hydra.run.dir=/"]}'),
    (run, "run.json", '{"overrides": ["+x._target_=os.system"]}'),
    (run, "run.json", '{"overrides": ["steps=${oc.env:HOME}"]}'),
    (run, "run.json", '{"overrides": ["--config-dir=/"]}'),
    (run, "run.json", '{"overrides": ["steps=2"]}'),
    (run, "multirun.yaml", "a: ["),
    (run, "multirun.yaml", "hydra: 3\n"),
    (run, "multirun.yaml", "hydra: {overrides: {hydra: [], task: [3]}}\n"),
    (run, "multirun.yaml", "hydra: {overrides: {hydra: ['hydra.run.dir=/'], task: []}}\n"),
    (run, "multirun.yaml", BOMB),
    (read_record, "result.json", "{"),
    (read_record, "result.json", "{}"),
    (read_record, "result.json", "[]"),
    (read_record, "result.json", '{"row": [], "snapshots": [], "seconds": {}, "passes": {}}'),
    (read_record, "result.json", '{"row": {}, "snapshots": [3], "seconds": {}, "passes": {}}'),
    (read_record, "result.json", '{"row": {}, "snapshots": [], "seconds": {}, "passes": {}}'),
    (keep_steps, "metrics.jsonl", "{}\n"),
    (keep_steps, "metrics.jsonl", "[]\n"),
    (keep_steps, "metrics.jsonl", '{"edit": "a"}\n'),
    (keep_steps, "metrics.jsonl", '{"edit": "a", "step": "x"}\n'),
    (status, "same_as.json", "{"),
    (status, "same_as.json", '{"folder": "."}'),
    (status, "same_as.json", '{"folder": "/"}'),
    (status, "summary.json", '{"metric_networks": {}, "diverged": {}}'),
    (status, "summary.json", '{"metric_networks": {}, "diverged": [3]}'),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "theirs", drawn(["mug"]))


def start(main: Main, folder: Path) -> Done:
    words = {report: [str(folder), "out=r.html"], dashboard: ["sync", str(folder), "tracker.mode=offline"]}
    words |= {evaluate.main: [f"edits={folder}"], run: [f"resume={folder}"], export: [str(folder)]}
    return call(main, main.__module__, *words.get(main, [str(folder)]))


def check_named(done: Done, path: Path) -> None:
    assert done.returncode == 2, done.stderr[-500:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("piva: ")]
    assert len(lines) == 1, done.stderr[-500:]
    assert path.name in lines[0]
    assert "Traceback" not in done.stderr
    assert not os.listdir()  # noqa: PTH208 - of the test's own empty folder


def named(case: object) -> str:
    """A case's name, the same in every process."""
    return getattr(case, "__module__", "") if callable(case) else str(case)[:50]


@pytest.mark.parametrize(("main", "name", "content"), FILES, ids=named)
def test_a_torn_file_is_one_line_that_names_it(
    folder: Path, main: Callable[..., None], name: str, content: str
) -> None:
    if main is sweep:
        (folder / "run.json").write_text("{}")
    (folder / name).write_text(content)
    if main in READERS:
        with pytest.raises(InputError, match=name):
            main(folder)
    else:
        check_named(start(main, folder), folder / name)


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "metrics.csv", "snapshots.csv"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle"])
def test_what_is_no_file_is_not_opened(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "circle": lambda: path.symlink_to(path),
    }
    make[kind]()
    done = start(report, folder)
    assert done.returncode == 2 or (done.returncode, kind) == (0, "circle"), done.stderr  # as none
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_a_finished_run_with_a_torn_record_is_not_taken_for_finished(folder: Path) -> None:
    settings = check(compose("task=image", "steps=2", "dataset.edits=1"))
    record = {"overrides": [], "fingerprint": fingerprint(settings)}
    (folder / "run.json").write_text(json.dumps(record))
    place = folder / "edits" / settings.edits[0].id
    place.mkdir(parents=True)
    (place / "result.json").write_text("{}")
    with pytest.raises(InputError, match=r"result\.json"):
        finished(settings, folder)


def test_edits_that_diverged_make_a_run_that_is_not_finished(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    diverged = {"diverged": [{"id": "mug", "reason": "2 times as far"}], "edits": [{}, {}]}
    (folder / "summary.json").write_text(json.dumps(summary | diverged))
    assert (Run(folder).status, Run(folder).reason) == ("1 of 2 edits diverged", "mug: 2 times as far")


@pytest.mark.parametrize(
    "dataset",
    [
        {"_target_": "os.system"},
        {"_target_": "piva.nerf.settings.Voxels"},
        {"_target_": "piva.datasets.noe.Noe", "root": "${oc.env:HOME}", "edits": "all"},
        {"_target_": "piva.datasets.noe.Noe", "root": {"_target_": "evil.Evil"}, "edits": "all"},
        {"_target_": "piva.datasets.noe.Noe", "root": "toys", "edits": [{"_target_": "evil.Evil"}]},
        {"_target_": "piva.datasets.noe.Noe", "root": "toys"},
        {"_target_": "piva.datasets.noe.noe"},
        {},
        [],
    ],
    ids=str,
)
def test_stored_settings_import_nothing_of_others_and_ask_nothing(tmp_path: Path, dataset: object) -> None:
    with pytest.raises(InputError, match=r"config\.yaml"):
        stored_settings(dataset, "dataset", tmp_path / "config.yaml")


def test_an_evaluation_does_not_import_what_a_run_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text("open('PWNED', 'w')\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = OmegaConf.load(folder / "config.yaml")
    config.dataset.root = {"_target_": "evil.Evil"}
    OmegaConf.save(config, folder / "config.yaml")
    done = start(evaluate.main, folder)
    check_named(done, folder / "config.yaml")


def test_a_file_over_its_bound_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="bytes, wanted a text file of at most"):
        read_text(tmp_path / "large")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "~nobodyatall/x"])
def test_a_path_that_cannot_be_is_named_by_its_key(name: str) -> None:
    with pytest.raises(InputError, match=r"^key: found "):
        user_path(name, "key")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/", "/proc/self/fd", "/nowhere", "x" * 300])
def test_only_regular_files_are_regular(name: str) -> None:
    with pytest.raises(InputError):
        regular(Path(name))


def test_a_label_that_a_spreadsheet_would_compute_is_text(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, drawn(["a", "b"])) for name in "xy"]
    for folder in runs:
        text = (folder / "metrics.csv").read_text()
        (folder / "metrics.csv").write_text(text.replace("texturing", '"=HYPERLINK(1)"'))
    assert call(report, "piva.report", *map(str, runs), "out=r.html").returncode == 0
    cells = [line for path in Path("r_tables").glob("*.csv") for line in path.read_text().splitlines()]
    assert any("HYPERLINK" in line for line in cells)
    assert not any(line.lstrip('"').startswith(("=", "+", "-", "@")) for line in cells)


def test_a_picture_that_bursts_costs_its_thumbnail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert thumbnails([tmp_path / "a.png"], 32) == {}


def test_a_film_that_fails_does_not_cost_the_edit(tmp_path: Path) -> None:
    import torch

    views = torch.zeros(2, 3, 16, 16)
    (tmp_path / "turntable.mp4").symlink_to("/dev/full")
    save_comparison(Comparison(before=views, after=views), tmp_path)
    names = ["after.png", "before.png", "comparison.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_escapes_in_names_are_spelled_out() -> None:
    line = str(json.loads('"\\u001b[2J\\ud800"'))
    assert "\\x1b[2J\\ud800" in call(report, "piva.report", line).stderr
