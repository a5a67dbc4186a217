"""PIE-Bench++ (UB-CVML-Group/PIE_Bench_pp): one folder an editing type, with parquet files that hold the pictures too.

Columns: id, image {bytes, path}, source_prompt, target_prompt, edit_action, aspect_mapping, blended_words, mask (text). There is
no instruction.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piva.datasets.pie_listing import Listing, as_type, check_id
from piva.errors import InputError
from piva.files import get, kept

if TYPE_CHECKING:
    import pyarrow

# PIE-Bench++'s columns and the keys of mapping_file.json that they stand for.
KEYS = {
    "source_prompt": "original_prompt",
    "target_prompt": "editing_prompt",
    "blended_words": "blended_word",
    "mask": "mask",
}


def read(paths: Sequence[Path]) -> Listing:
    """The entries of these files, in order; the first digit of the folder's or else of the file's name is the type.

    Raises `InputError`.
    """
    tables = [_table(path) for path in paths]
    rows = [
        (path, table, i) for path, table in zip(paths, tables, strict=True) for i in range(table.num_rows)
    ]
    ids = [str(name) for table in tables for name in table["id"].to_pylist()]
    where = [f"{path}: {name}" for (path, _, _), name in zip(rows, ids, strict=True)]
    types = [as_type(_type_digit(path), path) for path, _, _ in rows]

    def open_entry(index: int) -> tuple[dict[str, Any], Path]:
        _, table, i = rows[index]
        row = {key: table[column][i].as_py() for column, key in KEYS.items()}
        image = table["image"][i].as_py()
        content = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(content, bytes):
            raise InputError(f"{where[index]}: image", "no bytes", "the bytes of a JPEG or PNG")
        return row, kept("pie-images", ids[index], ".jpg", content)

    return Listing(
        [check_id(path, name, place) for (path, _, _), name, place in zip(rows, ids, where, strict=True)],
        types,
        where,
        open_entry,
    )


def _table(path: Path) -> "pyarrow.Table":
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = dict.fromkeys(file.schema_arrow.names, "")
        for name in ("id", "image", *KEYS):
            get(columns, name, str, path)
        return file.read(["id", "image", *KEYS])
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            path, f"an unreadable file ({reason})", "a whole parquet file", "download it again"
        ) from None


def _type_digit(path: Path) -> str:
    """0_random_140/V1-00000-of-00001.parquet -> 0; some mirrors put a folder V1 between."""
    names = [path.name, *(folder.name for folder in path.parents)]
    return next((name[0] for name in names if name[:1].isdigit() and name[1:2] == "_"), "")
