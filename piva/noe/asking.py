"""Ask a language model for an object's three edits, as the paper does (Section B), and check its replies."""

import base64
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

from PIL import Image

from piva.errors import InputError, one_line
from piva.noe.chat import Chat
from piva.noe.edits import TYPES, check_edit

log = logging.getLogger(__name__)

# Table 5 in our words, with the instruction of its footnote 1
INSTRUCTIONS = Path(__file__).parent / "instructions.txt"


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
