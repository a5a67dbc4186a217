"""Benchmarks of scenes as records: id, path, source_prompt, target_prompt and perhaps instruction, type,
truth.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from piva.datasets.edit import Capture, Edit, check_prompts
from piva.datasets.scene import front_view
from piva.errors import InputError
from piva.files import as_kind, get, inside, read_json
from piva.ranges import select


def read_records(
    path: Path, folder: Path, choice: Any, capture: Capture | None = None, *, shard: str | None = None
) -> Iterator[Edit]:
    """Return the edits of the file `path` that `choice` (dataset.edits) and `shard` name; scenes and truths
    lie below `folder`.

    Raises `InputError` for whatever is missing or malformed in the chosen records and their cameras.
    """
    listed = get(read_json(path), "records", list, path)
    records = [as_kind(record, dict, f"{path}: records[{i}]") for i, record in enumerate(listed)]
    ids = [get(record, "id", str, f"{path}: records[{i}]") for i, record in enumerate(records)]
    chosen = select(ids, choice, shard=shard)
    return iter([_edit(folder, records[i], f"{path}: {ids[i]}", capture) for i in chosen])


def _edit(folder: Path, record: dict[str, Any], where: str, capture: Capture | None) -> Edit:
    source, target = (get(record, key, str, where) for key in ("source_prompt", "target_prompt"))
    check_prompts(where, source, target)
    inside(folder, record["id"], f"{where}: id")  # it names a folder of the results
    scene = inside(folder, get(record, "path", str, where), f"{where}: path")
    truth = None
    if record.get("truth"):
        truth = inside(folder, get(record, "truth", str, where), f"{where}: truth")
        for part in ("images", "masks"):
            if not (truth / part).is_dir():
                wanted = "images/ and masks/ of the edited object"
                raise InputError(f"{where}: truth", f"no folder {truth / part}", wanted)
    return Edit(
        id=record["id"],
        source_prompt=source,
        target_prompt=target,
        instruction=as_kind(record.get("instruction") or "", str, f"{where}: instruction"),
        type=as_kind(record.get("type") or "", str, f"{where}: type"),
        image=front_view(scene, capture),
        scene=scene,
        capture=capture,
        truth=truth,
    )
