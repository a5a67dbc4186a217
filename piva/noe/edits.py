"""The edits of an object: three types, checked alike whether a person wrote them or a model did."""

from pathlib import Path
from typing import Any

from piva.errors import InputError
from piva.files import as_kind, get, read_json

TYPES = ("texturing", "addition", "translation")
WORDS = 20  # the most in a prompt
PAPER = Path(__file__).parent / "paper.json"  # the eleven pairs that the paper prints
OBJECTS, SCENES = "objaverse_synthetic", "nerf_synthetic"  # folders below the benchmark's


def check_edit(edit: Any, where: str) -> dict[str, str]:
    """source_prompt, target_prompt, type and instruction of one edit; raises `InputError`."""
    record = as_kind(edit, dict, where)
    kept = {key: get(record, key, str, where).strip() for key in ("source_prompt", "target_prompt", "type")}
    for key in ("source_prompt", "target_prompt"):
        if not 1 <= len(kept[key].split()) <= WORDS:
            raise InputError(f"{where}: {key}", f"{len(kept[key].split())} words", f"1 to {WORDS}")
    if kept["source_prompt"] == kept["target_prompt"]:
        raise InputError(f"{where}: target_prompt", "the source prompt again", "another prompt")
    if kept["type"] not in TYPES:
        raise InputError(f"{where}: type", repr(kept["type"]), "one of " + ", ".join(TYPES))
    return {
        **kept,
        "instruction": as_kind(record.get("instruction") or "", str, f"{where}: instruction").strip(),
    }


def read_edits(path: Path) -> dict[str, list[dict[str, str]]]:
    """The edits of a file {"records": [...]}, by their path below the benchmark's folder; raises `InputError`.

    A path without a folder is an object's: "abc" is "objaverse_synthetic/abc".
    """
    found: dict[str, list[dict[str, str]]] = {}
    for index, record in enumerate(get(read_json(path), "records", list, path)):
        where = f"{path}: records[{index}]"
        name = get(as_kind(record, dict, where), "path", str, where)
        edit = check_edit(record, where) | {
            "origin": as_kind(record.get("origin") or "hand", str, f"{where}: origin")
        }
        found.setdefault(name if "/" in name else f"{OBJECTS}/{name}", []).append(edit)
    return found


def as_records(path: str, edits: list[dict[str, str]]) -> list[dict[str, Any]]:
    """benchmark.json's records of one object; ids are its name and the type, numbered where a type comes again."""
    records: list[dict[str, Any]] = []
    for edit in edits:
        kind = edit["type"]
        again = sum(record["type"] == kind for record in records)
        name = f"{Path(path).name}/{kind}" + (f"-{again + 1}" if again else "")
        keys = ("source_prompt", "target_prompt", "instruction", "type", "origin")
        records.append({"id": name, "path": path, **{key: edit[key] for key in keys}, "truth": None})
    return records
