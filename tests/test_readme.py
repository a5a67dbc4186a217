"""The README's commands are commands: each composes as typed."""

import re
import shlex
from pathlib import Path

import pytest

from piva.config import compose

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("python -m piva.run")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_composes(command: str) -> None:
    words = shlex.split(command)[3:]
    flags = {"-m", "--cfg", "job"}
    overrides = [word.split(",")[0] if "-m" in words else word for word in words if word not in flags]  # a sweep's first job
    compose(*overrides)


def test_there_are_commands_and_the_first_is_the_face() -> None:
    assert COMMANDS[0] == "python -m piva.run task=nerf dataset=noe score=piva lambda=0.4"
    assert len(COMMANDS) > 5


def test_every_file_the_readme_names_exists() -> None:
    root = Path(__file__).parents[1]
    names = re.findall(r"`(piva/[\w/]+\.\w+)`", README)
    assert names
    assert [name for name in names if not (root / name).exists() and "prior" not in name] == []
