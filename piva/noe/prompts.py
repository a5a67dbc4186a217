"""Read edits of three types from a file, or ask a language model for them as the paper does (Section B)."""

import base64
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

from PIL import Image

from piva.errors import InputError, one_line
from piva.files import as_kind, get, read_json
from piva.noe.chat import Chat

log = logging.getLogger(__name__)

TYPES = ("texturing", "addition", "translation")
WORDS = 20  # the most in a prompt
PAPER = Path(__file__).parent / "paper.json"  # the eleven pairs that the paper prints
OBJECTS, SCENES = "objaverse_synthetic", "nerf_synthetic"  # folders below the benchmark's

# Table 5 in our words, with the instruction of its footnote 1
INSTRUCTIONS = Path(__file__).parent / "instructions.txt"


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


class Refused(Exception):
    """No reply had the wanted form; `replies` holds all of them, unchanged."""

    def __init__(self, reason: str, replies: list[str]) -> None:
        super().__init__(reason)
        self.replies = replies


def ask_edits(chat: Chat, path: str, view: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return three edits of the object in `view`, and the unchanged replies, the accepted one last.

    A reply of another form is answered with what is wrong with it, up to `chat.attempts` times.

    Raises:
        Refused: no reply had that form.
        NoAnswer, InputError: as `Chat.ask`.
    """
    question = [
        {"type": "text", "text": f"path: {path}"},
        {"type": "image_url", "image_url": {"url": _data_url(view)}},
    ]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": INSTRUCTIONS.read_text(encoding="utf-8")},
        {"role": "user", "content": question},
    ]
    replies: list[str] = []
    for _ in range(chat.attempts):
        replies.append(chat.ask(messages))
        try:
            return parse_reply(replies[-1], path), replies
        except InputError as error:
            reason = one_line(error)
            log.warning("%s, asking again", reason)
        messages += [
            {"role": "assistant", "content": replies[-1]},
            {"role": "user", "content": f"That cannot be used: {reason}. Answer again, with the JSON alone."},
        ]
    raise Refused(reason, replies)


def parse_reply(reply: str, path: str) -> list[dict[str, str]]:
    """Return the edits in a reply, with or without Markdown's fences around it. Raises `InputError`."""
    where = f"the reply for {path}"
    fenced = re.search(r"```(?:json)?\s*(.*?)```", reply, re.DOTALL)
    try:
        listed = json.loads(fenced[1] if fenced else reply)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"no JSON ({one_line(error)})", "a list of three edits") from None
    if not isinstance(listed, list):
        raise InputError(where, type(listed).__name__, "a list of three edits")
    edits = [check_edit(edit, f"{where}: [{i}]") for i, edit in enumerate(listed)]
    if any(edit.get("path") != path for edit in listed):
        raise InputError(f"{where}: path", "another", repr(path))
    if missing := set(TYPES) - {edit["type"] for edit in edits}:
        raise InputError(where, f"no {sorted(missing)[0]}", "an edit of each type")
    if len({edit["source_prompt"] for edit in edits}) > 1:
        raise InputError(where, "several source prompts", "the same in all edits")
    return edits


def _data_url(view: Path) -> str:
    """Return the picture on white as a data URL, as chat endpoints take it."""
    with Image.open(view) as image:
        rgba = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    file = io.BytesIO()
    flat.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
