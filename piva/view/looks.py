"""How an original and its edit look from a camera, finished or under way, and both in one picture."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from piva.cameras.lens import pinhole
from piva.experiment.edit import Progress
from piva.export.edits import EditedScene, find
from piva.export.stored import Stored, as_stored, read_edit, read_file
from piva.images import read_rgb, to_uint8

BOTH, CURTAIN, ORIGINAL, EDIT = "side by side", "curtain", "original", "edit"
Pixels = NDArray[np.uint8]


class Camera(NamedTuple):
    """The camera of a page."""

    c2w: NDArray[np.float32]  # (4, 4), OpenGL axes
    fov: float  # vertical, in radians
    aspect: float  # width / height


Seen = Callable[[Camera, int, int], Pixels]  # from a camera, of that height and width: (h, w, 3)


class Look(NamedTuple):
    """What there is to see."""

    edit: Seen
    original: Seen | None  # None: the run kept none


def finished_look(place: Path, origin: Path | None, up: str, device: str) -> Look:
    """Return the look of a finished edit's folder, or of a picture or a .ply that has no edit. Raises
    `InputError`.

    `origin` is the picture, or the edit's folder, that the page began with: a run's own before.png may be
    coarser. None: a scene, whose edits hold their originals. `up` is the axis of a .ply.
    """
    if origin is None and place.is_file():
        seen = partial(_field_seen, read_file(place, up, device))
        return Look(seen, seen)
    if origin is None:
        return of_fields(read_edit(find(place)[0], device))
    after = place if place.is_file() else place / "after.png"
    before = origin if origin.is_file() else origin / "before.png"
    return Look(of_picture(_bytes(after)), of_picture(_bytes(before)))


@torch.no_grad()
def live_look(progress: Progress, scene: EditedScene | None, original: Seen | None) -> Look:
    """Return the look of an edit under way, which its further steps do not change. Raises `InputError`."""
    if scene is None:
        return Look(of_picture(to_uint8(progress.picture())), original)
    tensors = {name: x.detach().clone() for name, x in progress.state().items()}
    return of_fields(as_stored(tensors, scene))


def of_fields(pair: tuple[Stored, Stored | None]) -> Look:
    """Return the look of an edited field and of its original."""
    edit, original = pair
    return Look(partial(_field_seen, edit), partial(_field_seen, original) if original else None)


def of_picture(pixels: Pixels) -> Seen:
    """Return a picture (h, w, 3) as any camera sees it: whole, on white."""
    image = Image.fromarray(pixels)
    return lambda _, height, width: np.asarray(ImageOps.pad(image, (width, height), color="white"))


def _field_seen(stored: Stored, camera: Camera, height: int, width: int) -> Pixels:
    lens = pinhole(float(np.degrees(camera.fov)), height, width)
    return to_uint8(stored.view(torch.from_numpy(camera.c2w), lens).rgb.movedim(-1, -3))


def _bytes(path: Path) -> Pixels:
    pixels: Pixels = np.rint(read_rgb(path) * 255).astype(np.uint8)
    return pixels


def picture(look: Look, mode: str, curtain: float, camera: Camera, longest: int) -> Pixels:
    """Return the image (h, w, 3) that a camera sees, at most `longest` pixels a side.

    "side by side": original and edit, each in half the width; "curtain": the original left of that share of
    the width.
    """
    edit, original = look
    sides = (camera.aspect, 1.0)
    width, height = (max(2, round(side * longest / max(camera.aspect, 1) / 2) * 2) for side in sides)
    if original is None or mode == EDIT:
        return edit(camera, height, width)
    if mode == ORIGINAL:
        return original(camera, height, width)
    if mode == BOTH:
        halves = [seen(camera, height, width // 2) for seen in (original, edit)]
        return np.concatenate(halves, axis=1)
    left = round(curtain * width)
    parts = [original(camera, height, width)[:, :left], edit(camera, height, width)[:, left:]]
    return np.concatenate(parts, axis=1)


def labelled(pixels: Pixels, mode: str) -> Pixels:
    """Return a picture that `picture` made with the words original and edit above what they name."""
    image = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(max(9, image.width // 36))
    places = {
        BOTH: [(ORIGINAL, 4, "la"), (EDIT, image.width // 2 + 4, "la")],
        CURTAIN: [(ORIGINAL, 4, "la"), (EDIT, image.width - 4, "ra")],
    }
    for word, x, anchor in places.get(mode, [(mode, 4, "la")]):
        draw.text((x, 3), word, "black", font, anchor=anchor, stroke_width=1, stroke_fill="white")
    return np.asarray(image)
