"""PIE-Bench in its original layout, PIE-Bench++ in its parquet files, and the toys in the former; pictures only, no scenes.

`toys` are generated on this machine; beside the rest they have truth/{images,masks}/, the pictures as they should come out and
where they differ.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piva.datasets import pie_json, pie_parquet
from piva.datasets.edit import Edit
from piva.datasets.pie_listing import Listing
from piva.datasets.prompts import check_prompts
from piva.datasets.rle import decode
from piva.datasets.select import select
from piva.errors import InputError
from piva.files import as_kind, cache_folder, get, kept
from piva.images import image_size
from piva.toys import pie, store

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
SIZE = (512, 512)  # of every picture, and what the masks are coded for
REMEDY = "PIE-Bench is handed out through the form linked at github.com/cure-lab/PnPInversion; dataset.root=toys is drawn here"


@dataclass(frozen=True, kw_only=True)
class Pie:
    """Settings of the reader; conf/dataset/pie.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image",)
    root: str
    types: list[int]
    edits: Any
    shard: str | None = None

    def read(self) -> Iterator[Edit]:
        """The chosen edits in the order of the files. Raises `InputError`."""
        if not self.types or not set(self.types) <= set(range(len(TYPES))):
            raise InputError(
                "dataset.types", str(self.types), f"a list of numbers from 0 to {len(TYPES) - 1}"
            )
        root = _folder(self.root)
        listing = _listing(root)
        wanted = [i for i, kind in enumerate(listing.types) if kind in self.types]
        if not wanted:
            there = ", ".join(map(str, sorted(set(listing.types)))) or "none"
            raise InputError("dataset.types", str(self.types), f"types that {root} has: {there}")
        chosen = select([listing.ids[i] for i in wanted], self.edits, shard=self.shard)
        return iter([_edit(root, listing, wanted[i]) for i in chosen])


def _folder(name: str) -> Path:
    if name in store.SPLITS:
        return pie.ensure(cache_folder() / f"pie-{name}", store.SPLITS[name])
    root = Path(name).expanduser()
    return root / "data" if (root / "data/mapping_file.json").is_file() else root


def _listing(root: Path) -> Listing:
    if (root / "mapping_file.json").is_file():
        return pie_json.read(root)
    if tables := sorted(root.rglob("*.parquet")):
        return pie_parquet.read(tables)
    raise InputError(
        "dataset.root", f"no mapping_file.json and no *.parquet in {root}", "PIE-Bench's data folder", REMEDY
    )


def _edit(root: Path, listing: Listing, index: int) -> Edit:
    where, name = listing.where[index], listing.ids[index]
    record, image = listing.open(index)
    source, target = (_plain(get(record, key, str, where)) for key in ("original_prompt", "editing_prompt"))
    check_prompts(where, source, target)
    truth = root / "truth/images" / f"{image.stem}.png"
    size, wanted = image_size(image), image_size(truth) if truth.is_file() else SIZE
    if size != wanted:
        remedy = "use the pictures as they were handed out: the masks are coded for that size"
        raise InputError(
            f"{where}: {image.name}", f"{size[0]}x{size[1]} pixels", f"{wanted[0]}x{wanted[1]}", remedy
        )
    return Edit(
        id=name,
        source_prompt=source,
        target_prompt=target,
        type=TYPES[listing.types[index]],
        instruction=_plain(_text(record, "editing_instruction", where)),
        blended_word=_text(record, "blended_word", where),
        image=image,
        mask=_mask_file(name, _mask(record, size, f"{where}: mask")),
        truth=root / "truth" if truth.is_file() else None,
    )


def _text(record: dict[str, Any], key: str, where: str) -> str:
    return as_kind(record.get(key) or "", str, f"{where}: {key}")


def _plain(prompt: str) -> str:
    """Without the brackets around the words that change."""
    return " ".join(prompt.replace("[", " ").replace("]", " ").split())


def _mask(record: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(height, width), true where the picture is meant to change, and on its outermost pixels as in PnPInversion's evaluation.

    The runs are a list of numbers, or a text of them with blanks between, as PIE-Bench++ has it.
    """
    if "mask" not in record:
        raise InputError(where, "nothing", "a list of numbers", "add this key")
    numbers = (
        record["mask"].split() if isinstance(record["mask"], str) else as_kind(record["mask"], list, where)
    )
    try:
        runs = [int(str(number)) for number in numbers]  # by way of text: neither 1.5 nor true is one
    except ValueError:
        raise InputError(where, "something else", "numbers: start, length, start, length, ...") from None
    width, height = size
    if len(runs) % 2 or min(runs, default=0) < 0:
        raise InputError(where, f"{len(runs)} numbers, the least {min(runs)}", "pairs of start and length")
    end = max((start + length for start, length in zip(runs[::2], runs[1::2], strict=True)), default=0)
    if end > width * height:
        raise InputError(
            where, f"a run to pixel {end}", f"at most {width * height}, the picture's {width}x{height}"
        )
    mask = decode(runs, height, width)
    mask[[0, -1], :] = mask[:, [0, -1]] = True
    return mask


def _mask_file(name: str, mask: NDArray[np.bool_]) -> Path:
    """The mask as a PNG of 0 and 255 in the cache: the dataset's folder is left as it is."""
    png = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(png, "PNG")
    return kept("pie-masks", name, ".png", png.getvalue())
