"""The layout of the code, read from its sources without running them: layers, sizes, what YAML names."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from draw_architecture import LAYERS, draw

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "piva"
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))
}
ORDER = {name: height for height, layer in enumerate(LAYERS) for name in layer.split()}
LOOSE = 12  # modules of piva/ outside rooms: one more is a sign that a room is missing
LONG, SHORT = 350, 60  # lines of a file: above, split it; below, with one importer, it belongs to that
STANDALONE = {  # short files with one importer that stay, and why
    "scores": "one file a score",
    "schedules": "one file a schedule",
    "nerf.kernels": "one file a backend, each imported where its package is installed",
}
CONFIG_READERS = {  # besides config.py and the commands
    "evaluation.settings": "checks a command's configuration, as config.py does that of piva.run",
    "files": "reads YAML of others",
    "runs.fingerprint": "compares a run's configuration with another's",
    "runs.folder": "writes config.yaml",
    "runs.stored": "builds the settings that a stored run names",
    "runs.sweep": "a callback of Hydra, which hands over its configuration",
}


@cache
def imports() -> dict[str, frozenset[str]]:
    """The modules of piva that each module imports, wherever in its file; names without `piva.`."""
    found = {}
    for name, path in PATHS.items():
        whole: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                whole |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if path.name != "__init__.py":
            found[short(name)] = frozenset(short(each) for each in whole if each in PATHS and each != name)
    return found


def short(name: str) -> str:
    return name.removeprefix("piva.")


def room(module: str) -> str:
    """The entry of LAYERS that a module belongs to: the longest that its name begins with."""
    if module.endswith("__main__"):
        return "__main__"
    return max((name for name in ORDER if f"{module}.".startswith(f"{name}.")), key=len, default=module)


def is_command(module: str) -> bool:
    return ORDER.get(room(module)) == len(LAYERS) - 1


def test_every_module_has_a_layer_and_every_layer_its_modules() -> None:
    assert {room(module) for module in imports()} ^ set(ORDER) == set()


def test_nothing_imports_upwards() -> None:
    upwards = [
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in sorted(others)
        if ORDER.get(room(other), 0) > ORDER.get(room(module), 0)
    ]
    assert upwards == []


def test_no_circle_between_rooms() -> None:
    """Rooms that import one another form a circle, in however many steps; so do loose modules."""
    edges = {
        name: {room(o) for m, others in imports().items() if room(m) == name for o in others}
        for name in ORDER
    }

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        new = edges[start] - {start}
        while new:
            found |= new
            new = set().union(*(edges.get(name, set()) for name in new)) - found
        return found

    assert [name for name in ORDER if name in reachable(name)] == []


def test_few_modules_stand_outside_rooms() -> None:
    loose = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    assert len(loose) <= LOOSE, sorted(loose)


def test_rooms_begin_empty() -> None:
    """Importing a module imports no other of its room; what a room is for stands in docs/architecture.md."""
    rooms = {path.parent for path in PATHS.values()} - {PACKAGE}
    assert [str(room) for room in rooms if (room / "__init__.py").read_text(encoding="utf-8")] == []


def test_no_file_is_too_long() -> None:
    assert {short(name): n for name, path in PATHS.items() if (n := lines(path)) > LONG} == {}


def test_a_short_file_has_more_than_one_importer() -> None:
    importers = Counter(other for others in imports().values() for other in others)
    parts = [
        f"{module}: {n} lines"
        for module in imports()
        if (n := lines(PATHS[f"piva.{module}"])) < SHORT
        and importers[module] == 1
        and not module.endswith("__main__")
        and not any(f"{module}.".startswith(f"{name}.") for name in STANDALONE)
    ]
    assert parts == []


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


YAMLS = sorted([*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "experiments").glob("*.yaml")])


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_yaml_names_exists(path: Path) -> None:
    """Each class, function or module that a value names, as `_target_` does."""
    text = re.sub(r"(^|\s)#.*", "", path.read_text(encoding="utf-8"))
    names = re.findall(r"^\s*\w+:\s*(piva(?:\.\w+)+)\s*$", text, re.MULTILINE)
    names += re.findall(r"^\s*_target_:\s*(\S+)", text, re.MULTILINE)
    assert [name for name in names if name.startswith("piva.") and not defined(name)] == []


def defined(name: str) -> bool:
    module, _, own = name.rpartition(".")
    if module not in PATHS:
        return False
    tree = ast.parse(PATHS[module].read_text(encoding="utf-8"))
    return own in {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_configuration_stops_at_the_door() -> None:
    readers = {
        short(name)
        for name, path in PATHS.items()
        if re.search(r"\b(DictConfig|OmegaConf)\b", path.read_text(encoding="utf-8"))
    }
    allowed = {"config", *CONFIG_READERS} | {name for name in readers if is_command(name)}
    assert readers - allowed == set()
    assert set(CONFIG_READERS) - readers == set()


def test_tests_mirror_the_package() -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    rooms = [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()]
    assert rooms == ["hostile"]  # what every command and reader must refuse


def test_the_picture_is_of_this_code() -> None:
    """If not: python docs/draw_architecture.py."""
    assert (ROOT / "docs/architecture.svg").read_text(encoding="utf-8") == draw()
