"""Noe: objects seen from all sides, with edits of their texture, parts and kind; `toys` are rendered on this
machine.

- <root>/noe/benchmark.json: records of id, path, source_prompt, target_prompt and perhaps type, truth
- <root>/noe/<path>/: a scene with transforms.json (or NeRF-synthetic's files) and its pictures
- <root>/noe/<truth>/{images,masks}/: the edited object at the scene's test frames, where the right answer is
known
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from piva.datasets.edit import Edit
from piva.datasets.records import read_records
from piva.errors import InputError
from piva.files import cache_folder, user_path
from piva.toys import noe
from piva.toys.noe import ROOTS


@dataclass(frozen=True, kw_only=True)
class Noe:
    """Settings of the reader; conf/dataset/noe.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image", "scene")
    root: str
    edits: Any
    shard: str | None = None

    def read(self) -> Iterator[Edit]:
        """Return the chosen edits. Raises `InputError` for whatever is missing or malformed in their records
        and cameras.
        """
        folder = _folder(self.root)
        return read_records(folder / "benchmark.json", folder, self.edits, shard=self.shard)


def _folder(name: str) -> Path:
    if name in ROOTS:
        return noe.ensure(cache_folder() / f"noe-{name}", ROOTS[name])
    root = user_path(name, "dataset.root")
    for folder in (root / "noe", root):
        if (folder / "benchmark.json").is_file():
            return folder
    remedy = "dataset.root=toys is generated here and needs no download"
    found = f"no benchmark.json in {root} or {root / 'noe'}"
    raise InputError("dataset.root", found, "a folder in Noe's format", remedy)
