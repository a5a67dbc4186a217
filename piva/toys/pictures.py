"""What of a rendered view goes into files, and where two views of one camera differ."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from piva.noe.mesh import Picture, Surface
    from piva.toys.objects import Part

DEPTH_UNIT = 1e-3


def rgba_bytes(picture: "Picture") -> NDArray[np.uint8]:
    """(h, w, 4), straight alpha."""
    return np.asarray(np.rint(picture.rgba * 255), np.uint8)


def rgb_bytes(picture: "Picture", background: NDArray[Any]) -> NDArray[np.uint8]:
    """(h, w, 3) on a background colour in [0, 1]."""
    alpha = picture.rgba[..., 3:]
    return np.asarray(np.rint((picture.rgba[..., :3] * alpha + background * (1 - alpha)) * 255), np.uint8)


def depth_units(picture: "Picture") -> NDArray[np.uint16]:
    """(h, w) z-depth in steps of `DEPTH_UNIT`, 0 = no hit."""
    return np.asarray(np.rint(picture.depth / DEPTH_UNIT), np.uint16)


def part_ids(picture: "Picture") -> NDArray[np.uint8]:
    """(h, w) index into `part_names`."""
    return np.asarray(picture.part + 1, np.uint8)


def part_names(parts: "Iterable[Part | Surface]") -> list[str]:
    """What the ids of `part_ids` mean; 0 is no hit."""
    return ["", *(part.name for part in parts)]


def differs(
    source: "Picture", truth: "Picture", source_names: list[str], truth_names: list[str]
) -> NDArray[np.bool_]:
    """(h, w), where colour, part or depth is another, at the precision of the files."""
    colour = (rgba_bytes(source) != rgba_bytes(truth)).any(axis=-1)
    part = np.array(source_names)[part_ids(source)] != np.array(truth_names)[part_ids(truth)]
    return np.asarray(colour | part | (depth_units(source) != depth_units(truth)))
