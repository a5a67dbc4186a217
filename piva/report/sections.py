"""Which runs belong in one table, and which of their settings differ.

A section holds runs of one task on one dataset with one prior, measured by one set of networks: other numbers
cannot be compared. A row of it is a setting: runs with equal settings form one, of any edits and seeds.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from piva.config import PARTS, RunSettings
from piva.files import get
from piva.runs.run import Row, Run, one_set_of_networks

APART = {"dataset", "prior", "metrics", "tracker"}  # groups that make the section, or that change no number
NO_SETTING = {
    "seed",
    "device",
    "measure_at",
    "checkpoint_every",
    "batch",
    "speed",
    "passes",
}  # the run's own keys that make no other row
WHICH_EDITS = {"_target_", "root", "path", "edits", "shard", "types", "source", "target", "prompts"}


PASSES = "cost/passes"


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
    """A row of the tables: a score, its lambda, and what else differs in the section.

    `told` are those of the others that tell it from the section's other settings of its score, in words.
    """

    score: str
    lam: float | None
    others: tuple[tuple[str, Any], ...]
    told: tuple[tuple[str, str], ...]
    measured: dict[EditKey, dict[int, Measured]]  # by edit and seed
    snapshots: dict[int, dict[EditKey, list[Row]]]  # by step

    @property
    def label(self) -> str:
        title = self.score if self.lam is None else f"{self.score} λ {self.lam:g}"
        return ", ".join([title, *(f"{name} {value}" for name, value in self.told)])

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for seeds in self.measured.values() for seed in seeds})

    def values(self, key: str) -> dict[EditKey, dict[int, float]]:
        """Return a metric's value by edit and seed, where it has one."""
        found = {
            edit: {s: row[key] for s, (row, _) in seeds.items() if not math.isnan(row.get(key, math.nan))}
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
        """Return every edit that some setting measured, and its type."""
        return {
            edit: str(next(iter(seeds.values())).row["type"])
            for setting in self.settings
            for edit, seeds in setting.measured.items()
        }

    def has(self, key: str) -> bool:
        """Tell whether any row has this metric."""
        return any(setting.values(key) for setting in self.settings)


def sections(runs: Iterable[Run]) -> list[Section]:
    """Return the runs in groups that can be compared, in the order of their titles."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[json.dumps(_common(run), sort_keys=True)].append(run)
    return sorted((_section(group) for group in groups.values()), key=lambda section: section.title)


def _common(run: Run) -> dict[str, Any]:
    """Return what all runs of a section have in common."""
    where = run.folder / "config.yaml"
    task, dataset, prior = (get(run.config, part, dict, where) for part in ("task", "dataset", "prior"))
    for key in ("seed", "steps"):
        get(run.config, key, int, where)
    return {
        "task": task["_target_"],
        "dataset": dataset["_target_"],
        "root": dataset.get("root"),
        "prior": {key: value for key, value in prior.items() if value is not None},
        "networks": run.summary["metric_networks"],
    }


def _section(runs: list[Run]) -> Section:
    first = _common(runs[0])
    networks = one_set_of_networks(runs)
    task, dataset = _name(first["task"]).removesuffix("Task").lower(), _name(first["dataset"]).lower()
    where = f"{dataset} ({Path(first['root']).name})" if first["root"] else dataset
    prior = str(first["prior"].get("path"))

    def listed(part: str, key: str) -> str:
        return ", ".join(sorted({str(word) for run in runs if (word := run.summary.get(part, {}).get(key))}))

    facts = {
        "task": task,
        "dataset": where,
        "prior": prior,
        "profile": listed("choices", "profile"),
        "metric networks": ", ".join(f"{name}: {what}" for name, what in networks.items()) or "none",
        "commit": listed("provenance", "commit"),
        "device": listed("provenance", "device"),
        "GPU": listed("provenance", "gpu"),
        "runs": str(len(runs)),
    }
    measured_by = networks.get("clip", "pixels")
    read_by = "the toys' own CLIP" if measured_by.startswith("toys-clip") else measured_by
    what = {"image": "pictures", "nerf": "NeRFs"}.get(task, task)
    title = f"Edited {what}: {where}, prior {Path(prior).name}, measured by {read_by}"
    return Section(title, {name: fact for name, fact in facts.items() if fact}, _settings(runs))


def _settings(runs: list[Run]) -> list[Setting]:
    flat = [_what_matters(run) for run in runs]
    seen: dict[str, set[str]] = defaultdict(set)
    for each in flat:
        for key, value in each.items():
            seen[key].add(json.dumps(value))
    score = ("score._target_", "score.lam")
    differing = [key for key, values in seen.items() if len(values) > 1 and key not in score]
    short = _short(differing)
    groups: dict[str, list[int]] = defaultdict(list)
    for i, each in enumerate(flat):
        groups[json.dumps([each.get(key) for key in (*score, *differing)])].append(i)
    rivals: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for members in groups.values():
        rivals[flat[members[0]]["score._target_"]].append(flat[members[0]])
    told = {target: _telling(same_score, differing) for target, same_score in rivals.items()}
    settings = []
    for members in groups.values():
        each, own = flat[members[0]], [runs[i] for i in members]
        target, lam = each["score._target_"], each.get("score.lam")
        values = {short[key]: each[key] for key in differing if key in each}
        others = tuple((name, str(v) if isinstance(v, list) else v) for name, v in values.items())
        words = tuple(_words(key, short[key], each[key]) for key in told[target] if key in each)
        settings.append(Setting(_name(target), lam, others, words, _measured(own), _snapshots(own)))
    return sorted(settings, key=_order)


def _telling(settings: list[dict[str, Any]], keys: list[str]) -> list[str]:
    """Return the keys that tell settings of one score apart: kinds of parts first, needless ones left out."""
    kept = ["score.lam"]

    def parts(keys: list[str]) -> int:
        return len({json.dumps([each.get(key) for key in keys]) for each in settings})

    for key in sorted(keys, key=lambda key: not key.endswith("_target_")):
        kept += [key] if parts([*kept, key]) > parts(kept) else []
    return kept[1:]


def _words(key: str, short: str, value: Any) -> tuple[str, str]:
    """Return `schedule`, `Descending` of the schedule's `_target_`, name and value of another key."""
    kind = key.endswith("._target_")
    return (key.removesuffix("._target_"), _name(value)) if kind else (short, str(value))


def _what_matters(run: Run) -> dict[str, Any]:
    """Return the flat settings that change a run's numbers: the run's own keys and its parts'.

    Other keys, as `lambda` or `field`, are there for the parts to take their values from. A run that trained
    nothing read no `model`. Samples are only looked at.
    """
    trained = run.summary.get("unet", {}).get("backward_per_step", 0) > 0
    own = {field.name for field in fields(RunSettings) if not field.name.startswith("samples")}
    names = (own | set(PARTS)) - NO_SETTING - APART - {"method"} - (set() if trained else {"model"})
    dataset = {key: value for key, value in run.config["dataset"].items() if key not in WHICH_EDITS}
    config = {name: value for name, value in run.config.items() if name in names}
    if run.approach != config["score"]:  # a method without a score, nor what goes with one
        config = {**config, "score": run.approach, "schedule": {}, "regulariser": {}}
    return _flat(config | {"dataset": dataset})


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}.{name}".strip(".")
        flat |= _flat(value, key) if isinstance(value, dict) else {key: value}
    return flat


def _measured(runs: list[Run]) -> dict[EditKey, dict[int, Measured]]:
    """Return rows by edit and seed; of an edit in two runs of one seed the later folder's, an equal one.

    Edits are sorted, so that the sums over shards are those over the whole run, bit for bit.
    """
    measured: dict[EditKey, dict[int, Measured]] = defaultdict(dict)
    for run in runs:
        for row in run.rows:
            measured[_key(row)][int(run.config["seed"])] = Measured({**row, **_cost(run)}, run)
    return dict(sorted(measured.items()))


def _cost(run: Run) -> Row:
    """Return the rows through the U-Net, forward and backward, that an edit of the run took."""
    unet = run.summary.get("unet", {})
    a_step = [unet.get(f"{way}_per_step", 0.0) for way in ("forward", "backward")]
    return {PASSES: sum(a_step) * run.config["steps"]} if unet else {}


def _snapshots(runs: list[Run]) -> dict[int, dict[EditKey, list[Row]]]:
    """Return what was measured on the way, and at the end; of edits that ended."""
    steps: dict[int, dict[EditKey, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        keys, seed = {row["id"]: _key(row) for row in run.rows}, int(run.config["seed"])
        last = [{**row, "step": run.config["steps"]} for row in run.rows] if run.snapshots else []
        for row in [*run.snapshots, *last]:
            if row["id"] in keys:
                steps[int(row["step"])][keys[row["id"]]][seed] = row
    return {
        step: {edit: list(rows.values()) for edit, rows in sorted(edits.items())}
        for step, edits in sorted(steps.items())
    }


def _key(row: Row) -> EditKey:
    return EditKey(row["id"], row["source_prompt"], row["target_prompt"])


def _short(keys: list[str]) -> dict[str, str]:
    """Return keys without their group where that says enough."""
    ends = [_name(key) for key in keys]
    short = {
        key: end for key, end in zip(keys, ends, strict=True) if ends.count(end) == 1 and end != "_target_"
    }
    return {key: short.get(key, key) for key in keys}


def _name(dotted: str) -> str:
    return dotted.rsplit(".", 1)[-1]


def _order(setting: Setting) -> tuple[Any, ...]:
    """Sort by score, then by the other settings, then by lambda; numbers as numbers."""
    others = [(n, (0, v) if isinstance(v, int | float) else (1, str(v))) for n, v in setting.others]
    return (setting.score, others, -1.0 if setting.lam is None else setting.lam)
