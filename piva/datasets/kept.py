"""Files that a reader has to make of what it read (a mask out of numbers, a picture out of a table): kept in the cache."""

import hashlib
import os
from pathlib import Path

from piva.cache import cache_folder
from piva.errors import InputError


def kept(folder: str, stem: str, suffix: str, content: bytes) -> Path:
    """The path of a file of this content in `folder` of the cache, written if it is not there; raises `InputError`.

    The name ends with a hash of the content, so that two datasets with the same ids do not meet.
    """
    path = cache_folder() / folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
    if not path.is_file():
        temporary = path.with_name(f"{path.stem}-{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            raise InputError(path.parent, error.strerror or str(error), "a writable cache", "set PIVA_CACHE to one") from None
    return path
