"""The command `piva`: its names, its help, its own commands."""

import shlex
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from helpers.command import Done, call
from PIL import Image

from piva.__main__ import COMMANDS, main
from piva.commands.edit import as_overrides
from piva.commands.help import explain, read
from piva.commands.toys import toys
from piva.config import CONF, compose
from piva.errors import InputError

ROOT = Path(__file__).parents[2]


def piva(*argv: str) -> Done:
    return call(main, "piva", *argv)


def test_help_names_every_command_with_its_purpose() -> None:
    done = piva("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  piva {name} " in done.stdout
    assert piva().stdout == done.stdout


def test_every_command_has_a_main() -> None:
    assert all(callable(import_module(module).main) for module, _ in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_every_key_is(name: str) -> None:
    """In words of its YAML, or by the key that it takes its value from."""
    conf = COMMANDS[name][1]
    text = piva(name, "--help").stdout
    assert f"\n  piva {name}" in text  # an example
    shown = {line.split("=")[0].strip() for line in text.splitlines() if line.startswith("  ")}
    cfg = compose(name=conf)
    assert {str(key) for key in cfg if key not in ("hydra", *CONF_GROUPS)} <= {
        key.split(".")[0] for key in shown
    }
    keys = {key.name: key for key in read(CONF / f"{conf}.yaml")[1]}
    assert [key.name for key in keys.values() if not key.words and not key.value.startswith("${")] == []


CONF_GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}
DEFAULTS = {key.name: key.value for key in read(CONF / "config.yaml")[1] if key.group}


@pytest.mark.parametrize("group", sorted(set(DEFAULTS) - {"profile", "experiment"}))
def test_the_keys_of_the_options_that_are_chosen_first_are_explained(group: str) -> None:
    keys = read(CONF / group / f"{DEFAULTS[group]}.yaml")[1]
    assert [key.name for key in keys if not key.words and not key.value.startswith("${")] == []


def test_help_explains_the_option_that_is_asked_for() -> None:
    assert "score.gap=2" in explain("config", ["score=pds"])
    assert "score.gap=2" not in explain("config")


def test_help_imports_neither_hydra_nor_numpy() -> None:
    code = f"""
import sys
from piva.__main__ import main
for name in ["--help", *{list(COMMANDS)}]:
    sys.argv = ["piva", name, "--help"]
    main()
assert not {{"hydra", "omegaconf", "numpy", "torch"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["veiw"], ["found 'veiw'", "did you mean piva view?"]),
        (["edit", "cat.png", "a cat"], ["PATH SOURCE TARGET", "piva edit photo.png"]),
        (["edit", "-m", "cat.png", "a cat"], ["PATH SOURCE TARGET"]),
        (["edit", "nowhere.png", "a cat", "a dog"], ["nothing at nowhere.png"]),
        (["edit", "nowhere.png", "a cat", "a dog", "lamda=1"], ["lamda", "did you mean lambda"]),
        (["fetch", "--dry"], ["--dry", "--help"]),
    ],
)
def test_bad_input_is_one_line(argv: list[str], expected: list[str]) -> None:
    done = piva(*argv)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert all(word in done.stderr for word in expected)


PROMPTS = [
    "a cat, sitting",
    'the cat\'s "hat"',
    r"back\slash\\",
    "a ${b} $c",
    r"\${d} \\${e}",
    "a=b [c]",
    "null",
    "1.5",
]


@pytest.mark.parametrize("text", PROMPTS)
def test_prompts_and_paths_arrive_as_typed(text: str, tmp_path: Path) -> None:
    cfg = compose(*as_overrides([f"{tmp_path}/{text}", text, text, "lambda=0.2"]))
    assert (cfg.dataset.path, cfg.dataset.source, cfg.dataset.target) == (f"{tmp_path}/{text}", text, text)
    assert cfg["lambda"] == 0.2


def test_a_folder_is_a_scene_and_a_file_a_picture(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert as_overrides([str(tmp_path), "a", "b"])[0] == "task=nerf"
    assert as_overrides([str(tmp_path / "photo.png"), "a", "b"])[0] == "task=image"


def test_edit_edits_a_photo(tmp_path: Path, prior_folder: Path) -> None:
    Image.new("RGB", (40, 32), (200, 30, 30)).save(tmp_path / "cat, red.png")
    photo, prior = str(tmp_path / "cat, red.png"), f"prior.path={prior_folder}"
    done = piva("edit", photo, "a cat, sitting", "a dog", prior, "steps=1", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert Path("out/edits/cat, red/after.png").is_file()


def test_toys_are_drawn_with_a_command_for_each() -> None:
    (command,) = toys("dataset=pie", "edits=1")
    words = shlex.split(command)
    assert words[:2] == ["piva", "edit"]
    assert Path(words[2]).is_file()
    with pytest.raises(InputError, match=r"dataset\.edits"):
        toys("edits=x")


@pytest.mark.slow
def test_a_wheel_has_the_command_and_all_of_conf(tmp_path: Path) -> None:
    """Built from the files that git would give to others, unpacked and run from elsewhere."""
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if name.startswith(("piva/", "conf/", "experiments/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(
                (ROOT / name).readlink() if (ROOT / name).is_symlink() else ROOT / name
            )
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("piva-*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
        entry = next(name for name in file.namelist() if name.endswith("entry_points.txt"))
        assert "piva = piva.__main__:main" in file.read(entry).decode()
    there = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")}
    there |= {f"experiment/{path.name}" for path in (ROOT / "experiments").glob("*.yaml")}
    inside = tmp_path / "site/piva/conf"
    assert {path.relative_to(inside).as_posix() for path in inside.rglob("*.yaml")} == there
    command = [sys.executable, "-m", "piva", "run", "experiment=toys_table1", "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path / "site")})
    assert done.returncode == 0, done.stderr
    assert "114000000000" in done.stdout
