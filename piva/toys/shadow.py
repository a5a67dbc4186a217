"""Soft contact shadows, painted into the floor: a function of where things stand, the same from every camera."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.noe.mesh import Array, Shader

REACH = 0.5  # things higher than this above the floor leave no shadow


def shadowed(paint: Shader, boxes: Sequence[NDArray[Any]], floor: float) -> Shader:
    """The floor's `paint` under a dark spot below each box (2, 3), its lowest and highest corner, that stands on it or nearly so.

    The floor is at height `floor`; a spot fades with the box' height above it and towards its own rim.
    """
    near = [(low, high) for low, high in boxes if low[2] - floor < REACH]

    def dimmed(points: Array) -> Array:
        light = np.ones((len(points), 1), np.float32)
        for low, high in near:
            away = (points[:, :2] - (low + high)[:2] / 2) / ((high - low)[:2] / 2 + 0.12)
            distance = np.hypot(away[:, :1], away[:, 1:])
            light = np.minimum(
                light, 1 - 0.5 * (1 - (low[2] - floor) / REACH) * np.clip(1.9 - 1.2 * distance, 0, 1)
            )
        shade: Array = (paint(points) * light).astype(np.float32)
        return shade

    return dimmed
