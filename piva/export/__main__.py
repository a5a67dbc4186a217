"""Export finished edits of scenes: `python -m piva.export PATH what=[mesh,film] [which=original]
[out=FOLDER]`.

PATH is the folder of a finished run of task=nerf, or of one of its edits; conf/export.yaml explains the keys.
Everything lands in the edit's folder, in export/edit/ (or export/original/), or below `out`, in <id>/edit/.
Torch is imported late.
"""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from omegaconf import OmegaConf
from safetensors import SafetensorError

from piva.cli import run_cli
from piva.config import build, compose
from piva.errors import EditsFailed, InputError, one_line, out_of_memory
from piva.export.edits import EditedScene, find, given
from piva.export.settings import ExportSettings
from piva.export.trajectory import Film, film
from piva.files import user_path
from piva.runs.devices import check_device

log = logging.getLogger(__name__)

SEEN = {"film", "images", "depth", "alpha"}  # the parts that are rendered along a trajectory


def export(*argv: str) -> list[Path]:
    """Write what the command line asks for and return the folders that hold it.

    An edit or a part that fails does not cost the others. Raises `InputError` for what shows before the work,
    and where nothing is left to return; else `EditsFailed`.
    """
    path, overrides = given(argv)
    cfg = compose(*overrides, name="export")
    settings: ExportSettings = build(
        ExportSettings, OmegaConf.masked_copy(cfg, [f.name for f in fields(ExportSettings)])
    )
    found = find(path)
    if settings.which == "original" and (without := [edit for edit in found if not edit.original]):
        missing = f"{without[0].state} without it"
        raise InputError("which=original", missing, "an edit that kept its original", "run it again")
    films = [film(edit, settings) if SEEN & set(settings.parts()) else Film([], 1) for edit in found]
    check_device(settings.device)
    folders, errors = [], list[InputError]()
    for edit, along in zip(found, films, strict=True):
        base = edit.folder / "export" if settings.out is None else user_path(settings.out, "out") / edit.id
        written, failed = _write(edit, along, settings, base / settings.which)
        errors += failed
        folders += [base / settings.which] if written else []
    if errors and not folders:
        raise errors[0]
    if errors:
        raise EditsFailed(f"what could be exported is in {', '.join(map(str, folders))}; {errors[0]}")
    return folders


def _write(
    finished: EditedScene, along: Film, settings: ExportSettings, target: Path
) -> tuple[int, list[InputError]]:
    """Write the parts of an edit, each whole or not at all; return how many, and why others are not there."""
    from piva.export.glb import glb
    from piva.export.pictures import transforms, write_pictures
    from piva.export.stored import read_edit, write_as_splats, write_field

    try:
        edit, original = read_edit(finished, settings.device)
    except InputError as error:
        return 0, [error]
    stored = original if settings.which == "original" and original else edit
    parts = settings.parts()

    def write_seen(place: Path) -> None:
        write_pictures(stored, along, parts, place, finished.id)
        if (SEEN - {"film"}) & set(parts):
            scene = transforms(along.trajectory, parts)
            (place / "transforms.json").write_text(json.dumps(scene, indent=2) + "\n")

    writers: list[tuple[set[str], Callable[[Path], object]]] = [
        ({"field"}, lambda place: write_field(stored, finished.prompts, place)),
        ({"mesh"}, lambda place: (place / "mesh.glb").write_bytes(glb(stored, settings.mesh))),
        (SEEN, write_seen),
        ({"splats"}, lambda place: write_as_splats(stored, settings.splats, finished.id, place)),
    ]
    chosen, errors = [write for these, write in writers if these & set(parts)], []
    for write in chosen:
        try:
            with _replacing(target) as place:
                write(place)
        except InputError as error:
            log.warning("%s: %s", finished.id, one_line(error))
            errors.append(error)
    return len(chosen) - len(errors), errors


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a folder to fill; if the block succeeds, its files replace their namesakes in `target`."""
    temporary = target.with_name(f".{target.name}.tmp")
    if temporary.exists():
        log.warning("%s: what an export left that was cut off is deleted", temporary)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        target.mkdir(exist_ok=True)
        for new in temporary.iterdir():
            old = target / new.name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            new.rename(old)
    except InputError:
        raise
    except (
        OSError,
        SafetensorError,
        MemoryError,
        RuntimeError,
        ValueError,
    ) as error:  # of a disk, an encoder
        # of a disk, an encoder, a full memory
        wanted = "more memory" if out_of_memory(error) else "a place to write to, and an encoder that writes"
        found, remedy = getattr(error, "strerror", None) or one_line(error), "what was there before is kept"
        raise InputError(target, found, wanted, remedy) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main() -> None:
    run_cli(lambda: sys.stdout.writelines(f"{folder}\n" for folder in export(*sys.argv[1:])), "export")


if __name__ == "__main__":
    main()
