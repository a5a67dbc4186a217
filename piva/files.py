"""Files: suspicious reading of JSON and YAML (faults are named by file, line, key), atomic writing, the
cache.
"""

import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import platformdirs
from safetensors import SafetensorError

from piva.errors import InputError, WriteError, one_line

T = TypeVar("T")
HERE = Path(__file__).parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # a wheel has conf/ in the package
DEEPEST = 40  # levels of a YAML file
LARGEST, LARGEST_YAML = 2**29, 2**22  # bytes of a text that is read; a million steps have 200 MB
KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


def user_path(name: object, where: object) -> Path:
    """Return the path that a user gave as `where`, with `~` expanded; it need not exist.

    Raises `InputError` for a home that is not there, and for what no file system would take: a name that is
    too long or holds a null character, links in a circle.
    """
    try:
        path = Path(str(name)).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        found = f"{str(name)[:100]!r} ({getattr(error, 'strerror', None) or error})"
        raise InputError(where, found, "a path", "check the path") from None
    return path


def regular(path: Path, wanted: str = "a file", largest: float = math.inf) -> Path:
    """Return `path` if it leads to a file that ends: no folder, pipe or device, of at most `largest` bytes.

    Everything that is read from a run, a dataset or a prior is looked at so first: opening a pipe waits, and
    a device has no end. Raises `InputError`.
    """
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(path, "no such file", wanted, "check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(path, getattr(error, "strerror", None) or str(error), wanted) from None
    if not stat.S_ISREG(about.st_mode):
        kind = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe, socket or device"
        raise InputError(path, kind, wanted)
    if about.st_size > largest:
        raise InputError(path, f"{about.st_size:,} bytes", f"{wanted} of at most {int(largest):,} bytes")
    return path


def read_text(path: Path, largest: int = LARGEST) -> str:
    """Return the UTF-8 text of a file, without a byte-order mark. Raises `InputError`."""
    try:
        return regular(path, "a text file", largest).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at {error.start}"
        raise InputError(path, found, "UTF-8 text", "save it as UTF-8") from None
    except OSError as error:
        raise InputError(path, str(error), "a readable text file") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises `InputError` with the line and column of a syntax error."""
    text = read_text(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise InputError(where, error.msg, "valid JSON", "correct that line") from None
    except (ValueError, RecursionError) as error:
        raise InputError(path, str(error), "valid JSON") from None
    return as_kind(data, dict, path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a config.yaml that a run wrote. Raises `InputError`.

    Runs write resolved values: an interpolation is text here, not a question about the reader's environment.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    text, origin = read_text(path, LARGEST_YAML), "what piva.run wrote"
    try:
        _check_events(text, path)
        data = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, one_line(error), origin, "check the file") from None
    if not isinstance(data, dict):
        raise InputError(path, "a list", origin, "check the file")
    return cast(dict[str, Any], data)


def _check_events(text: str, path: Path) -> None:
    """Raise `InputError` for what takes a YAML reader hours or gigabytes: aliases of aliases, deep nests."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            found = "an alias (*name)" if depth <= DEEPEST else f"more than {DEEPEST} levels"
            raise InputError(path, found, "what piva.run wrote", "check the file")


def get(record: dict[str, Any], key: str, kind: type[T], where: object) -> T:
    """Return `record[key]`. Raises `InputError`, naming `where` and the key, if it is not of that kind."""
    if key not in record:
        raise InputError(f"{where}: {key}", "nothing", KINDS.get(kind, kind.__name__), "add this key")
    return as_kind(record[key], kind, f"{where}: {key}")


def as_kind(value: Any, kind: type[T], where: object) -> T:
    """Return `value`. Raises `InputError` if it is not of that kind; true and false are not numbers."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(where, _short(value), KINDS.get(kind, kind.__name__))
    return value


def as_number(value: Any, where: object) -> float:
    """Return `value` as a float. Raises `InputError` if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(where, _short(value), "a finite number")
    return float(value)


def inside(root: Path, name: str, where: object) -> Path:
    """Return `root / name`, which need not exist. Raises `InputError` if it leaves `root`, even by a link."""
    path = root / name
    plain = "\0" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts
    with suppress(ValueError):  # half a character
        if plain and inside_of(root, path):
            os.fsencode(path)
            return path
    remedy = "use a relative path without .. or links to the outside"
    raise InputError(where, f"{name!r}", f"a path inside {root}", remedy)


def inside_of(root: Path, path: Path) -> bool:
    """Return whether `path`, links included, lies in `root` or is it."""
    with suppress(OSError, RuntimeError, ValueError):  # too long a name, links in a circle, half a character
        return path.resolve().is_relative_to(root.resolve())
    return False


def is_regular(path: Path) -> bool:
    """Return whether `path` is a file itself: no link to another, no device and no pipe."""
    return path.is_file() and not path.is_symlink()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def cache_folder() -> Path:
    """Return `PIVA_CACHE` if set, else the platform's user cache folder. It need not exist."""
    folder = os.environ.get("PIVA_CACHE") or platformdirs.user_cache_dir("piva", appauthor=False)
    return Path(folder).expanduser()


def cache_file(folder: str, stem: str, suffix: str, content: bytes) -> Path:
    """Return the path of a file of this content in `folder` of the cache, after writing it if it is missing.

    The name ends with a hash of the content, so that two datasets with the same ids do not meet. Raises
    `WriteError`.
    """
    path = cache_folder() / folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
    if not path.is_file():
        with atomic(path, "set PIVA_CACHE to a folder that can be written to") as temporary:
            temporary.write_bytes(content)
    return path


@contextmanager
def atomic(path: Path, remedy: str = "what was finished before is kept") -> Iterator[Path]:
    """Yield a path beside `path` for a new file or folder; rename it to `path` if the block succeeds.

    A failed block leaves nothing, and `path` as it was. Missing parents are made. Raises `WriteError` with
    `remedy` for a full disk, a read-only folder and the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with write_errors(path, remedy):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if temporary.is_dir() and path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # of a parent that is no folder
                temporary.unlink()


@contextmanager
def write_errors(path: Path, remedy: str = "what was finished before is kept") -> Iterator[None]:
    """Raise `WriteError` for a full disk, a read-only folder and the like while the block writes `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in its own error
        found = getattr(error, "strerror", None) or str(error)
        raise WriteError(path, found, "a place that can be written to", remedy) from error
