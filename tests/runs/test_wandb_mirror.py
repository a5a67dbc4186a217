"""The real wandb, offline, and servers that are not there or refuse: files and runs are never harmed."""

import logging
import os
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.finished_runs import drawn, write_run
from wandb.proto import wandb_internal_pb2

from piva.dashboard.__main__ import sync
from piva.runs.tracking import RunMetadata, WandB
from piva.runs.wandb_mirror import group, logged_in

KEY = "k" * 40
EDITS = ["mug/blue", "car/hat"]


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server that knows no key."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def tracker(mode: str = "auto") -> WandB:
    return WandB(project="toys", mode=mode, start_timeout=5, finish_timeout=5)


def metadata(**changes: Any) -> RunMetadata:
    config = {"score": {"_target_": "piva.scores.dds.DDS"}, "lambda": 0.4}
    given = {"config": config, "choices": {"score": "dds", "task": "image"}, "edits": EDITS, "steps": 4}
    return RunMetadata(**given | changes)


def records(folder: Path) -> list[Any]:
    """What wandb wrote in a run folder, in order of time. Its process may close a file a moment late."""
    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        deadline = time.monotonic() + 20
        while not (session := parsed(file)) or not session[-1].HasField("exit"):
            assert time.monotonic() < deadline, f"{file} has no end"
            time.sleep(0.05)
        found += session
    return found


def parsed(file: Path) -> list[Any]:
    made = []
    for data in log_entries(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        made.append(record)
    return made


def log_entries(data: bytes) -> Iterator[bytes]:
    """Of a file in LevelDB's log format, after wandb's own 7 bytes: (crc, length, type), blocks of 32 KiB."""
    place, entry = 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        entry += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield entry
            entry = b""


def history(folder: Path) -> list[dict[str, str]]:
    rows = [
        record.history.item for record in records(folder) if record.WhichOneof("record_type") == "history"
    ]
    return [{item.key or item.nested_key[0]: item.value_json for item in row} for row in rows]


def test_a_synced_run_has_the_files_names_numbers_and_pictures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn(EDITS), snapshots={2: drawn(EDITS)})
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"edit": "car/hat", "st')  # a killed run's last line
    assert sync(str(run), "tracker.mode=offline") == [run]
    rows = history(run)
    steps = [(row["edit"], row["step"], row["_step"]) for row in rows if "train/direction_rms" in row]
    assert steps == [
        (f'"{edit}"', str(step), str(5 * i + step)) for i, edit in enumerate(EDITS) for step in range(4)
    ]
    edits = [row for row in rows if "edit_number" in row]
    assert [float(row["eval/clip"]) for row in edits] == [
        values["eval/clip"] for values in drawn(EDITS).values()
    ]
    assert all(f"pictures/{name}" in row for row in edits for name in ("before", "after", "truth"))
    assert {key for key in rows[-1] if key.startswith("tables/")} == {
        "tables/edits",
        "tables/snapshots",
        "tables/tradeoff",
    }
    (start,) = [record.run for record in records(run) if record.WhichOneof("record_type") == "run"]
    assert (start.project, start.job_type) == ("piva", "dds")
    assert "prior=toys" in start.tags
    assert "score" in {item.key for item in start.config.update}
    axes = {
        record.metric.glob_name: record.metric.step_metric
        for record in records(run)
        if record.HasField("metric")
    }
    assert (axes["train/*"], axes["eval/*"]) == ("step", "edit_number")


def test_a_resumed_run_continues_its_curve(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn(EDITS))
    rows = [
        {"edit": edit, "step": step, "t": 5, "train/direction_rms": 0.5}
        for edit in EDITS
        for step in range(4)
    ]
    for part in (rows[:6], rows[6:]):
        mirror = tracker("offline").mirror(metadata(), run)
        assert mirror
        mirror.steps(part)
        mirror.finish({})
    starts = [record.run.run_id for record in records(run) if record.WhichOneof("record_type") == "run"]
    assert len(starts) == 2
    assert len(set(starts)) == 1
    assert [int(row["_step"]) for row in history(run) if "t" in row] == [0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize("mode", ["auto", "online"])
@pytest.mark.parametrize("trouble", ["down", "refused", "no key"])
def test_a_server_in_trouble_is_a_warning_and_an_offline_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refusing: str,
    mode: str,
    trouble: str,
) -> None:
    run = write_run(tmp_path / "run", drawn(EDITS))
    monkeypatch.setenv("WANDB_BASE_URL", refusing if trouble == "refused" else "http://127.0.0.1:1")
    if trouble != "no key":
        monkeypatch.setenv("WANDB_API_KEY", KEY)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "piva"):
        mirror = tracker(mode).mirror(metadata(), run)
        assert mirror
        mirror.steps([{"edit": "car/hat", "step": 3, "t": 5}])
        mirror.finish({"mean": {"eval/clip": 0.5}})
    assert time.monotonic() - start < 60
    assert [row["_step"] for row in history(run) if "t" in row] == ["8"]
    said = [record.message for record in caplog.records if record.name.startswith("piva")]
    assert len(said) == (0 if (mode, trouble) == ("auto", "no key") else 1)
    assert all("works offline" in line and "wandb sync" in line for line in said)


def test_a_failure_on_the_way_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mirror = tracker("offline").mirror(metadata(), tmp_path)
    assert mirror
    mirror.edit({"id": "an edit of another run"}, tmp_path)
    (tmp_path / "metrics.csv").write_text("id,type\na,b,c\n")  # torn: its tables fail, its means do not
    mirror.finish({"mean": {"eval/clip": 0.5}})
    said = [record.message for record in caplog.records if record.name.startswith("piva")]
    assert [line.split(" (")[0] for line in said] == ["W&B: edit failed", "W&B: tables failed"]
    summaries = [item for record in records(tmp_path) for item in record.summary.update]
    assert "0.5" in [item.value_json for item in summaries]


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert tracker("offline").mirror(metadata(), tmp_path / "file") is None
    assert "does not start" in caplog.text


def test_the_group_is_the_experiment_or_the_sweep(tmp_path: Path) -> None:
    job = tmp_path / "sweep/lambda=0.1"
    job.mkdir(parents=True)
    assert group(metadata(), job) is None
    (job.parent / "multirun.yaml").touch()
    assert group(metadata(), job) == "sweep"
    assert group(metadata(choices={"experiment": "toys_claims"}), job) == "toys_claims"


def test_credentials_are_found_without_asking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not logged_in("https://wandb.example")
    (tmp_path / "netrc").write_text(f"machine wandb.example login user password {KEY}\n")
    assert logged_in("https://wandb.example")
    assert not logged_in("https://other.example")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert logged_in("https://other.example")
