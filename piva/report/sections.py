"""Which runs belong in one table, and which of their settings differ.

A section holds runs of one task on one dataset with one prior, measured by one set of networks: other numbers cannot be compared.
In it a row is a setting: run folders with equal settings form one, whatever edits (shards) and seeds they hold.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from piva.config import PARTS, RunSettings
from piva.runs.run import Row, Run, one_set_of_networks

APART = ("dataset", "prior", "metrics", "tracker")  # groups that make the section, or that change no number
NO_SETTING = (
    "seed",
    "device",
    "measure_at",
    "checkpoint_every",
    "samples",
)  # of the run's own keys
WHICH_EDITS = ("root", "path", "edits", "shard", "types", "source", "target", "prompts")  # keys of a dataset


class EditKey(NamedTuple):
    """One edit, in any run: an id may stand for other prompts in another run of dataset=single."""

    id: str
    source: str
    target: str


class Measured(NamedTuple):
    """What one run measured of one edit."""

    row: Row
    run: Run


@dataclass(frozen=True)
class Setting:
    """A row of the tables: a score, its lambda, and what else tells it from the section's other settings."""

    score: str
    lam: float | None
    others: tuple[tuple[str, Any], ...]
    measured: dict[EditKey, dict[int, Measured]]  # by edit and seed
    snapshots: dict[int, dict[EditKey, list[Row]]]  # by step

    @property
    def label(self) -> str:
        return ", ".join([self.title, *(f"{name} {value}" for name, value in self.others)])

    @property
    def title(self) -> str:
        return self.score if self.lam is None else f"{self.score} λ {self.lam:g}"

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for seeds in self.measured.values() for seed in seeds})

    def values(self, key: str) -> dict[EditKey, dict[int, float]]:
        """A metric's value by edit and seed, where it has one."""
        found = {
            edit: {
                seed: row[key] for seed, (row, _) in seeds.items() if not math.isnan(row.get(key, math.nan))
            }
            for edit, seeds in self.measured.items()
        }
        return {edit: seeds for edit, seeds in found.items() if seeds}


@dataclass(frozen=True)
class Section:
    """Runs that can be compared; `facts` says what they have in common, by name."""

    title: str
    facts: dict[str, str]
    settings: list[Setting]

    @property
    def edits(self) -> dict[EditKey, str]:
        """Every edit that some setting measured, and its type."""
        return {
            edit: str(next(iter(seeds.values())).row["type"])
            for setting in self.settings
            for edit, seeds in setting.measured.items()
        }

    def has(self, key: str) -> bool:
        """Whether any row has this metric."""
        return any(setting.values(key) for setting in self.settings)


def sections(runs: Iterable[Run]) -> list[Section]:
    """The runs in groups that can be compared, in the order of their titles."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[json.dumps(_world(run), sort_keys=True)].append(run)
    return sorted((_section(group) for group in groups.values()), key=lambda section: section.title)


def _world(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "task": config["task"]["_target_"],
        "dataset": config["dataset"]["_target_"],
        "root": config["dataset"].get("root"),
        "prior": {
            key: value for key, value in config["prior"].items() if value is not None
        },  # as if it were not there
        "networks": run.summary["metric_networks"],
    }


def _section(runs: list[Run]) -> Section:
    first = _world(runs[0])
    networks = one_set_of_networks(runs)
    task, dataset = _name(first["task"]).removesuffix("Task").lower(), _name(first["dataset"]).lower()
    where = f"{dataset} ({Path(first['root']).name})" if first["root"] else dataset
    prior = str(first["prior"].get("path"))
    sources = [run.summary.get("provenance", {}) for run in runs]
    profiles = [run.summary.get("choices", {}).get("profile") for run in runs]
    facts = {
        "task": task,
        "dataset": where,
        "prior": prior,
        "profile": _listed(profiles),
        "metric networks": ", ".join(f"{name}: {what}" for name, what in networks.items()) or "none",
        "commit": _listed([source.get("commit") for source in sources]),
        "device": _listed([source.get("device") for source in sources]),
        "runs": str(len(runs)),
    }
    title = f"{task}, {where}, prior {Path(prior).name}, judged by {networks.get('clip', 'pixels')}"
    return Section(title, {name: fact for name, fact in facts.items() if fact}, _settings(runs))


def _settings(runs: list[Run]) -> list[Setting]:
    flat = [_what_matters(run) for run in runs]
    seen: dict[str, set[str]] = defaultdict(set)
    for each in flat:
        for key, value in each.items():
            seen[key].add(json.dumps(value))
    differing = [
        key for key, values in seen.items() if len(values) > 1 and key not in ("score._target_", "score.lam")
    ]
    short = _short(differing)
    groups: dict[str, list[int]] = defaultdict(list)
    for i, each in enumerate(flat):
        groups[json.dumps([each.get(key) for key in ("score._target_", "score.lam", *differing)])].append(i)
    settings = []
    for members in groups.values():
        each = flat[members[0]]
        others = tuple((short[key], _hashable(each[key])) for key in differing if key in each)
        own = [runs[i] for i in members]
        settings.append(
            Setting(
                _name(each["score._target_"]), each.get("score.lam"), others, _measured(own), _snapshots(own)
            )
        )
    return sorted(settings, key=_order)


def _what_matters(run: Run) -> dict[str, Any]:
    """The flat settings that change a run's numbers: of what stands at the top what the run itself reads, and its parts.

    The rest, as `lambda` or `field`, is there for the parts to take their values from. What trained nothing read no `model`.
    """
    top = {field.name for field in fields(RunSettings)} - set(NO_SETTING)
    trained = run.summary.get("unet", {}).get("backward_per_step", 0) > 0
    parts = {part for part in PARTS if part not in APART and (part != "model" or trained)}
    kept: dict[str, Any] = {}
    for name, value in run.config.items():
        if name == "dataset":
            kept |= {f"dataset.{key}": v for key, v in value.items() if key not in (*WHICH_EDITS, "_target_")}
        elif name in parts:
            kept |= _flat(value, name)
        elif name in top:
            kept[name] = value
    return kept


def _flat(node: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flat(value, f"{prefix}.{name}") if isinstance(value, dict) else {f"{prefix}.{name}": value}
    return flat


def _measured(runs: list[Run]) -> dict[EditKey, dict[int, Measured]]:
    """Of an edit that stands in two runs of one seed the later folder counts: it is the same number again, not another."""
    measured: dict[EditKey, dict[int, Measured]] = defaultdict(dict)
    for run in runs:
        for row in run.rows:
            measured[_key(row)][int(run.config["seed"])] = Measured(row, run)
    return dict(measured)


def _snapshots(runs: list[Run]) -> dict[int, dict[EditKey, list[Row]]]:
    """What was measured on the way, and at the end; of edits that ended."""
    steps: dict[int, dict[EditKey, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        keys, seed = {row["id"]: _key(row) for row in run.rows}, int(run.config["seed"])
        last = [{**row, "step": run.config["steps"]} for row in run.rows] if run.snapshots else []
        for row in [*run.snapshots, *last]:
            if row["id"] in keys:
                steps[int(row["step"])][keys[row["id"]]][seed] = row
    return {
        step: {edit: list(rows.values()) for edit, rows in edits.items()}
        for step, edits in sorted(steps.items())
    }


def _key(row: Row) -> EditKey:
    return EditKey(row["id"], row["source_prompt"], row["target_prompt"])


def _short(keys: list[str]) -> dict[str, str]:
    """Keys without their group where that says enough."""
    ends = [re.sub(r".*\.", "", key) for key in keys]
    return {
        key: end if ends.count(end) == 1 and end != "_target_" else key
        for key, end in zip(keys, ends, strict=True)
    }


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value


def _name(target: str) -> str:
    return target.rsplit(".", 1)[-1]


def _listed(words: Iterable[Any]) -> str:
    return ", ".join(sorted({str(word) for word in words if word}))


def _order(setting: Setting) -> tuple[Any, ...]:
    """By score, then by the other settings, then by lambda; numbers as numbers."""
    others = tuple(
        (name, (0, value) if isinstance(value, int | float) else (1, str(value)))
        for name, value in setting.others
    )
    return (setting.score, others, -1.0 if setting.lam is None else setting.lam)
