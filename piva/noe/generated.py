"""Make folders of generated files once, and again when damaged or when what decides their content changed.

A folder is filled beside its final place and then renamed, so that no process sees half of one. Its
manifest.json names every file and its size: damage is found without reading thousands of files.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from piva.errors import InputError
from piva.files import read_text
from piva.runs.bars import bar

Job = TypeVar("Job")
Result = TypeVar("Result")

WORKERS = min(os.cpu_count() or 1, 8)
REMEDY = "set PIVA_CACHE to one on a disk with room"
ABANDONED_S = 24 * 3600  # a temporary folder of that age belongs to a run that was killed


def fingerprint(sources: Sequence[str], *request: object) -> str:
    """Return a hash of the request and of the source files (paths below the package) behind a content."""
    digest = hashlib.sha256(json.dumps(request).encode())
    package = Path(__file__).parent.parent
    for name in sources:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()


def ensure(folder: Path, content: str, write: Callable[[Path], None], remedy: str = REMEDY) -> Path:
    """Return `folder` after `write` has filled it, unless it is there, whole and of this content.

    Args:
        folder: where to write; parents are created, other content in it is deleted.
        content: the fingerprint of what `write` writes.
        write: fills an empty folder. It may run in several processes at once; the first to finish is kept.
        remedy: what the user can do where nothing can be written.

    Raises:
        InputError: the folder is not there and cannot be written.
    """
    _sweep(folder)
    if _is_complete(folder, content):
        return folder
    temporary = _beside(folder)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        save_json(temporary / "manifest.json", {"fingerprint": content, "files": _sizes(temporary)})
        _publish(temporary, folder, content)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(folder, found, "a folder that can be written to", remedy) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def save_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")


def draw_all(draw: Callable[[Job], Result], jobs: Sequence[Job], workers: int, what: str) -> list[Result]:
    """Return `draw(job)` of every job, in order, with one progress bar.

    With one worker it runs in this process, else `draw` must be a function at the top level of a module.
    """
    with ExitStack() as stack:
        shown = stack.enter_context(bar(len(jobs), f"drawing {what} (once)", "job"))
        pool = None if workers == 1 else stack.enter_context(ProcessPoolExecutor(workers))
        drawn = []
        for result in pool.map(draw, jobs) if pool else map(draw, jobs):
            drawn.append(result)
            shown.update()
    return drawn


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{uuid4().hex[:8]}.tmp")


def _sweep(folder: Path) -> None:
    """Remove the temporary folders that killed runs left, as far as that is possible."""
    for path in folder.parent.glob(f"{folder.name}.*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # another process was faster


def _is_complete(folder: Path, content: str) -> bool:
    """Return whether the manifest names this content and every file has the size it had."""
    try:
        manifest = json.loads(read_text(folder / "manifest.json"))
        files: dict[str, int] = manifest["files"] if manifest["fingerprint"] == content else {"": -1}
        sizes = (os.stat(f"{folder}/{name}").st_size for name in files)  # noqa: PTH116 - 6000 of them
        return all(size == wanted for size, wanted in zip(sizes, files.values(), strict=True))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _publish(temporary: Path, folder: Path, content: str) -> None:
    """Give `temporary` its final name; keep what another process finished first, delete anything else."""
    for _ in range(10):
        try:
            temporary.rename(folder)
            return
        except OSError:
            if _is_complete(folder, content):
                return
            if not folder.exists():
                continue
        other = _beside(folder)
        try:
            folder.rename(other)
        except FileNotFoundError:
            continue  # another process has just moved it away
        shutil.rmtree(other, ignore_errors=True)
    temporary.rename(folder)
