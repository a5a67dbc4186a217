"""One writer a folder. The operating system holds the lock and lets go of it when the process ends, however it ends.

The lock is `flock` on `<folder>/.lock`. Between machines it holds where the file system carries it: NFS does since Linux 2.6.12,
Lustre and BeeGFS where they are mounted with it. Where there is no flock at all, filelock falls back on the file's existence.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from piva.errors import InputError
from piva.runs.folder import writing


def held(folder: Path) -> bool:
    """Whether a process is at work in `folder`."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with hold(folder):
            return False
    except InputError:
        return True


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Within, this process alone writes to `folder`, which is made. Raises `InputError` at once if another has it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", blocking=False)
    with writing(folder):
        try:
            lock.acquire()
        except Timeout:
            remedy = "wait until it ends, or choose another folder with hydra.run.dir"
            raise InputError(
                folder, "a run that is at work there", "a folder of its own for each run", remedy
            ) from None
    try:
        yield
    finally:
        lock.release()
