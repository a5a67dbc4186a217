"""`piva toys`: the embedded world on disk, and the command that edits each of its pictures and scenes."""

import shlex
import sys

from piva.cli import run_cli
from piva.config import build, compose, settings_class


def toys(*overrides: str) -> list[str]:
    """Draw the toys, unless the cache has them, and return a command for each edit. Raises `InputError`."""
    cfg = compose(*overrides, name="toys")
    dataset = build(settings_class(cfg.dataset, "dataset"), cfg.dataset, "dataset")
    return [
        shlex.join(["piva", "edit", str(path), edit.source_prompt, edit.target_prompt])
        for edit in dataset.read()
        for path in (edit.scene, edit.image)
        if path
    ]


def main() -> None:
    run_cli(lambda: sys.stdout.writelines(f"{line}\n" for line in toys(*sys.argv[1:])), "toys")
