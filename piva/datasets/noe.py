"""Noe: objects seen from all sides, each with edits of its texture, its parts and its kind; `toys` is generated on this machine.

- <root>/noe/benchmark.json: records of id, path, source_prompt, target_prompt and perhaps instruction, type, truth
- <root>/noe/<path>/: a scene with transforms.json (or NeRF-synthetic's files) and its pictures
- <root>/noe/<truth>/{images,masks}/: the edited object at the scene's test frames, where the right answer is known
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from piva.cache import cache_folder
from piva.datasets.files import as_kind, get, inside, read_json
from piva.datasets.prompts import check_prompts
from piva.datasets.select import select
from piva.datasets.views import front_view
from piva.errors import InputError
from piva.toys import noe, store
from piva.types import Edit


@dataclass(frozen=True, kw_only=True)
class Noe:
    """Settings of the reader; conf/dataset/noe.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image", "scene")
    root: str
    edits: Any

    def read(self) -> Iterator[Edit]:
        """The chosen edits. Raises `InputError` for whatever is missing or malformed in their records and cameras."""
        folder = _folder(self.root)
        path = folder / "benchmark.json"
        records = [as_kind(r, dict, f"{path}: records[{i}]") for i, r in enumerate(get(read_json(path), "records", list, path))]
        ids = [get(record, "id", str, f"{path}: records[{i}]") for i, record in enumerate(records)]
        return iter([_edit(folder, records[i], f"{path}: {ids[i]}") for i in select(ids, self.edits)])


def _folder(name: str) -> Path:
    if name in store.SPLITS:
        return noe.ensure(cache_folder() / f"noe-{name}", store.SPLITS[name])
    root = Path(name).expanduser()
    for folder in (root / "noe", root):
        if (folder / "benchmark.json").is_file():
            return folder
    remedy = "dataset.root=toys is generated here and needs no download"
    raise InputError("dataset.root", f"no benchmark.json in {root} or {root / 'noe'}", "a folder in Noe's format", remedy)


def _edit(folder: Path, record: dict[str, Any], where: str) -> Edit:
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
        image=front_view(scene),
        scene=scene,
        truth=_truth(folder, record, where),
    )


def _truth(folder: Path, record: dict[str, Any], where: str) -> Path | None:
    if not record.get("truth"):
        return None
    truth = inside(folder, get(record, "truth", str, where), f"{where}: truth")
    for part in ("images", "masks"):
        if not (truth / part).is_dir():
            raise InputError(f"{where}: truth", f"no folder {truth / part}", "images/ and masks/ of the edited object")
    return truth
