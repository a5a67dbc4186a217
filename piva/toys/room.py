"""Rooms for toys: textured walls, floor and ceiling, and pictures, all painted by functions of position.

The toy stands on the floor (z = 0) at the origin, its longest side is 2; its front, -y, faces the wall at -y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from piva.noe.mesh import Array, MeshRenderer, Shader, Surface
from piva.toys.objects import Triple
from piva.toys.paint import shadowed
from piva.toys.world import Toy, bounds, renderer

WIDTH, DEPTH, HEIGHT = 8.0, 7.6, 4.4  # along x, y and z
THICK = 0.1


@dataclass(frozen=True)
class Room:
    """Name the shaders below that a room is painted with."""

    floor: str
    walls: tuple[str, str, str, str]  # at -x, +x, -y, +y


# The toys that have a room.
ROOMS = {
    "chair": Room("planks", ("stripes", "bricks", "plaster", "stripes")),
    "lamp": Room("carpet", ("panels", "panels", "panels", "bricks")),
    "snowman": Room("planks", ("bricks", "plaster", "stripes", "panels")),
    "robot": Room("carpet", ("plaster", "stripes", "bricks", "plaster")),
}


def room_renderer(toys: Sequence[Toy], shown: int, room: Room) -> MeshRenderer:
    """Return the room with `toys[shown]` in it, at the one scale of all `toys`, a source and its truths."""
    centre, extent = bounds(toys)
    toy, scale = toys[shown], 2 / extent
    bare = renderer(Toy(toy.kind, toy.colour), centre, scale).surfaces  # an accessory does not lift the toy
    lowest = min(float(surface.mesh.bounds[0, 2]) for surface in bare)
    surfaces = renderer(toy, centre + (0, 0, lowest / scale), scale).surfaces
    return MeshRenderer([*surfaces, *_room(room, surfaces)])


def _room(room: Room, standing: Sequence[Surface]) -> list[Surface]:
    """Return floor, ceiling, four walls with skirtings, and a picture on every second wall."""
    x, y, z = WIDTH / 2 + THICK / 2, DEPTH / 2 + THICK / 2, HEIGHT / 2
    low = 0.12
    side, end = (THICK, DEPTH, HEIGHT), (WIDTH, THICK, HEIGHT)
    centres: list[Triple] = [(-x, 0, z), (x, 0, z), (0, -y, z), (0, y, z)]
    walls = list(zip(centres, (side, side, end, end), strict=True))
    skirt = THICK + 0.08
    skirts = [((c[0], c[1], low), (max(s[0], skirt), max(s[1], skirt), 2 * low)) for c, s in walls]
    floor = shadowed(SHADERS[room.floor], [surface.mesh.bounds for surface in standing], 0.0)
    return [
        _box("floor", (0, 0, -THICK / 2), (WIDTH, DEPTH, THICK), floor),
        _box("ceiling", (0, 0, HEIGHT + THICK / 2), (WIDTH, DEPTH, THICK), SHADERS["plaster"]),
        *[
            _box(f"wall {i + 1}", *wall, SHADERS[name])
            for i, (wall, name) in enumerate(zip(walls, room.walls, strict=True))
        ],
        *[
            _box(f"skirting {i + 1}", *skirting, _flat((0.93, 0.91, 0.86)))
            for i, skirting in enumerate(skirts)
        ],
        _box("landscape frame", (-0.4, DEPTH / 2, 2.2), (2.5, 0.10, 1.8), _flat((0.36, 0.22, 0.12))),
        _box("landscape", (-0.4, DEPTH / 2, 2.2), (2.2, 0.14, 1.5), landscape),
        _box("squares frame", (-WIDTH / 2, 0.7, 2.2), (0.10, 1.7, 1.7), _flat((0.10, 0.10, 0.12))),
        _box("squares", (-WIDTH / 2, 0.7, 2.2), (0.14, 1.5, 1.5), squares),
    ]


def _box(name: str, centre: Triple, size: Triple, colour: Shader) -> Surface:
    mesh = trimesh.creation.box(size)
    mesh.apply_translation(centre)
    return Surface(name, mesh, colour, smooth=False)


# Shaders. On walls u runs along the wall (one of x and y is constant there), z upwards.


def bricks(points: Array) -> Array:
    u, row = points[:, 0] + points[:, 1], np.floor(points[:, 2] / 0.28)
    column = np.floor(u / 0.66 + 0.5 * (row % 2))
    joint = ((u / 0.66 + 0.5 * (row % 2)) % 1 < 0.06) | ((points[:, 2] / 0.28) % 1 < 0.14)
    tint = 0.82 + 0.30 * _hash(column, row)[:, None]
    return np.where(joint[:, None], (0.80, 0.77, 0.72), np.array((0.66, 0.33, 0.25)) * tint).astype(
        np.float32
    )


def planks(points: Array) -> Array:
    row = np.floor(points[:, 0] / 0.42)
    along = points[:, 1] / 2.3 + _hash(row, row + 7)
    joint = ((points[:, 0] / 0.42) % 1 < 0.04) | (along % 1 < 0.012)
    grain = 0.5 + 0.5 * np.sin(46 * points[:, 0] + 3 * np.sin(1.9 * points[:, 1] + 5 * row))
    tone = 0.78 + 0.26 * _hash(row, np.floor(along)) - 0.10 * grain
    return np.where(joint[:, None], (0.27, 0.17, 0.10), np.array((0.80, 0.60, 0.38)) * tone[:, None]).astype(
        np.float32
    )


def carpet(points: Array) -> Array:
    """Paint a woven carpet with borders from wall to wall."""
    ring = np.floor(np.maximum(np.abs(points[:, 0]) / WIDTH, np.abs(points[:, 1]) / DEPTH) * 18)
    palette = np.array([(0.30, 0.36, 0.52), (0.78, 0.72, 0.60), (0.56, 0.24, 0.24)])
    diamonds = np.abs((points[:, 0] / 0.8) % 1 - 0.5) + np.abs((points[:, 1] / 0.8) % 1 - 0.5) < 0.22
    colour = palette[np.where(diamonds & (ring < 6), 1, ring.astype(int) // 2 % 3)]
    weave = 0.93 + 0.07 * np.sin(60 * points[:, 0]) * np.sin(60 * points[:, 1])
    return (colour * weave[:, None]).astype(np.float32)


def stripes(points: Array) -> Array:
    """Paint wallpaper."""
    u = points[:, 0] + points[:, 1]
    dots = np.hypot((u / 0.5) % 1 - 0.25, (points[:, 2] / 0.5) % 1 - 0.5) < 0.09
    colour = np.where(((u / 0.5) % 1 < 0.5)[:, None], (0.72, 0.80, 0.76), (0.86, 0.88, 0.80))
    return np.where(dots[:, None], (0.50, 0.62, 0.58), colour).astype(np.float32)


def panels(points: Array) -> Array:
    """Paint wood below and plaster above."""
    u = points[:, 0] + points[:, 1]
    groove = (u / 0.5) % 1 < 0.07
    wood = np.where(groove[:, None], (0.34, 0.24, 0.16), (0.62, 0.47, 0.32))
    rail = np.abs(points[:, 2] - 1.45) < 0.06
    above = np.where(rail[:, None], (0.42, 0.30, 0.20), plaster(points) * (0.92, 0.84, 0.72))
    return np.where((points[:, 2] < 1.40)[:, None], wood, above).astype(np.float32)


def plaster(points: Array) -> Array:
    x, y, z = points.T
    cloud = np.sin(2.1 * x + 1.3 * np.sin(1.7 * y + z)) * np.sin(2.4 * z + 1.1 * np.sin(1.5 * x - y))
    tone = (0.96 + 0.04 * cloud)[:, None].astype(np.float32)
    colour: Array = tone * np.array((0.92, 0.90, 0.85), np.float32)
    return colour


def landscape(points: Array) -> Array:
    """Paint a sunset over hills, around (-0.4, ., 2.2)."""
    u, v = points[:, 0] + 0.4, points[:, 2] - 2.2
    warm = np.clip(0.5 + v / 1.2, 0, 1)[:, None]
    colour = (1 - warm) * (0.98, 0.66, 0.34) + warm * (0.34, 0.50, 0.78)
    colour = np.where((np.hypot(u - 0.4, v - 0.05) < 0.22)[:, None], (1.0, 0.92, 0.55), colour)
    for height, hill in (
        (-0.12, (0.42, 0.46, 0.56)),
        (-0.32, (0.26, 0.42, 0.34)),
        (-0.54, (0.16, 0.28, 0.18)),
    ):
        colour = np.where((v < height + 0.12 * np.sin(4 * u + 9 * height))[:, None], hill, colour)
    return colour.astype(np.float32)


def squares(points: Array) -> Array:
    """Paint coloured fields between black lines, around (., 0.7, 2.2)."""
    u, v = (points[:, 1] - 0.7) / 1.5 + 0.5, (points[:, 2] - 2.2) / 1.5 + 0.5
    column, row = np.digitize(u, (0.28, 0.75)), np.digitize(v, (0.22, 0.62))
    palette = np.array([(0.94, 0.93, 0.88), (0.82, 0.14, 0.12), (0.94, 0.80, 0.14), (0.12, 0.28, 0.66)])
    field = np.array([[3, 0, 2], [0, 1, 0], [0, 0, 3]])[row, column]
    line = np.min([np.abs(u - 0.28), np.abs(u - 0.75), np.abs(v - 0.22), np.abs(v - 0.62)], axis=0) < 0.02
    return np.where(line[:, None], 0.08, palette[field]).astype(np.float32)


def _flat(colour: Triple) -> Shader:
    return lambda points: np.broadcast_to(np.array(colour, np.float32), points.shape)


def _hash(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return pseudo-random numbers in [0, 1) from pairs of whole numbers."""
    mixed: NDArray[np.floating] = np.mod(np.sin(12.9898 * a + 78.233 * b) * 437.5453, 1)
    return mixed


SHADERS: dict[str, Shader] = {
    paint.__name__: paint for paint in (bricks, planks, carpet, stripes, panels, plaster)
}
