"""PIE-Bench in its original layout: mapping_file.json beside annotation_images/; pictures only, no scenes.

`toys` are generated on this machine in the same layout; beside it they have truth/{images,masks}/, the pictures as they should
come out and where they differ.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from piva.cache import cache_folder
from piva.datasets.files import as_kind, get, inside, read_json
from piva.datasets.images import image_size
from piva.datasets.prompts import check_prompts
from piva.datasets.rle import decode
from piva.datasets.select import select
from piva.errors import InputError
from piva.toys import pie, store
from piva.types import Edit

TYPES = (
    "random",
    "change object",
    "add object",
    "delete object",
    "change content",
    "change pose",
    "change colour",
    "change material",
    "change background",
    "change style",
)
REMEDY = "PIE-Bench is handed out through the form linked at github.com/cure-lab/PnPInversion; dataset.root=toys is drawn here"


@dataclass(frozen=True, kw_only=True)
class Pie:
    """Settings of the reader; conf/dataset/pie.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image",)
    root: str
    edits: Any

    def read(self) -> Iterator[Edit]:
        """The chosen edits in the order of the mapping file. Raises `InputError`."""
        root = _folder(self.root)
        path = root / "mapping_file.json"
        if not path.is_file():
            raise InputError("dataset.root", f"no mapping_file.json in {root}", "PIE-Bench's data folder", REMEDY)
        records = read_json(path)
        ids = list(records)
        return iter([_edit(root, ids[i], as_kind(records[ids[i]], dict, f"{path}: {ids[i]}")) for i in select(ids, self.edits)])


def _folder(name: str) -> Path:
    if name in store.SPLITS:
        return pie.ensure(cache_folder() / f"pie-{name}", store.SPLITS[name])
    return Path(name).expanduser()


def _edit(root: Path, name: str, record: dict[str, Any]) -> Edit:
    where = f"{root / 'mapping_file.json'}: {name}"
    inside(root, name, where)  # it names a folder of the results
    source, target = (_plain(get(record, key, str, where)) for key in ("original_prompt", "editing_prompt"))
    check_prompts(where, source, target)
    image = inside(root / "annotation_images", get(record, "image_path", str, where), f"{where}: image_path")
    kind = get(record, "editing_type_id", str, where)
    return Edit(
        id=name,
        source_prompt=source,
        target_prompt=target,
        type=TYPES[int(kind)] if kind in map(str, range(len(TYPES))) else kind,
        instruction=_plain(as_kind(record.get("editing_instruction", ""), str, f"{where}: editing_instruction")),
        image=image,
        mask=_mask_file(name, record, image_size(image), f"{where}: mask"),
        truth=root / "truth" if (root / "truth/images" / f"{image.stem}.png").is_file() else None,
    )


def _plain(prompt: str) -> str:
    """Without the brackets around the words that change."""
    return " ".join(prompt.replace("[", " ").replace("]", " ").split())


def _mask_file(name: str, record: dict[str, Any], size: tuple[int, int], where: str) -> Path:
    """The mask as a PNG of 0 and 255 in the cache: the dataset's folder is left as it is."""
    runs = _runs(record.get("mask"), where)
    width, height = size
    content = hashlib.sha256(repr((runs, size)).encode()).hexdigest()[:12]
    path = cache_folder() / "pie-masks" / f"{name}-{content}.png"
    if not path.is_file():
        mask = decode(runs, height, width)
        mask[[0, -1], :] = mask[:, [0, -1]] = True  # as PnPInversion's evaluation does
        temporary = path.with_name(f"{path.stem}-{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(temporary, "PNG")
            temporary.replace(path)
        except OSError as error:
            raise InputError(path.parent, error.strerror or str(error), "a writable cache", "set PIVA_CACHE to one") from None
    return path


def _runs(coded: Any, where: str) -> list[int]:
    """The numbers of a list, or of a text with blanks between them, as PIE-Bench++ has it."""
    numbers = coded.split() if isinstance(coded, str) else as_kind(coded, list, where)
    try:
        runs = [int(number) for number in numbers]
    except (TypeError, ValueError):
        raise InputError(where, "something else", "numbers: start, length, start, length, ...") from None
    if len(runs) % 2 or any(not 0 <= run < 2**40 for run in runs):
        raise InputError(where, f"{len(runs)} numbers from {min(runs)} to {max(runs)}", "pairs of start and length")
    return runs
