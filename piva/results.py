"""What a run leaves behind. Every file is written under a temporary name and renamed, so none is ever half there.

<folder>/config.yaml        the resolved configuration
<folder>/metrics.csv        one row an edit
<folder>/metrics.jsonl      one row a step
<folder>/summary.json       means over the edits, network evaluations, provenance; equal for equal seeds
<folder>/timing.json        seconds and memory
<folder>/edits/<id>/        before.png, after.png, turntable.mp4, state.safetensors, adapters/, samples-<step>.png
"""

import csv
import io
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors import SafetensorError

from piva.errors import InputError


@dataclass(frozen=True)
class Result:
    """A finished run: its folder, one row an edit, and the summary."""

    folder: Path
    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def objective(self) -> float | None:
        """What a sweeper maximises: PSNR to the truth where it is known, else to the original."""
        mean = self.summary["mean"]
        value: float | None = mean.get("truth/psnr", mean.get("eval/psnr"))
        return value


class RunFolder:
    """Writes into one folder; keeps what was finished whatever happens next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _room(path):
            path.mkdir(parents=True, exist_ok=True)

    def write_text(self, name: str, text: str) -> None:
        target = self.path / name
        temporary = target.with_name(f".{target.name}.tmp")
        with _room(target):
            try:
                temporary.write_text(text)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    def write_config(self, config: dict[str, Any]) -> None:
        self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A CSV whose columns are the union of the rows' keys, in order of first appearance."""
        table = io.StringIO()
        writer = csv.DictWriter(table, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
        self.write_text(name, table.getvalue())

    def append_steps(self, rows: list[dict[str, Any]]) -> None:
        with _room(self.path / "metrics.jsonl"), (self.path / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    @contextmanager
    def edit(self, id: str) -> Iterator[Path]:
        """A folder to fill; it appears as `edits/<id>` when the block ends well, and not at all otherwise."""
        target = self.path / "edits" / id
        temporary = target.with_name(f".{target.name}.tmp")
        with _room(target):
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
        run: json.loads((run / "summary.json").read_text())["metric_networks"] for run in runs if (run / "summary.json").is_file()
    }
    for run, networks in sets.items():
        first, wanted = next(iter(sets.items()))
        if networks != wanted:
            raise InputError(run, f"metrics by {networks}", f"{wanted} as in {first}", "make one table for each set of networks")
    return next(iter(sets.values()), {})


def json_safe(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has no word for (nan, inf) as None."""
    return {k: None if isinstance(v, float) and v - v != 0 else v for k, v in row.items()}


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in its own error
        remedy = "what was finished before is kept"
        raise InputError(path, getattr(error, "strerror", None) or str(error), "a place to write results", remedy) from error
