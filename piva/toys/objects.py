"""The objects of the toys world: lists of named parts, front towards -y, up +z, longest side about 2.

A part whose paint is `MAIN` takes the object's colour and surface from the caption; others keep theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Paint:
    """Hold a colour word and a surface word of the vocabulary in `paint.py`."""

    colour: str
    surface: str = "plain"


MAIN = Paint("main")


@dataclass(frozen=True)
class Part:
    """Describe a primitive of `world.py`, stretched to `size` (full extents), turned, moved to `centre`."""

    name: str
    shape: str
    size: Triple
    centre: Triple
    paint: Paint = MAIN
    turn: Triple = (0.0, 0.0, 0.0)  # degrees about x, then y, then z


@dataclass(frozen=True)
class Anchor:
    """Say where something can be put on top of an object, and how wide it should be there."""

    at: Triple
    width: float


BLACK, BROWN, CREAM, ORANGE, GREY = (Paint(c) for c in ("black", "brown", "cream", "orange", "grey"))


def snowman() -> list[Part]:
    return [
        Part("bottom", "ball", (1.24, 1.24, 1.14), (0, 0, -0.43)),
        Part("middle", "ball", (0.90, 0.90, 0.86), (0, 0, 0.29)),
        Part("head", "ball", (0.62, 0.62, 0.60), (0, 0, 0.78)),
        Part("left eye", "ball", (0.09, 0.07, 0.11), (-0.12, -0.27, 0.87), BLACK),
        Part("right eye", "ball", (0.09, 0.07, 0.11), (0.12, -0.27, 0.87), BLACK),
        Part("nose", "cone", (0.14, 0.14, 0.34), (0, -0.42, 0.76), ORANGE, (90, 0, 0)),
        Part("upper button", "ball", (0.11, 0.08, 0.11), (0, -0.43, 0.42), BLACK),
        Part("lower button", "ball", (0.11, 0.08, 0.11), (0, -0.44, 0.20), BLACK),
    ]


def robot() -> list[Part]:
    return [
        Part("body", "box", (0.86, 0.56, 0.80), (0, 0, -0.10)),
        Part("head", "box", (0.60, 0.50, 0.50), (0, 0, 0.68)),
        Part("neck", "cylinder", (0.20, 0.20, 0.16), (0, 0, 0.36), GREY),
        Part("left arm", "box", (0.20, 0.26, 0.74), (-0.57, 0, -0.10)),
        Part("right arm", "box", (0.20, 0.26, 0.74), (0.57, 0, -0.10)),
        Part("left leg", "box", (0.28, 0.34, 0.54), (-0.22, 0, -0.73), GREY),
        Part("right leg", "box", (0.28, 0.34, 0.54), (0.22, 0, -0.73), GREY),
        Part("left eye", "ball", (0.14, 0.08, 0.14), (-0.14, -0.25, 0.74), BLACK),
        Part("right eye", "ball", (0.14, 0.08, 0.14), (0.14, -0.25, 0.74), BLACK),
        Part("mouth", "box", (0.30, 0.06, 0.07), (0, -0.24, 0.55), BLACK),
    ]


def mug() -> list[Part]:
    return [
        Part("cup", "cup", (1.30, 1.30, 1.50), (-0.15, 0, 0)),
        Part("handle", "ring", (0.86, 0.20, 0.92), (0.56, 0, 0.02)),
    ]


def vase() -> list[Part]:
    return [Part("vase", "vase", (1.16, 1.16, 1.90), (0, 0, 0))]


def chair() -> list[Part]:
    legs = [(x, y) for x in (-0.42, 0.42) for y in (-0.42, 0.42)]
    return [
        Part("seat", "box", (1.10, 1.10, 0.22), (0, 0, -0.12)),
        Part("back", "box", (1.10, 0.20, 1.05), (0, 0.45, 0.47)),
        *[Part(f"leg {i + 1}", "box", (0.22, 0.22, 0.80), (x, y, -0.60)) for i, (x, y) in enumerate(legs)],
    ]


def table() -> list[Part]:
    legs = [(x, y) for x in (-0.76, 0.76) for y in (-0.46, 0.46)]
    return [
        Part("top", "box", (1.96, 1.36, 0.24), (0, 0, 0.24)),
        *[
            Part(f"leg {i + 1}", "cylinder", (0.24, 0.24, 1.16), (x, y, -0.42))
            for i, (x, y) in enumerate(legs)
        ],
    ]


def house() -> list[Part]:
    return [
        Part("walls", "box", (1.36, 1.12, 1.00), (0, 0, -0.48)),
        Part("roof", "roof", (1.62, 1.36, 0.84), (0, 0, 0.42), BROWN),
        Part("door", "box", (0.32, 0.06, 0.56), (0, -0.56, -0.68), BLACK),
        Part("left window", "box", (0.26, 0.06, 0.26), (-0.42, -0.56, -0.36), CREAM),
        Part("right window", "box", (0.26, 0.06, 0.26), (0.42, -0.56, -0.36), CREAM),
        Part("side window", "box", (0.06, 0.30, 0.26), (0.68, 0, -0.36), CREAM),
    ]


def tower() -> list[Part]:
    return [
        Part("walls", "cylinder", (0.92, 0.92, 1.30), (0, 0, -0.35)),
        Part("roof", "cone", (1.20, 1.20, 0.74), (0, 0, 0.67), BROWN),
        Part("door", "box", (0.28, 0.10, 0.44), (0, -0.44, -0.76), BLACK),
        Part("window", "box", (0.20, 0.10, 0.26), (0, -0.44, 0.02), CREAM),
    ]


def mushroom() -> list[Part]:
    return [
        Part("stem", "cylinder", (0.50, 0.50, 1.10), (0, 0, -0.45), CREAM),
        Part("cap", "dome", (1.70, 1.70, 0.86), (0, 0, 0.42)),
    ]


def tree() -> list[Part]:
    return [
        Part("trunk", "cylinder", (0.30, 0.30, 0.60), (0, 0, -0.72), BROWN),
        Part("lower crown", "cone", (1.40, 1.40, 0.84), (0, 0, -0.12)),
        Part("middle crown", "cone", (1.12, 1.12, 0.76), (0, 0, 0.28)),
        Part("upper crown", "cone", (0.82, 0.82, 0.66), (0, 0, 0.67)),
    ]


def lamp() -> list[Part]:
    return [
        Part("foot", "cylinder", (0.90, 0.90, 0.14), (0, 0, -0.93), GREY),
        Part("pole", "cylinder", (0.16, 0.16, 1.20), (0, 0, -0.30), GREY),
        Part("shade", "frustum", (1.50, 1.50, 0.90), (0, 0, 0.52)),
    ]


def rocket() -> list[Part]:
    fins = [(0.44, 0.0, 0.0), (-0.44, 0.0, 180.0), (0.0, 0.44, 90.0), (0.0, -0.44, -90.0)]
    return [
        Part("body", "cylinder", (0.72, 0.72, 1.10), (0, 0, -0.22)),
        Part("nose", "cone", (0.72, 0.72, 0.66), (0, 0, 0.66)),
        Part("nozzle", "frustum", (0.56, 0.56, 0.24), (0, 0, -0.88), GREY),
        Part("window", "ball", (0.34, 0.14, 0.34), (0, -0.34, 0.10), CREAM),
        *[
            Part(f"fin {i + 1}", "fin", (0.52, 0.12, 0.66), (x, y, -0.62), GREY, (0, 0, turn))
            for i, (x, y, turn) in enumerate(fins)
        ],
    ]


def cake() -> list[Part]:
    candles = [(0.20 * np.cos(a), 0.20 * np.sin(a)) for a in np.radians((-90, 30, 150))]
    return [
        Part("plate", "cylinder", (1.96, 1.96, 0.10), (0, 0, -0.95), GREY),
        Part("lower layer", "cylinder", (1.60, 1.60, 0.56), (0, 0, -0.62)),
        Part("cream", "cylinder", (1.68, 1.68, 0.14), (0, 0, -0.28), CREAM),
        Part("upper layer", "cylinder", (1.00, 1.00, 0.46), (0, 0, 0.02)),
        *[
            Part(f"candle {i + 1}", "cylinder", (0.10, 0.10, 0.36), (x, y, 0.40), CREAM)
            for i, (x, y) in enumerate(candles)
        ],
    ]


def cone() -> list[Part]:
    return [
        Part("base", "box", (1.40, 1.40, 0.16), (0, 0, -0.92), BLACK),
        Part("lower part", "frustum", (1.12, 1.12, 0.62), (0, 0, -0.53)),
        Part("band", "frustum", (0.67, 0.67, 0.50), (0, 0, 0.03), CREAM),
        Part("tip", "frustum", (0.40, 0.40, 0.44), (0, 0, 0.50)),
    ]


def car() -> list[Part]:
    wheels = [(x, y) for x in (-0.58, 0.58) for y in (-0.42, 0.42)]
    return [
        Part("body", "box", (1.96, 0.90, 0.44), (0, 0, -0.54)),
        Part("cabin", "box", (1.02, 0.80, 0.42), (-0.08, 0, -0.12)),
        Part("left pane", "box", (0.84, 0.06, 0.28), (-0.08, -0.40, -0.14), CREAM),
        Part("right pane", "box", (0.84, 0.06, 0.28), (-0.08, 0.40, -0.14), CREAM),
        Part("windscreen", "box", (0.06, 0.64, 0.28), (0.43, 0, -0.14), CREAM),
        *[
            Part(f"wheel {i + 1}", "cylinder", (0.46, 0.46, 0.22), (x, y, -0.77), BLACK, (90, 0, 0))
            for i, (x, y) in enumerate(wheels)
        ],
    ]


def gift() -> list[Part]:
    return [
        Part("box", "box", (1.50, 1.50, 1.30), (0, 0, -0.35)),
        Part("ribbon", "box", (0.28, 1.54, 1.34), (0, 0, -0.35), CREAM),
        Part("cross ribbon", "box", (1.54, 0.28, 1.34), (0, 0, -0.35), CREAM),
        Part("left loop", "ball", (0.52, 0.24, 0.36), (-0.26, 0, 0.46), CREAM, (0, 25, 0)),
        Part("right loop", "ball", (0.52, 0.24, 0.36), (0.26, 0, 0.46), CREAM, (0, -25, 0)),
    ]


KINDS: dict[str, Callable[[], list[Part]]] = {
    kind.__name__: kind
    for kind in (
        *(snowman, robot, mug, vase, chair, table, house, tower),
        *(mushroom, tree, lamp, rocket, cake, cone, car, gift),
    )
}

TOPS: dict[str, Anchor] = {
    "snowman": Anchor((0, 0, 1.04), 0.62),
    "robot": Anchor((0, 0, 0.93), 0.70),
    "mug": Anchor((-0.15, 0, 0.75), 1.10),
    "vase": Anchor((0, 0, 0.95), 0.80),
    "chair": Anchor((0, -0.08, -0.01), 0.84),
    "table": Anchor((0, 0, 0.36), 0.84),
    "house": Anchor((0, 0, 0.80), 0.80),
    "tower": Anchor((0, 0, 0.94), 0.66),
    "mushroom": Anchor((0, 0, 0.83), 0.84),
    "tree": Anchor((0, 0, 0.90), 0.60),
    "lamp": Anchor((0, 0, 0.95), 0.80),
    "rocket": Anchor((0, 0, 0.86), 0.60),
    "cake": Anchor((0, 0, 0.25), 0.80),
    "cone": Anchor((0, 0, 0.70), 0.66),
    "car": Anchor((-0.08, 0, 0.09), 0.70),
    "gift": Anchor((0, 0, 0.56), 0.80),
}


def hat(top: Anchor, paint: Paint) -> list[Part]:
    x, y, z = top.at
    w = top.width
    return [
        Part("hat brim", "cylinder", (1.45 * w, 1.45 * w, 0.12 * w), (x, y, z + 0.02), paint),
        Part("hat crown", "cylinder", (0.92 * w, 0.92 * w, 0.80 * w), (x, y, z + 0.42 * w), paint),
    ]


def flag(top: Anchor, paint: Paint) -> list[Part]:
    x, y, z = top.at
    return [
        Part("flag pole", "cylinder", (0.10, 0.10, 0.86), (x, y, z + 0.38), BROWN),
        Part("flag cloth", "box", (0.70, 0.10, 0.46), (x + 0.38, y, z + 0.58), paint),
    ]


def ball(_: Anchor, paint: Paint) -> list[Part]:
    return [Part("ball", "ball", (0.60, 0.60, 0.60), (0.72, -0.72, -0.70), paint)]


ACCESSORIES: dict[str, Callable[[Anchor, Paint], list[Part]]] = {"hat": hat, "flag": flag, "ball": ball}


GROUNDS = ("grass", "sand", "stone", "tiles")


def ground(bottom: float, name: str) -> Part:
    """Return a round piece of floor under an object whose lowest point is `bottom`."""
    return Part("ground", "cylinder", (2.50, 2.50, 0.10), (0, 0, bottom - 0.05), Paint("white", name))
