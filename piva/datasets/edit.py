"""What a dataset yields: edits of a picture or a scene, each with a source and a target prompt. No torch."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from piva.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Capture:
    """How a scene photographed from within is read: its world is arbitrary, its pictures may be larger than
    needed.
    """

    downscale: int | None  # read pictures this many times smaller; None: halve towards the run's resolution
    orientation: str | None  # "up", "none", or None: what the file asks for, else "up"
    centre: str  # "poses", "none"
    scale: bool  # bring the cameras into [-1, 1]^3
    near: float  # nothing is nearer to a camera than this, in units of that world


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One entry of a dataset: what to edit, from which prompt to which, and where the truth lies if it is
    known.
    """

    id: str  # unique in its dataset; names the folder edits/<id> (may contain /)
    source_prompt: str
    target_prompt: str
    instruction: str = ""  # what to do, in words to an editor, if the dataset says so
    type: str = ""  # texturing, addition, translation, or a PIE type
    image: Path | None = None  # the picture to edit; for an object its front view
    scene: Path | None = None  # a folder with transforms.json or transforms_train.json, or a .ply of splats
    up: str = "z"  # the axis of a .ply's world that points up: x, y, z, -x, -y, -z
    capture: Capture | None = None  # of a scene with cameras inside it; None: an object amid its cameras
    mask: Path | None = None  # where the picture is meant to change, if the dataset says so
    truth: Path | None = None  # a folder with images/<stem>.png and masks/<stem>.png, if known

    @property
    def prompts(self) -> tuple[str, str]:
        return self.source_prompt, self.target_prompt


@runtime_checkable
class Dataset(Protocol):
    """Settings of a reader. Raises `InputError` for what is missing or malformed; imports no torch."""

    gives: ClassVar[tuple[str, ...]]  # which of Edit's inputs its edits have: "image", "scene"

    def read(self) -> Iterator[Edit]:
        """Yield the chosen edits in a fixed order."""


def check_prompts(where: object, source: str, target: str) -> None:
    """Raise `InputError` if a prompt is empty; warn if the two are equal."""
    for name, prompt in (("source", source), ("target", target)):
        if not prompt.strip():
            raise InputError(f"{where}: {name} prompt", "nothing", "a few words, such as 'a red mug'")
    if source == target:
        log.warning("%s: source and target prompt are both %r: no edit is asked for", where, source)
