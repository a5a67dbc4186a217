"""JSON files and the paths inside them, read with suspicion: whatever is wrong is named by file, line and key."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import platformdirs
from safetensors import SafetensorError

from piva.errors import InputError, WriteError, one_line

T = TypeVar("T")
KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


def read_text(path: Path) -> str:
    """The UTF-8 text of a file (a byte-order mark is dropped); raises `InputError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(path, "no such file", "a text file", "check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(
            path, f"a byte that is not UTF-8 at {error.start}", "UTF-8 text", "save it as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(path, str(error), "a readable text file") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises `InputError` with the line and column of a syntax error."""
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
    """Return the mapping in a config.yaml that a run wrote, interpolations resolved. Raises `InputError`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        data = OmegaConf.to_container(OmegaConf.create(read_text(path)), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise InputError(path, one_line(error), "what piva.run wrote", "check the file") from None
    if not isinstance(data, dict):
        raise InputError(path, "a list", "what piva.run wrote", "check the file")
    return cast(dict[str, Any], data)


def get(record: dict[str, Any], key: str, kind: type[T], where: object) -> T:
    """`record[key]` if it is there and of that kind; else an `InputError` that names `where` and the key."""
    if key not in record:
        raise InputError(f"{where}: {key}", "nothing", KINDS.get(kind, kind.__name__), "add this key")
    return as_kind(record[key], kind, f"{where}: {key}")


def as_kind(value: Any, kind: type[T], where: object) -> T:
    """`value` if it is of that kind (true and false are not numbers); else an `InputError`."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(where, _short(value), KINDS.get(kind, kind.__name__))
    return value


def as_number(value: Any, where: object) -> float:
    """`value` if it is a finite number; else an `InputError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(where, _short(value), "a finite number")
    return float(value)


def inside(root: Path, name: str, where: object) -> Path:
    """`root / name`, which need not exist; an `InputError` if it would leave `root`, be it by a symbolic link."""
    path = root / name
    if (
        "\0" in name
        or Path(name).is_absolute()
        or ".." in Path(name).parts
        or not path.resolve().is_relative_to(root.resolve())
    ):
        raise InputError(
            where,
            f"{name!r}",
            f"a path inside {root}",
            "use a relative path without .. or links to the outside",
        )
    return path


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def cache_folder() -> Path:
    """`PIVA_CACHE` if set, else the platform's user cache folder. Not created here."""
    return Path(
        os.environ.get("PIVA_CACHE") or platformdirs.user_cache_dir("piva", appauthor=False)
    ).expanduser()


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
            raise InputError(
                path.parent, error.strerror or str(error), "a writable cache", "set PIVA_CACHE to one"
            ) from None
    return path


@contextmanager
def atomic(path: Path, remedy: str = "what was finished before is kept") -> Iterator[Path]:
    """Give a path beside `path` to write a file, or make a folder, at; it takes `path`'s place when the block ends well.

    If the block fails, nothing of it is left and what `path` held before is there. Parents are made if need be.

    Raises:
        WriteError: a full disk, a read-only folder and the like; `remedy` says what the user can do.
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
            temporary.unlink(missing_ok=True)


@contextmanager
def write_errors(path: Path, remedy: str = "what was finished before is kept") -> Iterator[None]:
    """Raise `WriteError` for a full disk, a read-only folder and the like in the block, which writes `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in its own error
        found = getattr(error, "strerror", None) or str(error)
        raise WriteError(path, found, "a place that can be written to", remedy) from error
