"""What a command does and what its keys are, in the words of conf/: the comments of its YAML.

It reads text alone, so that help is there at once.
"""

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from piva.files import CONF

LINE = re.compile(r"( *)(- )?([\w/]+):(?: +(.*?))??(?: +#\s*(.*))?$")  # a key, its value, a comment
HELP = {"-h", "--help"}
COLUMN = 30  # where the words begin


@dataclass(frozen=True)
class Key:
    """A key as it is typed, its value in the YAML, what the YAML says of it."""

    name: str
    value: str
    words: list[str] = field(default_factory=list)
    group: bool = False  # whose values are files of conf/


def explain(name: str, argv: Sequence[str] = ()) -> str:
    """Return the help of the command whose configuration is conf/`name`.yaml: its purpose, examples and keys.

    Of groups, the keys of the options that `argv` chooses, or else the YAML.
    """
    head, keys = read(CONF / f"{name}.yaml")
    given = dict(word.partition("=")[::2] for word in argv)
    parts = [*head, "", "Keys, as KEY=VALUE:", *map(_row, keys)]
    for group in (key for key in keys if key.group):
        option = given.get(group.name, group.value)
        if (path := CONF / group.name / f"{option}.yaml").is_file():
            about, own = read(path)
            parts += ["", f"{group.name}={option}", *(f"  {line}" for line in about), *map(_row, own)]
    return "\n".join(parts) + "\n"


def purpose(name: str) -> str:
    """Return the first line of conf/`name`.yaml: what its command does."""
    return read(CONF / f"{name}.yaml")[0][0]


def read(path: Path) -> tuple[list[str], list[Key]]:
    """Return the comment that a YAML begins with, and its keys, those of the configuration it extends too."""
    lines = path.read_text(encoding="utf-8").splitlines()
    package = "" if path.parent == CONF or "# @package _global_" in lines else f"{path.parent.name}."
    lines = [line for line in lines if "@package" not in line]
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    extended = read(CONF / "config.yaml")[1] if "  - config" in lines else []
    return [line[1:].removeprefix(" ") for line in lines[:count]], [*_keys(lines[count:], package), *extended]


def _keys(lines: Sequence[str], package: str) -> Iterator[Key]:
    """Yield the keys of a YAML. A comment is about the key beside it or below it; one that is further in than
    its neighbours, about the key above.
    """
    above: list[str] = []  # comments that wait for their key
    parents: list[tuple[int, str]] = []
    last = None
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            inner = last is not None and len(line) - len(text) > parents[-1][0]
            (last.words if last and inner else above).append(text[1:].strip())
        elif found := LINE.match(line):
            indent, item, name, value, comment = found.groups()
            depth = len(indent) + len(item or "")
            parents = [parent for parent in parents if parent[0] < depth] + [(depth, name)]
            path = [parent[1] for parent in parents]
            words, above = [*above, *([comment] if comment else [])], []
            group = path[0] == "defaults"
            last = Key(package + ".".join(path[group:]), value or "", words, group)
            if (value or words) and name != "_target_" and path[0] != "hydra" and "/" not in name:
                yield last


def _row(key: Key) -> str:
    typed = f"  {key.name}={key.value}" if key.value else f"  {key.name}"
    width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 140))
    head, *others = key.words or [""]
    first = textwrap.wrap(head, width - COLUMN) or [""]
    lines = [*first, *(line for each in others for line in textwrap.wrap(each, width - COLUMN))]
    gap = [typed] if len(typed) >= COLUMN and lines[0] else []
    begin = [f"{'' if gap else typed:{COLUMN}}{lines[0]}", *(" " * COLUMN + line for line in lines[1:])]
    return "\n".join(line.rstrip() for line in [*gap, *begin])
