"""Benchmarks of scenes as records: id, path, source_prompt, target_prompt and perhaps instruction, type, truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from piva.datasets.edit import Capture, Edit
from piva.datasets.prompts import check_prompts
from piva.datasets.scene import front_view
from piva.datasets.select import select
from piva.errors import InputError
from piva.files import as_kind, get, inside, read_json


def read_records(
    path: Path, folder: Path, choice: Any, capture: Capture | None = None, *, shard: str | None = None
) -> Iterator[Edit]:
    """The edits of the file `path` that `choice` (dataset.edits) and `shard` name; their scenes and truths lie below `folder`.

    Raises `InputError` for whatever is missing or malformed in the chosen records and their cameras.
    """
    records = [
        as_kind(r, dict, f"{path}: records[{i}]")
        for i, r in enumerate(get(read_json(path), "records", list, path))
    ]
    ids = [get(record, "id", str, f"{path}: records[{i}]") for i, record in enumerate(records)]
    return iter(
        [_edit(folder, records[i], f"{path}: {ids[i]}", capture) for i in select(ids, choice, shard=shard)]
    )


def _edit(folder: Path, record: dict[str, Any], where: str, capture: Capture | None) -> Edit:
    source, target = (get(record, key, str, where) for key in ("source_prompt", "target_prompt"))
    check_prompts(where, source, target)
    inside(folder, record["id"], f"{where}: id")  # it names a folder of the results
    scene = inside(folder, get(record, "path", str, where), f"{where}: path")
    return Edit(
        id=record["id"],
        source_prompt=source,
        target_prompt=target,
        type=as_kind(record.get("type") or "", str, f"{where}: type"),
        instruction=as_kind(record.get("instruction") or "", str, f"{where}: instruction"),
        image=front_view(scene, capture),
        scene=scene,
        capture=capture,
        truth=_truth(folder, record, where),
    )


def _truth(folder: Path, record: dict[str, Any], where: str) -> Path | None:
    if not record.get("truth"):
        return None
    truth = inside(folder, get(record, "truth", str, where), f"{where}: truth")
    for part in ("images", "masks"):
        if not (truth / part).is_dir():
            raise InputError(
                f"{where}: truth", f"no folder {truth / part}", "images/ and masks/ of the edited object"
            )
    return truth
