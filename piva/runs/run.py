"""A run, read back from its folder alone: for tables, trackers, sweeps, evaluation, export. No torch."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from piva.config import PARTS
from piva.errors import InputError, one_line
from piva.files import as_kind, get, inside, inside_of, read_json, read_text, read_yaml
from piva.runs.folder import from_json, is_locked, read_steps

RECORD = "run.json"
ERROR = "error.txt"  # why a job of a sweep failed
DUPLICATE = "same_as.json"  # which job of the sweep has run these settings
FIRSTS = ".runs"  # in a sweep's folder: for each fingerprint, a link to the job that runs these settings
OPTIMISE = "piva.methods.optimise.Optimise"  # the method that descends a score, as every run did once
TEXTS = ("id", "type", "source_prompt", "target_prompt")  # columns that are text, whatever they look like
ORIGIN = "what piva.run wrote"
# What is in these files has these kinds, whoever wrote them; lists hold objects.
CONFIG: dict[str, type[Any]] = {"seed": int, "steps": int}
SUMMARY: dict[str, type[Any]] = {
    **dict.fromkeys(("mean", "choices", "unet", "provenance"), dict),
    **dict.fromkeys(("failures", "diverged", "edits"), list),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What one run left behind. Files are read when they are asked for; one that is not there is empty.

    Every property raises `InputError` that names the file if it is torn.
    """

    folder: Path

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Return the run in `folder`, its configuration, summary and tables read. Raises `InputError`."""
        run = cls(folder)
        _ = run.config, run.summary, run.rows, run.snapshots
        return run

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, as plain values."""
        path = self.folder / "config.yaml"
        config = read_yaml(path) if path.exists() else {}
        for part in PARTS:
            if part in config:
                get(get(config, part, dict, path), "_target_", str, f"{path}: {part}")
        return _checked(config, CONFIG, path)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Means, the metric networks, choices, provenance; of an evaluation too."""
        path = self.folder / "summary.json"
        if not path.exists():
            return {}
        summary = read_json(path)
        get(summary, "metric_networks", dict, path)
        summary = _checked(summary, SUMMARY, path)
        return summary | ({"mean": from_json(summary["mean"])} if "mean" in summary else {})

    @cached_property
    def record(self) -> dict[str, Any]:
        """The contents of run.json: `overrides` and `fingerprint`."""
        return self._json(RECORD)

    @cached_property
    def rows(self) -> list[Row]:
        """One row an edit, numbers as float; an empty cell is no value, its key is left out."""
        return _rows(self.folder / "metrics.csv", TEXTS)

    @cached_property
    def snapshots(self) -> list[Row]:
        """One row for each edit and step of measure_at."""
        return _rows(self.folder / "snapshots.csv", ("id", "step"))

    @property
    def steps(self) -> dict[str, list[Row]]:
        """The rows of metrics.jsonl by edit, without a last line that a killed run left torn."""
        rows: dict[str, list[Row]] = {}
        path = self.folder / "metrics.jsonl"
        for _, row in read_steps(path) if path.exists() else ():
            rows.setdefault(row["edit"], []).append(row)
        return rows

    @property
    def task(self) -> str:
        """The name of the task's class. Raises `InputError` if config.yaml has none."""
        where = self.folder / "config.yaml"
        return get(get(self.config, "task", dict, where), "_target_", str, f"{where}: task").rpartition(".")[
            2
        ]

    @property
    def approach(self) -> dict[str, Any]:
        """The configuration of what made the edits: the score, or a method that has none."""
        method = self.config.get("method", {})
        optimised = method.get("_target_", OPTIMISE) == OPTIMISE
        where = self.folder / "config.yaml"
        return dict(get(self.config, "score", dict, where) if optimised else method)

    @property
    def failures(self) -> dict[str, str]:
        """Why edits that were begun are not finished, by their ids."""
        return self._reasons("failures")

    @property
    def diverged(self) -> dict[str, str]:
        """How far edits that are finished went, if further from their originals than noise, by their ids."""
        return self._reasons("diverged")

    @property
    def duplicate_of(self) -> "Run | None":
        """The job of the same sweep that ran these settings instead; `InputError` for another place."""
        path = self.folder / DUPLICATE
        if not path.exists():
            return None
        here, place = self.folder.absolute(), get(read_json(path), "folder", str, path)
        sweep = next((at for at in here.parents if (at / FIRSTS).is_dir()), None)
        other = Path(os.path.normpath(here / place))
        if sweep is None or other in (sweep, here) or not inside_of(sweep, other):
            raise InputError(f"{path}: folder", repr(place), "another job of the same sweep")
        return Run(other)

    @property
    def status(self) -> str:
        """finished, failed, running, unfinished, or "2 of 12 edits failed"; a duplicate has the other's."""
        return (self.duplicate_of or self)._own_status

    @property
    def _own_status(self) -> str:
        if (self.folder / ERROR).is_file():
            return "failed"
        if is_locked(self.folder):
            return "running"
        if not self.summary:
            return "unfinished"
        failed, gone, done = len(self.failures), len(self.diverged), len(self.summary.get("edits", []))
        counts = {"failed": failed, "diverged": gone}
        told = [f"{count} of {failed + done} edits {what}" for what, count in counts.items() if count]
        return ", ".join(told) or "finished"

    @property
    def reason(self) -> str:
        """Why the run is not finished, or how it can be; empty if it is, or is at work."""
        match self.status:
            case "failed":
                return read_text(self.folder / ERROR).strip()
            case "unfinished":
                return f"resume={self.folder} goes on with it"
            case "running":
                return ""
        return "; ".join(f"{edit}: {reason}" for edit, reason in (self.failures | self.diverged).items())

    def edit(self, id: str) -> Path:
        """Return the folder of an edit, if any. Raises `InputError` for an id that leads out of the run."""
        return inside(self.folder, f"edits/{id}", self.folder / "metrics.csv")

    def _reasons(self, key: str) -> dict[str, str]:
        return {str(each.get("id")): str(each.get("reason", key)) for each in self.summary.get(key, [])}

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return read_json(path) if path.exists() else {}


def find_runs(roots: Iterable[Path]) -> Iterator[Path]:
    """Yield every run at or below these folders, once, sorted: a folder with config.yaml and metrics.csv.

    A job that duplicates another of its sweep is left out. Raises `InputError` for a folder that is not there
    or that holds no run.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise InputError(root, "no such folder", "run folders, or folders of them", "check the path")
        below = list(_runs_below(root))
        if not below:
            found_none = "no metrics.csv in it or below it"
            raise InputError(root, found_none, "a run folder, or a folder of them", "check the path")
        found |= {path.resolve(): path for path in below}
    yield from sorted(found.values())


def one_set_of_networks(runs: Iterable[Run]) -> dict[str, str]:
    """Return the metric networks of those runs that have a summary.

    Raises `InputError` if they differ: numbers of different networks do not belong in one table.
    """
    first: tuple[Run, dict[str, str]] | None = None
    for run in runs:
        if run.summary:
            networks = run.summary["metric_networks"]
            first = first or (run, networks)
            if networks != first[1]:
                wanted, remedy = (
                    f"{first[1]} as in {first[0].folder}",
                    "make one table for each set of networks",
                )
                raise InputError(run.folder, f"metrics by {networks}", wanted, remedy)
    return first[1] if first else {}


def _runs_below(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        if "metrics.csv" in files and "config.yaml" in files:
            folders.clear()  # a run holds no other runs, but thousands of files
            if DUPLICATE not in files:
                yield Path(place)


def _rows(path: Path, columns: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    reader = csv.DictReader(io.StringIO(read_text(path) if path.exists() else "", newline=""))
    try:
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if None in cells or cells.get("id") is None:
                raise InputError(where, "cells that do not fit the first line", ORIGIN)
            rows.append({k: _value(k, v, f"{where}: {k}") for k, v in cells.items() if v or k in TEXTS})
            if missing := [name for name in columns if name not in rows[-1] and name in cells]:
                raise InputError(f"{where}: {missing[0]}", "nothing", "a number")
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}", one_line(error), ORIGIN) from None
    if missing := [name for name in columns if reader.fieldnames and name not in reader.fieldnames]:
        raise InputError(path, f"no column {missing[0]}", ORIGIN)
    return rows


def _checked(values: dict[str, Any], kinds: Mapping[str, type[Any]], where: Path) -> dict[str, Any]:
    """Return `values`. Raises `InputError` where one that is there is not of its kind."""
    for key in kinds.keys() & values.keys():
        value = get(values, key, kinds[key], where)
        for i, item in enumerate(value if kinds[key] is list else ()):
            as_kind(item, dict, f"{where}: {key}[{i}]")
    return values


def _value(key: str, text: str | None, where: str) -> str | float:
    if key in TEXTS:
        return text or ""
    try:
        return float(text or "nan")
    except ValueError:
        raise InputError(where, repr(text), "a number") from None
