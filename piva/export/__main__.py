"""Export finished edits of scenes: `python -m piva.export PATH what=[mesh,film] [which=original]
[out=FOLDER]`.

PATH is the folder of a finished run of task=nerf, or of one of its edits; conf/export.yaml explains the keys.
Everything lands in the edit's folder, in export/edit/ (or export/original/), or below `out`, in <id>/edit/.
Torch is imported late.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from omegaconf import OmegaConf
from safetensors import SafetensorError

from piva.cli import run_cli
from piva.config import build, compose
from piva.errors import InputError
from piva.export.edits import EditedScene, find, given
from piva.export.settings import ExportSettings
from piva.export.trajectory import Film, film
from piva.files import user_path

SEEN = {"film", "images", "depth", "alpha"}  # the parts that are rendered along a trajectory


def export(*argv: str) -> list[Path]:
    """Write what the command line asks for and return the folders that hold it. Raises `InputError`."""
    path, overrides = given(argv)
    cfg = compose(*overrides, name="export")
    settings: ExportSettings = build(
        ExportSettings, OmegaConf.masked_copy(cfg, [f.name for f in fields(ExportSettings)])
    )
    found = find(path)
    if settings.which == "original" and (without := [edit for edit in found if not edit.original]):
        missing = f"{without[0].state} without it"
        raise InputError("which=original", missing, "an edit that kept its original", "run it again")
    films = [film(edit, settings) if SEEN & set(settings.what) else Film([], 1) for edit in found]
    from piva.runs.provenance import check_device

    check_device(settings.device)
    folders = []
    for edit, along in zip(found, films, strict=True):
        base = edit.folder / "export" if settings.out is None else user_path(settings.out, "out") / edit.id
        with _replacing(base / settings.which) as place:
            _write(edit, along, settings, place)
        folders.append(base / settings.which)
    return folders


def _write(finished: EditedScene, along: Film, settings: ExportSettings, place: Path) -> None:
    from piva.export.glb import glb
    from piva.export.pictures import transforms, write_pictures
    from piva.export.stored import read_edit, save_field

    edit, original = read_edit(finished, settings.device)
    stored = original if settings.which == "original" and original else edit
    if "field" in settings.what:
        save_field(stored, finished.prompts, place / "field.safetensors")
    if "mesh" in settings.what:
        (place / "mesh.glb").write_bytes(glb(stored, settings.mesh))
    if SEEN & set(settings.what):
        write_pictures(stored, along, settings.what, place, finished.id)
    if (SEEN - {"film"}) & set(settings.what):
        scene = transforms(along.trajectory, settings.what)
        (place / "transforms.json").write_text(json.dumps(scene, indent=2) + "\n")


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a folder to fill; if the block succeeds, its files replace their namesakes in `target`."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        target.mkdir(exist_ok=True)
        for new in temporary.iterdir():
            old = target / new.name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            new.rename(old)
    except (OSError, SafetensorError) as error:
        found, remedy = getattr(error, "strerror", None) or str(error), "what was there before is kept"
        raise InputError(target, found, "a place to write to", remedy) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main() -> None:
    run_cli(lambda: sys.stdout.writelines(f"{folder}\n" for folder in export(*sys.argv[1:])), "export")


if __name__ == "__main__":
    main()
