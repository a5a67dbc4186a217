"""One photo, one scene folder or one .ply of splats, and a pair of prompts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from piva.datasets.edit import Edit, check_prompts
from piva.datasets.scene import front_view
from piva.errors import InputError
from piva.files import get, read_json, read_text, user_path
from piva.images import check_image

PACKED = {".splat", ".spz", ".sog", ".ksplat"}


@dataclass(frozen=True, kw_only=True)
class Single:
    """Settings of the reader; conf/dataset/single.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image", "scene")
    path: str
    source: str
    target: str
    prompts: str | None
    up: Literal["x", "y", "z", "-x", "-y", "-z"] = "z"

    def read(self) -> Iterator[Edit]:
        """Return the one edit; its id is the file's or folder's name. Raises `InputError`."""
        source, target = self._prompts()
        path = user_path(self.path, "dataset.path")
        if not path.exists():
            wanted = "a photo, a scene folder or a .ply of splats"
            raise InputError("dataset.path", f"nothing at {path}", wanted, "check the path")
        if path.is_dir():
            image, scene, name = front_view(path), path, path.resolve().name
        elif path.suffix.lower() == ".ply":
            image, scene, name = None, path, path.stem
        else:
            check_picture(path)
            image, scene, name = path, None, path.stem
        edit = Edit(id=name, source_prompt=source, target_prompt=target, image=image, scene=scene, up=self.up)
        return iter([edit])

    def _prompts(self) -> tuple[str, str]:
        if self.prompts is None:
            source, target, where = self.source, self.target, "dataset.source, dataset.target"
        elif self.source or self.target:
            found = "dataset.source or dataset.target beside it"
            raise InputError("dataset.prompts", found, "one or the other")
        else:
            source, target = read_prompts(user_path(self.prompts, "dataset.prompts"))
            where = self.prompts
        check_prompts(where, source, target)
        return source, target


def check_picture(path: Path) -> None:
    """Raise `InputError` for a file that is no picture, by name for one of packed splats."""
    if path.suffix.lower() in PACKED:
        wanted, remedy = "a .ply", "SuperSplat, for example, opens it and exports one"
        raise InputError(path, f"splats packed as {path.suffix.lower()}", wanted, remedy)
    check_image(path)


def read_prompts(path: Path) -> tuple[str, str]:
    """Return source and target prompt of a two-line text file, or of a JSON file with those keys; raises
    `InputError`.
    """
    if path.suffix == ".json":
        data = read_json(path)
        return get(data, "source", str, path), get(data, "target", str, path)
    lines = [line.strip() for line in read_text(path).strip().splitlines()]
    if len(lines) != 2:
        raise InputError(path, f"{len(lines)} lines", "two lines: the source prompt, then the target prompt")
    return lines[0], lines[1]
