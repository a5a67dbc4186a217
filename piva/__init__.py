"""Editing images and NeRFs with text by score distillation. From Python: `piva.edit(...)`, or any run by
`piva.run(piva.compose(...))`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `compose`, `edit` and `run` when they are asked for: `import piva` alone costs nothing."""
    homes = {"compose": "piva.config", "edit": "piva.commands.edit", "run": "piva.cli"}
    if name not in homes:
        raise AttributeError(f"module 'piva' has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
