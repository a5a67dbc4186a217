"""Colour and surface words of the toys world, and the solid textures they stand for: colour as a function of position."""

import numpy as np
from numpy.typing import NDArray

from piva.render.mesh import Array, Shader
from piva.toys.objects import Paint

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
SURFACES = ("plain", "striped", "spotted", "wooden", "golden")
COLOURLESS = {"wooden", "golden"}  # surfaces that bring their own colour
GLOSS = {"golden": 0.55}

LIGHT_WOOD, DARK_WOOD, GOLD = (0.80, 0.58, 0.34), (0.52, 0.32, 0.15), (0.90, 0.66, 0.14)


def shader(paint: Paint) -> Shader:
    """The colour of `paint` at world positions (n, 3), in [0, 1]; textures are solid, so they need no unwrapping."""
    base = np.array(COLOURS[paint.colour], np.float32)
    second = np.array(COLOURS["grey" if paint.colour == "white" else "white"], np.float32)

    def flat(points: Array) -> Array:
        return np.broadcast_to(base, points.shape)

    def striped(points: Array) -> Array:
        return _mix(base, second, np.mod(points[:, 2] / 0.40 + 0.25, 1) < 0.42)

    def spotted(points: Array) -> Array:
        cell = points / 0.46 + 0.5 * (np.floor(points[:, 2:] / 0.46) % 2) * np.array([1, 1, 0])  # staggered layers
        return _mix(base, second, np.linalg.norm(cell - np.floor(cell) - 0.5, axis=-1) < 0.40)

    def wooden(points: Array) -> Array:
        x, y, z = points.T
        grain = np.sin(14 * (x + 0.25 * y) + 2.2 * np.sin(2.6 * z) + 0.8 * np.sin(9 * y))
        weight = 0.5 + 0.5 * grain[:, None]
        wood: Array = (np.array(LIGHT_WOOD) * (1 - 0.75 * weight) + np.array(DARK_WOOD) * 0.75 * weight).astype(np.float32)
        return wood

    def golden(points: Array) -> Array:
        return np.broadcast_to(np.array(GOLD, np.float32), points.shape)

    surfaces: dict[str, Shader] = {
        "plain": flat, "striped": striped, "spotted": spotted, "wooden": wooden, "golden": golden,
    }  # fmt: skip
    return surfaces[paint.surface]


def _mix(a: Array, b: Array, choose_b: NDArray[np.bool_]) -> Array:
    return np.where(choose_b[:, None], b, a).astype(np.float32)
