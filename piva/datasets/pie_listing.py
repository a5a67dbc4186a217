"""What a PIE folder holds before its entries are looked at: the same for both layouts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piva.errors import InputError
from piva.files import inside


@dataclass(frozen=True)
class Listing:
    """n entries: parallel lists, and a function that reads one of them."""

    ids: list[str]
    types: list[int]  # 0 to 9
    where: list[str]  # how errors name the entry
    open: Callable[
        [int], tuple[dict[str, Any], Path]
    ]  # index -> record with the keys of mapping_file.json, picture


def check_id(root: Path, name: str, where: str) -> str:
    """`name`, which becomes a folder of the results; raises `InputError` if that would lie elsewhere."""
    inside(root, name, f"{where}: id")
    return name


def as_type(text: str, where: object) -> int:
    """The number of an editing type; raises `InputError`."""
    if text not in [str(kind) for kind in range(10)]:
        raise InputError(where, repr(text), "an editing type from 0 to 9")
    return int(text)
