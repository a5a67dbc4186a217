"""One run out of its shards: `python -m piva.runs.merge OUT FOLDER...`.

OUT is what the run without dataset.shard would have left: the same summary, tables and edits, byte for byte.
"""

import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from piva.cli import run_cli
from piva.errors import InputError
from piva.runs.fingerprint import RECORD, Identity, differing, read_record
from piva.runs.folder import EditResult, RunFolder, one_set_of_networks, writing
from piva.runs.summary import ABOUT, summarise
from piva.runs.sweep import describe


@dataclass(frozen=True)
class Shard:
    """A finished run of one part of the edits."""

    folder: Path
    record: dict[str, Any]  # of run.json
    summary: dict[str, Any]

    @property
    def part(self) -> tuple[int, int]:
        i, n = self.record["identity"]["dataset"]["shard"].split("/")
        return int(i), int(n)


def merge(out: Path, folders: Sequence[Path]) -> Path:
    """Make `out` of the shards in `folders`, whose files are linked where the disk allows it, and return it.

    Raises `InputError` if one is not finished, if one is missing or there twice, if they differ in a setting or in the networks
    of the metrics, and if `out` is there already.
    """
    if out.exists():
        raise InputError(out, "something there already", "a new folder")
    shards = sorted((_read(folder) for folder in folders), key=lambda shard: shard.part)
    _check(shards)
    ids = _round_robin([[edit[0] for edit in shard.record["identity"]["edits"]] for shard in shards])
    home = {edit[0]: shard.folder for shard in shards for edit in shard.record["identity"]["edits"]}
    temporary = out.with_name(f".{out.name}.tmp")
    with writing(out):
        shutil.rmtree(temporary, ignore_errors=True)
        folder = RunFolder(temporary)
        for name in ids:
            shutil.copytree(home[name] / "edits" / name, temporary / "edits" / name, copy_function=_link)
        _write(folder, shards, ids)
        temporary.rename(out)
    return out


def _read(folder: Path) -> Shard:
    record = read_record(folder)
    if record is None:
        raise InputError(folder, f"no {RECORD}", "the folder of a run")
    if record["identity"]["dataset"].get("shard") is None:
        raise InputError(folder, "a run of all its edits", "one with dataset.shard")
    job = describe(folder)
    if not job.ok:
        raise InputError(
            folder,
            f"a run that is not finished ({job.status})",
            "finished ones",
            f"resume={folder} goes on with it",
        )
    return Shard(folder, record, json.loads((folder / "summary.json").read_text()))


def _check(shards: Sequence[Shard]) -> None:
    if not shards:
        raise InputError("folders", "none", "python -m piva.runs.merge OUT FOLDER...")
    first, wanted = shards[0], _whole(shards[0].record["identity"])
    for shard in shards[1:]:
        if difference := differing(_whole(shard.record["identity"]), wanted):
            raise InputError(
                shard.folder, *difference, f"as in {first.folder}: merge runs of the same settings alone"
            )
    one_set_of_networks(shard.folder for shard in shards)
    count = first.part[1]
    found = [shard.part for shard in shards]
    if found != [(i, count) for i in range(1, count + 1)]:
        names = ", ".join(f"{i}/{n}" for i, n in found)
        raise InputError("folders", f"the shards {names}", f"each of 1/{count} to {count}/{count} once")


def _write(folder: RunFolder, shards: Sequence[Shard], ids: Sequence[str]) -> None:
    first = shards[0]
    results = [result for name in ids if (result := EditResult.read(folder.path / "edits" / name))]
    timings = [json.loads((shard.folder / "timing.json").read_text()) for shard in shards]
    cost = {name: max(timing[name] for timing in timings) for name in ("peak_gb", "threads")}
    folder.write_tables(results, cost)
    about = {key: first.summary[key] for key in ABOUT} | {
        "provenance": _joined([s.summary["provenance"] for s in shards])
    }
    folder.write_json("summary.json", summarise(results, {}, about))
    lines: dict[str, list[str]] = defaultdict(list)
    for shard in shards:
        for line in (shard.folder / "metrics.jsonl").read_text().splitlines(keepends=True):
            lines[json.loads(line)["edit"]].append(line)
    folder.write_text("metrics.jsonl", "".join(line for name in ids for line in lines[name]))
    config = OmegaConf.load(first.folder / "config.yaml")
    config.dataset.shard = None
    folder.write_text("config.yaml", OmegaConf.to_yaml(config))
    words = [word for word in first.record["words"] if not word.startswith("dataset.shard=")]
    edits = {edit[0]: edit for shard in shards for edit in shard.record["identity"]["edits"]}
    identity = _whole(first.record["identity"]) | {"edits": [edits[name] for name in ids]}
    folder.write_json(RECORD, {"words": words, "identity": identity})


def _whole(identity: Identity) -> Identity:
    """The settings of the run that a shard is a part of."""
    return identity | {"dataset": identity["dataset"] | {"shard": None}, "edits": []}


def _round_robin(parts: Sequence[Sequence[str]]) -> list[str]:
    """The order in which `select` dealt the edits out."""
    longest = max(map(len, parts))
    return [part[i] for i in range(longest) for part in parts if i < len(part)]


def _joined(provenances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the numbers come from; what differs between machines, side by side."""
    joined = {key: list(dict.fromkeys(p[key] for p in provenances)) for key in provenances[0]}
    return {
        key: values[0] if len(values) == 1 else " / ".join(map(str, values)) for key, values in joined.items()
    }


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that knows no links
        shutil.copy2(source, target)


def main() -> None:
    """The command line; a finished merge is named on stdout."""
    words = sys.argv[1:]

    def start() -> None:
        if len(words) < 2 or any(word.startswith("-") for word in words):
            raise InputError("python -m piva.runs.merge", " ".join(words) or "nothing", "OUT FOLDER...")
        sys.stdout.write(f"{merge(Path(words[0]), [Path(word) for word in words[1:]])}\n")

    run_cli(start)


if __name__ == "__main__":
    main()
