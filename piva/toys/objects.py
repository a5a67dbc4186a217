"""The objects of the toys world: lists of named parts in their own units, front towards -y, up +z, longest side about 2.

A part whose paint is `MAIN` takes the object's colour and surface from the caption; every other part keeps its own colour.
"""

from collections.abc import Callable
from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Paint:
    """A colour word and a surface word of the vocabulary in `paint.py`."""

    colour: str
    surface: str = "plain"


MAIN = Paint("main")


@dataclass(frozen=True)
class Part:
    """A primitive of `shapes.py`, stretched to `size` (full extents), turned, then moved to `centre`."""

    name: str
    shape: str
    size: Triple
    centre: Triple
    paint: Paint = MAIN
    turn: Triple = (0.0, 0.0, 0.0)  # degrees about x, then y, then z


@dataclass(frozen=True)
class Anchor:
    """Where something can be put on top of an object, and how wide it should be there."""

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
        Part("seat", "box", (1.08, 1.08, 0.18), (0, 0, -0.12)),
        Part("back", "box", (1.08, 0.18, 1.05), (0, 0.45, 0.47)),
        *[Part(f"leg {i + 1}", "box", (0.18, 0.18, 0.80), (x, y, -0.60)) for i, (x, y) in enumerate(legs)],
    ]


def stool() -> list[Part]:
    legs = [(x, y) for x in (-0.36, 0.36) for y in (-0.36, 0.36)]
    return [
        Part("seat", "cylinder", (1.20, 1.20, 0.24), (0, 0, 0.28)),
        *[Part(f"leg {i + 1}", "cylinder", (0.18, 0.18, 1.20), (x, y, -0.40)) for i, (x, y) in enumerate(legs)],
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


KINDS: dict[str, Callable[[], list[Part]]] = {
    "snowman": snowman,
    "robot": robot,
    "mug": mug,
    "vase": vase,
    "chair": chair,
    "stool": stool,
    "house": house,
    "tower": tower,
    "mushroom": mushroom,
    "tree": tree,
}

TOPS: dict[str, Anchor] = {
    "snowman": Anchor((0, 0, 1.04), 0.62),
    "robot": Anchor((0, 0, 0.93), 0.70),
    "mug": Anchor((-0.15, 0, 0.75), 1.10),
    "vase": Anchor((0, 0, 0.95), 0.80),
    "chair": Anchor((0, -0.08, -0.03), 0.84),
    "stool": Anchor((0, 0, 0.40), 0.90),
    "house": Anchor((0, 0, 0.80), 0.80),
    "tower": Anchor((0, 0, 0.94), 0.66),
    "mushroom": Anchor((0, 0, 0.83), 0.84),
    "tree": Anchor((0, 0, 0.90), 0.60),
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
    return [Part("ball", "ball", (0.60, 0.60, 0.60), (0.80, -0.72, -0.70), paint)]


ACCESSORIES: dict[str, Callable[[Anchor, Paint], list[Part]]] = {"hat": hat, "flag": flag, "ball": ball}
