"""The whole state of an unfinished edit, kept on disk so that it can go on after a crash with the same numbers.

A checkpoint is one safetensors file: the tensors of a tree of dicts, lists, numbers and texts, and the rest of the tree as JSON
in the file's metadata. Nothing in it can run code. Its name holds the step and the SHA-256 of its bytes, so that a damaged
file is recognised and the one before it used; `KEPT` of them are there.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from piva.runs.folder import writing

log = logging.getLogger(__name__)

KEPT = 2

Tree = Any  # dict, list or tuple of trees, Tensor, or what JSON knows


class Checkpoints:
    """Those of one edit, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, step: int, tree: Tree) -> None:
        """Keep `tree`, the state after `step` steps; older ones than `KEPT` go.

        Raises:
            FloatingPointError: a tensor of `tree` is not finite; what was kept before is left alone.
            InputError: the file cannot be written.
        """
        tensors: dict[str, Tensor] = {}
        plain = json.dumps(_pack(tree, "", tensors))
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise FloatingPointError(f"after step {step} {name} is not finite")
        content = save(tensors, {"tree": plain})
        target = self._folder / f"{step:08}-{hashlib.sha256(content).hexdigest()}.safetensors"
        temporary = self._folder / ".tmp"
        with writing(target):
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            for old in self._files()[:-KEPT]:
                old.unlink()

    def newest(self) -> tuple[int, Path] | None:
        """The step and file of the newest checkpoint that is as it was written; damaged ones are removed with a warning."""
        for path in reversed(self._files()):
            step, _, digest = path.stem.partition("-")
            if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
                return int(step), path
            log.warning("checkpoint %s is damaged; the one before it is used", path)
            path.unlink()
        return None

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*-*.safetensors"))


def load(path: Path) -> Tree:
    """The tree of a checkpoint, its tensors on the CPU."""
    with safe_open(path, "pt") as file:
        return _unpack(
            json.loads(file.metadata()["tree"]), {name: file.get_tensor(name) for name in file.keys()}
        )


def _pack(tree: Tree, path: str, tensors: dict[str, Tensor]) -> Any:
    """`tree` as JSON, its tensors moved to `tensors` under their path."""
    match tree:
        case Tensor():
            tensors[path] = tree.detach().to("cpu", copy=True).contiguous()
            return {"tensor": path}
        case Mapping():  # pairs, as an optimiser's keys are numbers
            return {
                "dict": [
                    [key, _pack(value, f"{path}/{key}".strip("/"), tensors)] for key, value in tree.items()
                ]
            }
        case list() | tuple():
            return {
                type(tree).__name__: [
                    _pack(value, f"{path}/{i}".strip("/"), tensors) for i, value in enumerate(tree)
                ]
            }
        case None | bool() | int() | float() | str():
            return tree
    raise TypeError(f"{path}: a checkpoint cannot hold a {type(tree).__name__}")


def _unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Tree:
    match packed:
        case {"tensor": path}:
            return tensors[path]
        case {"dict": pairs}:
            return {key: _unpack(value, tensors) for key, value in pairs}
        case {"list": items}:
            return [_unpack(item, tensors) for item in items]
        case {"tuple": items}:
            return tuple(_unpack(item, tensors) for item in items)
    return packed
