"""Colour and surface words of the toys world, their solid textures (functions of position) and shadows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.noe.mesh import Array, Shader
from piva.toys.objects import Paint, Triple

Mask = NDArray[np.bool_]

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.12, 0.12),
    "orange": (0.98, 0.52, 0.08),
    "yellow": (0.98, 0.86, 0.14),
    "green": (0.16, 0.64, 0.22),
    "blue": (0.14, 0.32, 0.88),
    "purple": (0.54, 0.20, 0.72),
    "pink": (0.98, 0.56, 0.74),
    "white": (0.94, 0.94, 0.94),
    # never the main colour of a caption: small fixed parts
    "black": (0.10, 0.10, 0.12),
    "grey": (0.52, 0.54, 0.57),
    "brown": (0.46, 0.27, 0.15),
    "cream": (0.95, 0.89, 0.74),
}
MAIN_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SURFACES = ("plain", "striped", "checkered", "spotted", "wooden", "golden")
COLOURLESS = {"wooden", "golden"}  # surfaces that bring their own colour, as the grounds do
GLOSS = {"golden": 0.55}
REACH = 0.5  # things higher than this above the floor leave no shadow

GRASS, LAWN = (0.36, 0.62, 0.22), (0.24, 0.48, 0.14)
DUNE, SAND = (0.90, 0.80, 0.58), (0.80, 0.68, 0.44)
SLATE, STONE = (0.62, 0.63, 0.66), (0.46, 0.47, 0.51)
WHITE_TILE, BLUE_TILE = (0.93, 0.94, 0.95), (0.55, 0.70, 0.80)
LIGHT_WOOD, DARK_WOOD, GOLD = (0.80, 0.58, 0.34), (0.52, 0.32, 0.15), (0.90, 0.66, 0.14)


def shader(paint: Paint) -> Shader:
    """Return the colour in [0, 1] of `paint` at positions (n, 3) in the toy's units; textures are solid."""
    if paint.surface in OWN_COLOURS:
        return OWN_COLOURS[paint.surface]
    base = np.array(COLOURS[paint.colour], np.float32)
    second = np.array(COLOURS["grey" if paint.colour == "white" else "white"], np.float32)
    pattern = PATTERNS[paint.surface]
    return lambda points: np.where(pattern(points)[:, None], second, base).astype(np.float32)


def shadowed(paint: Shader, boxes: Sequence[NDArray[Any]], floor: float) -> Shader:
    """Return the floor's `paint` with a soft contact shadow below each box (2, 3), lowest and highest corner.

    The floor is at height `floor`; a shadow fades with the box's height above it and towards its own rim. It
    is painted into the floor, hence the same from every camera.
    """
    near = [(low, high) for low, high in boxes if low[2] - floor < REACH]

    def dimmed(points: Array) -> Array:
        light = np.ones((len(points), 1), np.float32)
        for low, high in near:
            away = (points[:, :2] - (low + high)[:2] / 2) / ((high - low)[:2] / 2 + 0.12)
            distance = np.hypot(away[:, :1], away[:, 1:])
            shadow = 0.5 * (1 - (low[2] - floor) / REACH) * np.clip(1.9 - 1.2 * distance, 0, 1)
            light = np.minimum(light, 1 - shadow)
        shade: Array = (paint(points) * light).astype(np.float32)
        return shade

    return dimmed


def _plain(points: Array) -> Mask:
    return np.zeros(len(points), bool)


def _striped(points: Array) -> Mask:
    return np.asarray(np.mod(points[:, 2] / 0.40 + 0.25, 1) < 0.42)


def _checkered(points: Array) -> Mask:
    return np.asarray(np.floor((points + (0.02, 0.03, 0.01)) / 0.44).sum(axis=1) % 2 == 1)


def _spotted(points: Array) -> Mask:
    staggered = 0.5 * (np.floor(points[:, 2:] / 0.46) % 2) * np.array([1, 1, 0])  # every second layer
    cell = points / 0.46 + staggered
    return np.asarray(np.linalg.norm(cell - np.floor(cell) - 0.5, axis=-1) < 0.40)


def _wooden(points: Array) -> Array:
    x, y, z = points.T
    grain = np.sin(14 * (x + 0.25 * y) + 2.2 * np.sin(2.6 * z) + 0.8 * np.sin(9 * y))
    return _blend(LIGHT_WOOD, DARK_WOOD, 0.75 * (0.5 + 0.5 * grain))


def _golden(points: Array) -> Array:
    return np.broadcast_to(np.array(GOLD, np.float32), points.shape)


def _grass(points: Array) -> Array:
    return _blend(GRASS, LAWN, _speckles(points, 26))


def _sand(points: Array) -> Array:
    return _blend(DUNE, SAND, _speckles(points, 9))


def _stone(points: Array) -> Array:
    row = np.floor(points[:, 1] / 0.42)
    joints = np.stack([points[:, 0] / 0.62 + 0.5 * (row % 2), points[:, 1] / 0.42], axis=-1) % 1
    return _blend(SLATE, STONE, np.asarray((joints < 0.14).any(axis=-1), np.float32))


def _tiles(points: Array) -> Array:
    return _blend(WHITE_TILE, BLUE_TILE, np.asarray(np.floor((points[:, :2] + 0.21) / 0.42).sum(axis=1) % 2))


def _speckles(points: Array, frequency: float) -> NDArray[Any]:
    """Return irregular waves in the plane, in [0, 1]."""
    x, y = frequency * points[:, 0], frequency * points[:, 1]
    u, v = x + 1.7 * np.sin(0.63 * y), 0.81 * y + 1.3 * np.sin(0.47 * x)
    return np.asarray(0.5 + 0.5 * np.sin(u) * np.sin(v))


def _blend(a: Triple, b: Triple, weight: NDArray[Any]) -> Array:
    mixed: Array = (np.array(a) + np.outer(weight, np.subtract(b, a))).astype(np.float32)
    return mixed


# Where the second colour shows.
PATTERNS: dict[str, Callable[[Array], Mask]] = {
    mask.__name__[1:]: mask for mask in (_plain, _striped, _checkered, _spotted)
}
OWN_COLOURS: dict[str, Shader] = {
    paint.__name__[1:]: paint for paint in (_wooden, _golden, _grass, _sand, _stone, _tiles)
}
