"""PIE-Bench in its original layout, PIE-Bench++ in its parquet files, and the toys in the former; pictures
only.

`toys` are rendered on this machine, with truth/{images,masks}/: the true edited pictures and where they
differ. PIE-Bench++ (UB-CVML-Group/PIE_Bench_pp) has one folder per editing type, of parquet files that hold
the pictures too. Their columns: id, image {bytes, path}, source_prompt, target_prompt, edit_action,
aspect_mapping, blended_words, mask (text).
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piva.datasets.edit import Edit, check_prompts
from piva.errors import InputError, one_line
from piva.files import as_kind, cache_file, cache_folder, get, inside, read_json, user_path
from piva.images import decode_runs, image_size
from piva.ranges import select
from piva.toys import pie
from piva.toys.noe import ROOTS

if TYPE_CHECKING:
    import pyarrow

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
REMEDY = (
    "PIE-Bench is handed out through the form linked at github.com/cure-lab/PnPInversion; "
    "dataset.root=toys is drawn here"
)
# PIE-Bench++'s columns and the keys of mapping_file.json that they stand for.
KEYS = {"source_prompt": "original_prompt", "target_prompt": "editing_prompt", "mask": "mask"}


@dataclass(frozen=True)
class Entry:
    """An entry before its picture is looked at, the same for both layouts."""

    id: str
    type: int  # 0 to 9
    where: str  # how errors name it
    open: Callable[[], tuple[dict[str, Any], Path]]  # -> record with the keys of mapping_file.json, picture


@dataclass(frozen=True, kw_only=True)
class Pie:
    """Settings of the reader; conf/dataset/pie.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image",)
    root: str
    types: list[int]
    edits: Any
    shard: str | None = None

    def read(self) -> Iterator[Edit]:
        """Return the chosen edits in the order of the files. Raises `InputError`."""
        if not self.types or not set(self.types) <= set(range(len(TYPES))):
            wanted = f"a list of numbers from 0 to {len(TYPES) - 1}"
            raise InputError("dataset.types", str(self.types), wanted)
        root = _folder(self.root)
        entries = _entries(root)
        chosen = [entry for entry in entries if entry.type in self.types]
        if not chosen:
            there = ", ".join(map(str, sorted({entry.type for entry in entries}))) or "none"
            raise InputError("dataset.types", str(self.types), f"types that {root} has: {there}")
        indices = select([entry.id for entry in chosen], self.edits, shard=self.shard)
        return iter([_edit(root, chosen[i]) for i in indices])


def _folder(name: str) -> Path:
    if name in ROOTS:
        return pie.ensure(cache_folder() / f"pie-{name}", ROOTS[name])
    root = user_path(name, "dataset.root")
    return root / "data" if (root / "data/mapping_file.json").is_file() else root


def _entries(root: Path) -> list[Entry]:
    if (root / "mapping_file.json").is_file():
        return _original(root)
    if tables := sorted(root.rglob("*.parquet")):
        return [entry for path in tables for entry in _parquet(path)]
    found = f"no mapping_file.json and no *.parquet in {root}"
    raise InputError("dataset.root", found, "PIE-Bench's data folder", REMEDY)


def _original(root: Path) -> list[Entry]:
    """Return the entries of mapping_file.json (id -> record), whose pictures are in annotation_images/."""
    path = root / "mapping_file.json"

    def entry(name: str, value: Any) -> Entry:
        where = f"{path}: {name}"
        record = as_kind(value, dict, where)

        def open_entry() -> tuple[dict[str, Any], Path]:
            image = get(record, "image_path", str, where)
            return record, inside(root / "annotation_images", image, f"{where}: image_path")

        type_ = _type(get(record, "editing_type_id", str, where), f"{where}: editing_type_id")
        inside(root, name, f"{where}: id")  # it names a folder of the results
        return Entry(name, type_, where, open_entry)

    return [entry(name, value) for name, value in read_json(path).items()]


def _parquet(path: Path) -> list[Entry]:
    """Return the entries of one file of PIE-Bench++; the first digit of its folder or of its name is the
    type.
    """
    table = _table(path)
    type_ = _type(_type_digit(path), path)

    def entry(index: int, name: str) -> Entry:
        where = f"{path}: {name}"

        def open_entry() -> tuple[dict[str, Any], Path]:
            row = {key: table[column][index].as_py() for column, key in KEYS.items()}
            image = table["image"][index].as_py()
            content = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(content, bytes):
                raise InputError(f"{where}: image", "no bytes", "the bytes of a JPEG or PNG")
            return row, cache_file("pie-images", name, ".jpg", content)

        inside(path, name, f"{where}: id")
        return Entry(name, type_, where, open_entry)

    return [entry(index, str(name)) for index, name in enumerate(table["id"].to_pylist())]


def _table(path: Path) -> "pyarrow.Table":
    import pyarrow.parquet

    columns = ["id", "image", *KEYS]
    try:
        file = pyarrow.parquet.ParquetFile(path)
        there = dict.fromkeys(file.schema_arrow.names, "")
        for name in columns:
            get(there, name, str, path)
        return file.read(columns)
    except (pyarrow.ArrowException, OSError) as error:
        found = f"an unreadable file ({one_line(error)[:120]})"
        raise InputError(path, found, "a whole parquet file", "download it again") from None


def _type_digit(path: Path) -> str:
    """Return 0 for 0_random_140/V1-00000-of-00001.parquet; some mirrors put a folder V1 between."""
    names = [path.name, *(folder.name for folder in path.parents)]
    return next((name[0] for name in names if name[:1].isdigit() and name[1:2] == "_"), "")


def _type(text: str, where: object) -> int:
    if text not in [str(kind) for kind in range(len(TYPES))]:
        raise InputError(where, repr(text), "an editing type from 0 to 9")
    return int(text)


def _edit(root: Path, entry: Entry) -> Edit:
    record, image = entry.open()
    source, target = (_plain(get(record, key, str, entry.where)) for key in list(KEYS.values())[:2])
    check_prompts(entry.where, source, target)
    truth = root / "truth/images" / f"{image.stem}.png"
    size, wanted = image_size(image), image_size(truth) if truth.is_file() else SIZE
    if size != wanted:
        found, remedy = (
            f"{size[0]}x{size[1]} pixels",
            "use the pictures as they were handed out: the masks are coded for that size",
        )
        raise InputError(f"{entry.where}: {image.name}", found, f"{wanted[0]}x{wanted[1]}", remedy)
    return Edit(
        id=entry.id,
        source_prompt=source,
        target_prompt=target,
        type=TYPES[entry.type],
        image=image,
        mask=_mask_file(entry.id, _mask(record, size, f"{entry.where}: mask")),
        truth=root / "truth" if truth.is_file() else None,
    )


def _plain(prompt: str) -> str:
    """Return a prompt without the brackets around what changes, which may be a part of a word."""
    return prompt.replace("[", "").replace("]", "")


def _mask(record: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Return (height, width), true where the picture is meant to change and, as in PnPInversion's evaluation,
    on its border.

    The runs are a list of numbers, or a text of them with blanks between (PIE-Bench++). What lies past the
    picture's end is cut, as there.
    """
    if "mask" not in record:
        raise InputError(where, "nothing", "a list of numbers", "add this key")
    mask = record["mask"]
    numbers = mask.split() if isinstance(mask, str) else as_kind(mask, list, where)
    try:
        runs = [int(str(number)) for number in numbers]  # by way of text: neither 1.5 nor true is one
    except ValueError:
        raise InputError(where, "something else", "numbers: start, length, start, length, ...") from None
    width, height = size
    if len(runs) % 2 or min(runs, default=0) < 0:
        raise InputError(where, f"{len(runs)} numbers, the least {min(runs)}", "pairs of start and length")
    decoded = decode_runs([min(number, width * height) for number in runs], height, width)
    decoded[[0, -1], :] = decoded[:, [0, -1]] = True
    return decoded


def _mask_file(name: str, mask: NDArray[np.bool_]) -> Path:
    """Return the mask as a PNG of 0 and 255 in the cache: the dataset's folder is left as it is."""
    png = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(png, "PNG")
    return cache_file("pie-masks", name, ".png", png.getvalue())
