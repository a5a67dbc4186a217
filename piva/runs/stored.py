"""Settings that the files of a run name, which may be somebody else's: they are data.

Nothing outside piva is imported for them, and nothing is asked of the reader's environment.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from piva.config import ROOMS, build, settings_class
from piva.errors import InputError, one_line
from piva.files import as_kind


def stored_settings(node: Any, key: str, where: Path, room: str | None = None) -> Any:
    """Return the settings under `key` in the file `where`, checked as those of a command line are.

    Args:
        node: plain values, with the class under `_target_`.
        key: the group, such as dataset.
        where: the file, which errors name.
        room: where in piva the class must lie; the group's own by default.

    Raises:
        InputError: a class that lies elsewhere, an interpolation, or values that do not fit the class.
    """
    plain = as_kind(node, dict, f"{where}: {key}")
    prefix = f"piva.{room or ROOMS[key]}."
    for name, value in _leaves(plain, key):
        if name.endswith("._target_") and not str(value).startswith(prefix):
            raise InputError(f"{where}: {name}", repr(value), f"a class of {prefix[:-1]}")
        if "${" in name or (isinstance(value, str) and "${" in value):
            raise InputError(f"{where}: {name}", repr(value), "a resolved value, as runs write them")
    try:
        settings = OmegaConf.create(plain)
        return build(settings_class(settings, key), settings, key)
    except Exception as error:  # whatever such a file may hold
        remedy = "use the version of piva that wrote it"
        raise InputError(where, one_line(error), f"settings of a {key}", remedy) from None


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping | list):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _leaves(value, f"{name}.{key}")
    else:
        yield name, node
