"""Captured scenes in nerfstudio's format, with the edits of the paper's Table 3; `toys` are rendered in rooms
on this machine.

- <root>/edits.json: records as Noe's, perhaps with a truth; without that file the twelve edits of in2n.json,
beside this one
- <root>/<path>/: a scene with transforms.json, images/ and perhaps images_2/, images_4/, images_8/
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval

from piva.datasets.edit import Capture, Edit
from piva.datasets.records import read_records
from piva.errors import InputError
from piva.files import cache_folder, user_path
from piva.toys import in2n
from piva.toys.noe import ROOTS

# Scenes face and bear: Instruct-NeRF2NeRF's (Haque et al. 2023), prompts ours.
PAPER = Path(__file__).with_name("in2n.json")


@dataclass(frozen=True, kw_only=True)
class In2n:
    """Settings of the reader; conf/dataset/in2n.yaml explains them."""

    gives: ClassVar[tuple[str, ...]] = ("image", "scene")
    root: str
    edits: Any
    shard: str | None = None
    downscale: Annotated[int, Interval(ge=1, le=64)] | None
    orientation: Literal["up", "none"] | None
    centre: Literal["poses", "none"]
    auto_scale: bool
    near: Annotated[float, Ge(0)]

    def read(self) -> Iterator[Edit]:
        """Return the chosen edits. Raises `InputError` for whatever is missing or malformed in their records
        and cameras.
        """
        capture = Capture(
            downscale=self.downscale,
            orientation=self.orientation,
            centre=self.centre,
            scale=self.auto_scale,
            near=self.near,
        )
        folder = _folder(self.root)
        own = folder / "edits.json"
        return read_records(own if own.is_file() else PAPER, folder, self.edits, capture, shard=self.shard)


def _folder(name: str) -> Path:
    if name in ROOTS:
        return in2n.ensure(cache_folder() / f"in2n-{name}", ROOTS[name])
    root = user_path(name, "dataset.root")
    if not root.is_dir():
        remedy = "docs/in2n.md says where to get them; dataset.root=toys is drawn here and needs no download"
        wanted = "a folder of scenes such as face/ and bear/"
        raise InputError("dataset.root", f"no folder {root}", wanted, remedy)
    return root
