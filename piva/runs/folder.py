"""What a run leaves behind. Every file is written under a temporary name and renamed, so none is ever half there.

<folder>/run.json           which run this is: the words it was started with, and all that its numbers depend on
<folder>/config.yaml        the resolved configuration
<folder>/metrics.csv        one row an edit
<folder>/metrics.jsonl      one row a step
<folder>/summary.json       means over the edits, failures, network evaluations, provenance; equal for equal seeds
<folder>/timing.json        seconds and memory
<folder>/edits/<id>/        before.png, after.png, turntable.mp4, state.safetensors, adapters/, samples-<step>.png, result.json
<folder>/checkpoints/<id>/  of an edit that is not finished
"""

import csv
import io
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors import SafetensorError

from piva.errors import InputError, WriteError

MAIN = ("truth/psnr", "eval/clip", "eval/lpips", "eval/psnr")  # metrics named where there is room for a few


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """A finished edit: all that the run's tables take from it."""

    row: dict[str, Any]  # of metrics.csv
    snapshots: list[dict[str, Any]]  # rows of snapshots.csv
    seconds: dict[str, float]  # of its stages
    passes: dict[str, int]  # of the networks, as `NetworkEvaluations` counts them

    def write(self, folder: Path) -> None:
        """Leave it in the edit's folder."""
        plain = asdict(self) | {
            "row": json_safe(self.row),
            "snapshots": [json_safe(row) for row in self.snapshots],
        }
        (folder / "result.json").write_text(json.dumps(plain, indent=2) + "\n")

    @staticmethod
    def read(folder: Path) -> "EditResult | None":
        """That of an edit's folder; None where there is none."""
        try:
            plain = json.loads((folder / "result.json").read_text())
        except (OSError, ValueError):
            return None
        rows = [
            {k: math.nan if v is None else v for k, v in row.items()}
            for row in (plain["row"], *plain["snapshots"])
        ]
        return EditResult(row=rows[0], snapshots=rows[1:], seconds=plain["seconds"], passes=plain["passes"])


@dataclass(frozen=True)
class Result:
    """A run that has ended: its folder, one row a finished edit, and the summary, which names the edits that failed."""

    folder: Path
    rows: list[dict[str, Any]]
    summary: dict[str, Any]


class RunFolder:
    """Writes into one folder; keeps what was finished whatever happens next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)

    def write_text(self, name: str, text: str) -> None:
        target = self.path / name
        temporary = target.with_name(f".{target.name}.tmp")
        with writing(target):
            try:
                temporary.write_text(text)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    def write_config(self, config: dict[str, Any]) -> None:
        self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))

    def write_tables(self, results: Sequence[EditResult], cost: Mapping[str, float]) -> None:
        """metrics.csv, snapshots.csv and timing.json (with what else the run cost) of the edits finished so far."""
        self.write_rows("metrics.csv", [result.row for result in results])
        if snapshots := [row for result in results for row in result.snapshots]:
            self.write_rows("snapshots.csv", snapshots)
        timing = [{"id": result.row["id"], **result.seconds} for result in results]
        self.write_json("timing.json", {"edits": timing, **cost})

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A CSV whose columns are the union of the rows' keys, in order of first appearance."""
        table = io.StringIO()
        writer = csv.DictWriter(table, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text(name, table.getvalue())

    def append_steps(self, rows: list[dict[str, Any]]) -> None:
        with writing(self.path / "metrics.jsonl"), (self.path / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def keep_steps(self, done: Mapping[str, int]) -> None:
        """Of metrics.jsonl, keep each edit's rows before step `done[id]`: those after a checkpoint will be written again."""
        journal = self.path / "metrics.jsonl"
        if journal.is_file():
            self.write_text(journal.name, "".join(line for line in journal.open() if _before(line, done)))

    def finished(self, id: str) -> EditResult | None:
        """The result of an edit, if it is finished."""
        return EditResult.read(self.path / "edits" / id)

    @contextmanager
    def edit(self, id: str) -> Iterator[Path]:
        """A folder to fill; it appears as `edits/<id>` when the block ends well, and not at all otherwise."""
        target = self.path / "edits" / id
        temporary = target.with_name(f".{target.name}.tmp")
        with writing(target):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            try:
                yield temporary
                shutil.rmtree(target, ignore_errors=True)
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of every number in the rows, its mean over the rows that have one."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, float))
    kept = {key: [row[key] for row in rows if key in row and not math.isnan(row[key])] for key in keys}
    return {key: sum(values) / len(values) if values else math.nan for key, values in kept.items()}


def one_set_of_networks(runs: Iterable[Path]) -> dict[str, str]:
    """What the metrics of finished runs were measured with. Raises `InputError` if that is not one and the same: numbers of
    different networks do not belong in one table.
    """
    sets = {
        run: json.loads((run / "summary.json").read_text())["metric_networks"]
        for run in runs
        if (run / "summary.json").is_file()
    }
    for run, networks in sets.items():
        first, wanted = next(iter(sets.items()))
        if networks != wanted:
            raise InputError(
                run,
                f"metrics by {networks}",
                f"{wanted} as in {first}",
                "make one table for each set of networks",
            )
    return next(iter(sets.values()), {})


def main_metrics(mean: Mapping[str, Any]) -> str:
    """The first three of `MAIN` that were measured, in words."""
    found = [(key, mean[key]) for key in MAIN if mean.get(key) is not None]
    return ", ".join(f"{key} {value:.4g}" for key, value in found[:3])


def json_safe(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has no word for (nan, inf) as None."""
    return {k: None if isinstance(v, float) and v - v != 0 else v for k, v in row.items()}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in its own error
        remedy = "what was finished before is kept"
        raise WriteError(
            path, getattr(error, "strerror", None) or str(error), "a place to write results", remedy
        ) from error


def _before(line: str, done: Mapping[str, int]) -> bool:
    """Whether a line of metrics.jsonl is whole and a row of a step that counts."""
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return bool(row["step"] < done.get(row["edit"], 0))
