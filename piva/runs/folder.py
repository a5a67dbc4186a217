"""What a run leaves behind, and its only writer. Files are atomic: none but metrics.jsonl can be torn.

run.json           which run this is: its overrides, and the fingerprint of all that its numbers depend on
config.yaml        the resolved configuration
metrics.csv        one row an edit; snapshots.csv: the same after the steps of measure_at
metrics.jsonl      one row a step
summary.json       means over the edits, failures, network evaluations, provenance; equal for equal seeds
timing.json        seconds and memory: the process's, and on a GPU the run's there
edits/<id>/        result.json, state.safetensors, adapters/, before.png, after.png, turntable.mp4, samples
checkpoints/<id>/  of an edit that is not finished
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from piva.errors import InputError, one_line
from piva.files import as_kind, atomic, get, read_json, read_text, write_errors
from piva.metrics.table import means

RESULT = "result.json"
INFINITE = "inf"  # in JSON, which has no such number
MAIN = {  # metrics named where there is room for a few: words, digits, the metric of the unedited original
    "truth/psnr": ("to the truth {} dB", ".1f", "nothing/psnr"),
    "eval/clip": ("CLIP {}", ".3f", "nothing/clip"),
    "eval/lpips": ("LPIPS to the original {}", ".3f", ""),
    "eval/psnr": ("to the original {} dB", ".1f", ""),
}


@dataclass(frozen=True, kw_only=True)
class EditRecord:
    """One finished edit, as the run's tables need it."""

    row: dict[str, Any]  # of metrics.csv
    snapshots: list[dict[str, Any]]  # rows of snapshots.csv
    seconds: dict[str, float]  # of its stages
    passes: dict[str, float]  # of the networks, as `NetworkEvaluations` counts them
    diverged: str = ""  # how far it went, if it is further from the original than noise

    def write(self, folder: Path) -> None:
        """Write result.json in the edit's folder."""
        safe = {"row": json_safe(self.row), "snapshots": [json_safe(row) for row in self.snapshots]}
        (folder / RESULT).write_text(json.dumps(asdict(self) | safe, indent=2) + "\n")

    @staticmethod
    def read(folder: Path) -> "EditRecord | None":
        """Return the record in an edit's folder, None without one. Raises `InputError` for a torn file."""
        path = folder / RESULT
        if not path.exists():
            return None
        plain = read_json(path)
        rows = [get(plain, "row", dict, path), *get(plain, "snapshots", list, path)]
        numbers = [get(plain, key, dict, path) for key in ("seconds", "passes")]
        rows = [as_kind(row, dict, f"{path}: snapshots") for row in rows]
        for key in ("id", "type", "source_prompt", "target_prompt"):
            get(rows[0], key, str, f"{path}: row")
        row, *snapshots = (
            {k: math.nan if v is None else v for k, v in from_json(row).items()} for row in rows
        )
        diverged = as_kind(plain.get("diverged", ""), str, f"{path}: diverged")
        return EditRecord(
            row=row, snapshots=snapshots, seconds=numbers[0], passes=numbers[1], diverged=diverged
        )


class RunFolder:
    """Writes into one folder, made if need be. Raises `WriteError`; what was finished before is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_text(self, name: str, text: str) -> None:
        with atomic(self.path / name) as temporary:
            temporary.write_text(text)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    def write_config(self, config: dict[str, Any]) -> None:
        self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))

    def write_tables(self, records: Sequence[EditRecord], cost: Mapping[str, float | None]) -> None:
        """Write metrics.csv, snapshots.csv and timing.json, with `cost`, of the edits finished so far."""
        self.write_rows("metrics.csv", [record.row for record in records])
        if snapshots := [row for record in records for row in record.snapshots]:
            self.write_rows("snapshots.csv", snapshots)
        timing = [{"id": record.row["id"], **record.seconds} for record in records]
        self.write_json("timing.json", {"edits": timing, **cost})

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write a CSV whose columns are the union of the rows' keys, in order of first appearance."""
        with atomic(self.path / name) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
            writer.writeheader()
            writer.writerows(rows)

    def append_steps(self, rows: list[dict[str, Any]]) -> None:
        with write_errors(self.path / "metrics.jsonl"), (self.path / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def keep_steps(self, done: Mapping[str, int]) -> None:
        """Keep each edit's rows of metrics.jsonl before step `done[id]`: later ones will be written again."""
        if (path := self.path / "metrics.jsonl").exists():
            kept = (line for line, row in read_steps(path) if row["step"] < done.get(row["edit"], 0))
            self.write_text(path.name, "".join(kept))

    def record(self, id: str) -> EditRecord | None:
        """Return the record of an edit if it is finished. Raises `InputError` for a torn or another's one."""
        place = self.path / "edits" / id
        if (record := EditRecord.read(place)) and record.row["id"] != id:
            raise InputError(place / RESULT, f"the edit {record.row['id']}", id, "take the folder away")
        return record

    @contextmanager
    def edit(self, id: str) -> Iterator[Path]:
        """Give a folder to fill; it appears as `edits/<id>` if the block ends well, and else not at all."""
        with atomic(self.path / "edits" / id) as temporary:
            temporary.mkdir()
            yield temporary


def read_steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line of a metrics.jsonl and its row, up to a last line that a killed run left torn.

    Raises `InputError` for a row without its edit and its step.
    """
    lines = read_text(path).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                return
            remedy = "take the line away"
            raise InputError(f"{path}, line {number}", "no JSON", "a row", remedy) from None
        where = f"{path}, line {number}"
        plain = as_kind(row, dict, where)
        get(plain, "edit", str, where), get(plain, "step", int, where)
        yield line, plain


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to `folder`, which is made, until the block, or the process, ends.

    The lock is `flock` on <folder>/.lock. Between machines it holds if the file system carries it: NFS since
    Linux 2.6.12, Lustre and BeeGFS if mounted with it. Without flock, filelock uses the file's existence.

    Raises:
        InputError: another process holds it; raised at once.
    """
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        flock = FileLock(folder / ".lock", blocking=False)
        try:
            flock.acquire()
        except Timeout:
            remedy = "wait until it ends, or choose another folder with hydra.run.dir"
            wanted = "a folder of its own for each run"
            raise InputError(folder, "a run that is at work there", wanted, remedy) from None
    try:
        yield
    finally:
        flock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process is at work in `folder`."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with lock(folder):
            return False
    except InputError:
        return True


def summarise(
    records: Sequence[EditRecord], errors: Mapping[str, Exception], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the contents of summary.json; equal results make equal summaries.

    Args:
        records: the finished edits, which the means are over.
        errors: why others failed, by id.
        metadata: of the run: metric_networks, choices, seed, steps and provenance.
    """
    rows, steps = [record.row for record in records], metadata["steps"] * len(records)

    def per_step(prefix: str, *names: str) -> dict[str, float]:
        passes = {name: sum(record.passes[prefix + name] for record in records) for name in names}
        return {f"{name}_per_step": count / steps for name, count in passes.items() if rows}

    return {
        "mean": json_safe(means(rows)),
        "edits": [json_safe(row) for row in rows],
        "failures": [{"id": name, "reason": one_line(error)} for name, error in errors.items()],
        "diverged": [{"id": each.row["id"], "reason": each.diverged} for each in records if each.diverged],
        "unet": per_step("", "forward", "backward", "calls"),
        "controlnet": per_step("control_", "forward", "backward"),
        **metadata,
    }


def main_metrics(mean: Mapping[str, Any]) -> str:
    """Return the first three of `MAIN` that were measured, as text, beside what no edit at all would have."""
    found = []
    for key, (words, digits, untouched) in MAIN.items():
        if (value := mean.get(key)) is not None:
            beside = mean.get(untouched)
            text = words.format(format(value, digits))
            found.append(text if beside is None else f"{text}, untouched {beside:{digits}}")
    return "; ".join(found[:3])


def json_safe(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `row` with what JSON cannot say: None for nan, the text inf for the PSNR of equal pictures."""
    odd = {k: INFINITE if v == math.inf else None for k, v in row.items() if isinstance(v, float)}
    return {k: odd[k] if k in odd and not math.isfinite(v) else v for k, v in row.items()}


def from_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `row` with the infinite metrics, whose keys have a slash, that `json_safe` wrote as text."""
    return {k: math.inf if "/" in k and v == INFINITE else v for k, v in row.items()}
