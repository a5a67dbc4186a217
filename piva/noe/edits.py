"""Read and check an object's edits, of three types, written by a person or a model."""

from pathlib import Path
from typing import Any

from piva.errors import InputError
from piva.files import as_kind, get, read_json

TYPES = ("texturing", "addition", "translation")
WORDS = 20  # the most in a prompt
PAPER = Path(__file__).parent / "paper.json"  # the eleven pairs that the paper prints
OBJECTS, SCENES = "objaverse_synthetic", "nerf_synthetic"  # folders below the benchmark's


def check_edit(edit: Any, where: str) -> dict[str, str]:
    """Return source_prompt, target_prompt, type and instruction of an edit. Raises `InputError`."""
    record = as_kind(edit, dict, where)
    kept = {key: get(record, key, str, where).strip() for key in ("source_prompt", "target_prompt", "type")}
    for key in ("source_prompt", "target_prompt"):
        if not 1 <= len(kept[key].split()) <= WORDS:
            raise InputError(f"{where}: {key}", f"{len(kept[key].split())} words", f"1 to {WORDS}")
    if kept["source_prompt"] == kept["target_prompt"]:
        raise InputError(f"{where}: target_prompt", "the source prompt again", "another prompt")
    if kept["type"] not in TYPES:
        raise InputError(f"{where}: type", repr(kept["type"]), "one of " + ", ".join(TYPES))
    instruction = as_kind(record.get("instruction") or "", str, f"{where}: instruction")
    return {**kept, "instruction": instruction.strip()}


def read_edits(path: Path) -> dict[str, list[dict[str, str]]]:
    """Return the edits in a file {"records": [...]}, by path below the benchmark. Raises `InputError`.

    A path without a folder is an object's: "abc" is "objaverse_synthetic/abc".
    """
    found: dict[str, list[dict[str, str]]] = {}
    for index, record in enumerate(get(read_json(path), "records", list, path)):
        where = f"{path}: records[{index}]"
        name = get(as_kind(record, dict, where), "path", str, where)
        origin = as_kind(record.get("origin") or "hand", str, f"{where}: origin")
        edit = check_edit(record, where) | {"origin": origin}
        found.setdefault(name if "/" in name else f"{OBJECTS}/{name}", []).append(edit)
    return found


def as_records(path: str, edits: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return benchmark.json's records of an object; ids are its name and a type, repeated ones numbered."""
    records: list[dict[str, Any]] = []
    for edit in edits:
        kind = edit["type"]
        again = sum(record["type"] == kind for record in records)
        name = f"{Path(path).name}/{kind}" + (f"-{again + 1}" if again else "")
        keys = ("source_prompt", "target_prompt", "instruction", "type", "origin")
        records.append({"id": name, "path": path, **{key: edit[key] for key in keys}, "truth": None})
    return records
