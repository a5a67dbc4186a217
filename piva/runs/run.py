"""Finished runs, read back from their folders alone: for reports and trackers. Imports no torch."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from piva.errors import InputError, one_line
from piva.files import inside, read_json, read_text

WORDS = ("id", "type", "source_prompt", "target_prompt")  # columns that are text, whatever they look like
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What one run left behind: its resolved configuration, its summary, and its rows with numbers as float."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    rows: list[Row]
    snapshots: list[Row]

    def edit(self, id: str) -> Path:
        """The folder of an edit, which need not exist. Raises `InputError` for an id that leads out of the run."""
        return inside(self.folder / "edits", id, self.folder / "metrics.csv")

    @property
    def failures(self) -> dict[str, str]:
        """Edits that were begun and not finished, and why."""
        return {
            str(each.get("id")): str(each.get("reason", "failed"))
            for each in self.summary.get("failures", [])
        }


def find(roots: Iterable[Path]) -> Iterator[Path]:
    """Every run at or below these folders, once, sorted: a folder with config.yaml and metrics.csv.

    A job that is the same as another of its sweep (same_as.json) is left out. Raises `InputError` for a folder that is not
    there or that holds no run.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise InputError(root, "no such folder", "run folders, or folders of them", "check the path")
        below = list(_below(root))
        if not below:
            raise InputError(
                root,
                "no metrics.csv in it or below it",
                "a run folder, or a folder of them",
                "check the path",
            )
        found |= {path.resolve(): path for path in below}
    yield from sorted(found.values())


def _below(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        if "metrics.csv" in files and "config.yaml" in files:
            folders.clear()  # a run holds no other runs, but thousands of files
            if "same_as.json" not in files:
                yield Path(place)


def read(folder: Path) -> Finished:
    """The run in `folder`; a summary that is not there yet is empty. Raises `InputError` for torn files."""
    summary = folder / "summary.json"
    return Finished(
        folder=folder,
        config=_yaml(folder / "config.yaml"),
        summary=read_json(summary) if summary.is_file() else {},
        rows=_rows(folder / "metrics.csv"),
        snapshots=_rows(folder / "snapshots.csv") if (folder / "snapshots.csv").is_file() else [],
    )


def _yaml(path: Path) -> dict[str, Any]:
    try:
        config = OmegaConf.to_container(OmegaConf.create(read_text(path)), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise InputError(path, one_line(error), "what piva.run wrote", "check the file") from None
    if not isinstance(config, dict):
        raise InputError(path, "a list", "what piva.run wrote", "check the file")
    return cast(dict[str, Any], config)


def _rows(path: Path) -> list[Row]:
    """An empty cell is no value: the key is left out."""
    rows = []
    for line, cells in enumerate(csv.DictReader(io.StringIO(read_text(path), newline="")), start=2):
        if "id" not in cells or None in cells:
            raise InputError(
                f"{path}, line {line}", "cells that do not fit the first line", "what piva.run wrote"
            )
        rows.append(
            {
                key: _value(key, text, f"{path}, line {line}: {key}")
                for key, text in cells.items()
                if text or key in WORDS
            }
        )
    return rows


def _value(key: str, text: str | None, where: str) -> str | float:
    if key in WORDS:
        return text or ""
    try:
        return float(text or "nan")
    except ValueError:
        raise InputError(where, repr(text), "a number") from None
