"""The commands of the README and of docs/ are commands: each composes as typed."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from piva.cli import folders_and_overrides
from piva.config import compose

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [README, *(page.read_text() for page in sorted((ROOT / "docs").rglob("*.md")))]
CONFIGS = {
    "piva.run": "config",
    "piva.evaluate": "evaluate",
    "piva.fetch": "fetch",
    "piva.noe": "build_noe",
    "piva.export": "export",
    "piva.view": "view",
    "piva.report": "report",
    "piva.dashboard": "dashboard",
}
AFTER_A_PATH = ("piva.export", "piva.view")  # whose first word is a folder
OF_FOLDERS = ("piva.report", "piva.dashboard")  # take run folders beside their settings
COMMANDS = dict.fromkeys(
    line.split(" #")[0].strip()
    for page in PAGES
    for line in page.splitlines()
    if (match := re.match(r"(?:python -m piva\.|piva )(\w+) ", line)) and f"piva.{match[1]}" in CONFIGS
    if "hydra.searchpath" not in line  # test_outside.py
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes(command: str) -> None:
    module, *words = shlex.split(re.sub(r"^(python -m piva\.|piva )", "piva.", command))
    path, words = (words[0], words[1:]) if module in AFTER_A_PATH else ("", words)
    if module in OF_FOLDERS:
        _, words = folders_and_overrides(words)
    flags = {"-m", "--cfg", "job"}
    overrides = [
        word.split(",")[0] if "-m" in words else word for word in words if word not in flags
    ]  # a sweep's first job
    if module == "piva.view":  # what it does not know is for the edits that are made there
        known = compose(name="view")
        alone = ["dataset=single"] if path.endswith((".ply", ".png")) else []
        compose(*alone, *(word for word in overrides if word.partition("=")[0] not in known))
        overrides = [word for word in overrides if word.partition("=")[0] in known]
    compose(*overrides, name=CONFIGS[module])


def test_there_are_commands_and_the_first_is_the_face() -> None:
    assert next(iter(COMMANDS)) == "python -m piva.run task=nerf dataset=noe score=piva lambda=0.4"
    assert {re.findall(r"piva.(\w+)", command)[0] for command in COMMANDS} == {c[5:] for c in CONFIGS}


def test_every_file_that_a_page_names_exists() -> None:
    """Code by its path, pages by their links, as each page has them."""
    pages = [ROOT / "README.md", ROOT / "experiments/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    missing = []
    for page in pages:
        text = page.read_text()
        named = {ROOT / name for name in re.findall(r"`((?:piva|conf|experiments|tests)/[\w/.]*\w)`", text)}
        named |= {page.parent / name for name in re.findall(r"\]\((?!http)([\w./-]+)", text)}
        missing += [f"{page.name}: {name}" for name in sorted(named) if not name.exists()]
    assert missing == []


def test_the_container_has_what_the_package_wants() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dockerfile, conda = (ROOT / "Dockerfile").read_text(), (ROOT / "environment.yml").read_text()
    torch = next(Requirement(word) for word in project["dependencies"] if Requirement(word).name == "torch")
    assert torch.specifier.contains(re.findall(r"pytorch:([\d.]+)-cuda", dockerfile)[0])
    extras = re.findall(r"piva\[([\w,]+)\]", dockerfile)[0].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    assert f"python{project['requires-python']}\n" in conda
