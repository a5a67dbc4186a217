"""PIE-Bench's original layout: mapping_file.json (id -> record) beside annotation_images/."""

from pathlib import Path
from typing import Any

from piva.datasets.pie_listing import Listing, as_type, check_id
from piva.files import as_kind, get, inside, read_json


def read(root: Path) -> Listing:
    """The entries of `root`; raises `InputError`."""
    path = root / "mapping_file.json"
    data = read_json(path)
    where = [f"{path}: {name}" for name in data]
    records = [as_kind(record, dict, place) for record, place in zip(data.values(), where, strict=True)]
    types = [
        as_type(get(record, "editing_type_id", str, place), f"{place}: editing_type_id")
        for record, place in zip(records, where, strict=True)
    ]

    def open_entry(index: int) -> tuple[dict[str, Any], Path]:
        name = get(records[index], "image_path", str, where[index])
        return records[index], inside(root / "annotation_images", name, f"{where[index]}: image_path")

    return Listing(
        [check_id(root, name, place) for name, place in zip(data, where, strict=True)],
        types,
        where,
        open_entry,
    )
