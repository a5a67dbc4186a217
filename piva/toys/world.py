"""A toy: an object with its paint and perhaps an accessory; its caption; its parts as renderable surfaces.

Each part is a unit primitive (extents 1, centred at the origin) from trimesh, stretched, turned and moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import trimesh
from trimesh import creation

from piva.noe.mesh import MeshRenderer, Shader, Surface
from piva.toys.objects import ACCESSORIES, GROUNDS, KINDS, MAIN, TOPS, Paint, Part, Triple, ground
from piva.toys.paint import COLOURLESS, GLOSS, MAIN_COLOURS, SURFACES, shader, shadowed

SMOOTH = {"ball", "cylinder", "cone", "cup", "ring", "vase", "dome", "frustum"}  # the others have flat faces
SECTIONS = 40

# Half profiles (radius, z) of the bodies of revolution.
PROFILES = {
    "cylinder": [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0, 0.5)],
    "frustum": [(0, -0.5), (0.5, -0.5), (0.3, 0.5), (0, 0.5)],
    "cone": [(0, -0.5), (0.5, -0.5), (0, 0.5)],
    "cup": [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.42, 0.5), (0.42, -0.38), (0, -0.38)],
    "vase": [
        *((0, -0.5), (0.26, -0.5), (0.42, -0.36), (0.5, -0.16), (0.44, 0.06), (0.25, 0.24)),
        *((0.21, 0.36), (0.34, 0.5), (0.28, 0.5), (0.16, 0.36), (0, 0.30)),
    ],
    "dome": [
        *((0, -0.5), (0.5, -0.5)),
        *((0.5 * np.cos(a), -0.5 + np.sin(a)) for a in np.linspace(0.14, np.pi / 2, 9)),
    ],
}


@dataclass(frozen=True)
class Toy:
    """Hold everything a caption says: "a red striped mug with a blue hat on grass"."""

    kind: str
    colour: str
    surface: str = "plain"
    accessory: str = ""
    accessory_colour: str = ""
    ground: str = ""

    @property
    def caption(self) -> str:
        surface = "" if self.surface == "plain" else self.surface
        colour = "" if self.surface in COLOURLESS else self.colour
        words = " ".join(word for word in (colour, surface, self.kind) if word)
        text = f"{_article(words)} {words}"
        if self.accessory:
            text += f" with {_article(self.accessory_colour)} {self.accessory_colour} {self.accessory}"
        if self.ground:
            text += f" on {self.ground}"
        return text

    @classmethod
    def from_caption(cls, text: str) -> "Toy | None":
        """Return the toy whose caption this is, or None if it is no toy's."""
        thing, _, floor = text.partition(" on ")
        thing, _, accessory = thing.partition(" with ")
        words, dressed = thing.split(), accessory.split()
        toy = cls(
            kind=words[-1] if words else "",
            colour=next((word for word in words if word in MAIN_COLOURS), ""),
            surface=next((word for word in words if word in SURFACES), "plain"),
            accessory=dressed[-1] if len(dressed) == 3 else "",
            accessory_colour=dressed[1] if len(dressed) == 3 else "",
            ground=floor,
        )
        known = toy.kind in KINDS and toy.accessory in ("", *ACCESSORIES) and toy.ground in ("", *GROUNDS)
        return toy if known and toy.caption == text else None

    def shows(self, attribute: str) -> bool:
        """Return whether a picture of the toy shows its `attribute`."""
        if attribute == "colour":
            return self.surface not in COLOURLESS
        return attribute != "accessory_colour" or bool(self.accessory)

    @property
    def parts(self) -> list[Part]:
        """Return the named parts with their paint filled in; then those of the accessory, and the ground."""
        main = Paint(self.colour, self.surface)
        parts = [
            Part(p.name, p.shape, p.size, p.centre, main, p.turn) if p.paint is MAIN else p
            for p in KINDS[self.kind]()
        ]
        bottom = min(float(_mesh(part).bounds[0, 2]) for part in parts)
        if self.accessory:
            parts += ACCESSORIES[self.accessory](TOPS[self.kind], Paint(self.accessory_colour))
        return [*parts, ground(bottom, self.ground)] if self.ground else parts

    @property
    def held_out(self) -> bool:
        """Return whether training left the toy out, as it does one colour and one surface of each kind."""
        kind = list(KINDS).index(self.kind)
        coloured = self.surface not in COLOURLESS
        return (coloured and MAIN_COLOURS.index(self.colour) == (3 * kind + 2) % 8) or (
            SURFACES.index(self.surface) == 1 + (2 * kind + kind // 5) % 5
        )


def random_toy(rng: np.random.Generator) -> Toy:
    """Return any toy, held out or not: nearly half have a plain surface or an accessory, a third a ground."""
    colour = str(rng.choice(MAIN_COLOURS))
    surface = str(rng.choice(SURFACES, p=(0.42, 0.13, 0.13, 0.12, 0.10, 0.10)))
    accessory = str(rng.choice(list(ACCESSORIES))) if rng.random() < 0.45 else ""
    accessory_colour = str(rng.choice(MAIN_COLOURS)) if accessory else ""
    floor = str(rng.choice(GROUNDS)) if rng.random() < 0.35 else ""
    return Toy(str(rng.choice(list(KINDS))), colour, surface, accessory, accessory_colour, floor)


def bounds(toys: Sequence[Toy]) -> tuple[np.ndarray, float]:
    """Return centre (3,) and longest side of the box around all of `toys` together."""
    corners = np.concatenate([_mesh(part).bounds for toy in toys for part in toy.parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (low + high) / 2, float((high - low).max())


def renderer(toy: Toy, centre: np.ndarray, scale: float) -> MeshRenderer:
    """Return a renderer of `toy` after moving `centre` to the origin and multiplying by `scale`.

    Textures are tied to the toy's own units, so that a normalised toy keeps its stripes.
    """
    surfaces, parts = [], toy.parts
    for part in parts:
        mesh = _mesh(part).copy()
        mesh.vertices = (mesh.vertices - centre) * scale
        paint = _floor(part, parts) if part.name == "ground" else shader(part.paint)
        colour = lambda points, paint=paint: paint((points / scale + centre).astype(np.float32))  # noqa: E731
        surfaces.append(
            Surface(part.name, mesh, colour, part.shape in SMOOTH, GLOSS.get(part.paint.surface, 0.0))
        )
    return MeshRenderer(surfaces)


def placement(toys: Sequence[Toy], distance: float, fov_deg: float) -> tuple[np.ndarray, float]:
    """Return the centre (3,) of `toys` and their scale: longest side 2, less if a view would cut one.

    The cameras are at `distance` from the origin, look at it from anywhere and span `fov_deg`.
    """
    centre, extent = bounds(toys)
    surfaces = [surface for toy in toys for surface in renderer(toy, centre, 1.0).surfaces]
    reach = max(float(np.linalg.norm(surface.mesh.vertices, axis=1).max()) for surface in surfaces)
    # the radius of a ball that every view holds
    widest = 0.98 * distance * float(np.sin(np.radians(fov_deg) / 2))
    return centre, min(2 / extent, widest / reach)


def _floor(floor: Part, parts: Sequence[Part]) -> Shader:
    boxes = [_mesh(part).bounds for part in parts if part.name != floor.name]
    return shadowed(shader(floor.paint), boxes, floor.centre[2] + floor.size[2] / 2)


def _mesh(part: Part) -> trimesh.Trimesh:
    return _placed(part.shape, part.size, part.centre, part.turn)


@cache
def _placed(shape: str, size: Triple, centre: Triple, turn_deg: Triple) -> trimesh.Trimesh:
    """Return a shared mesh: copy before changing it."""
    mesh = primitive(shape).copy()
    turn = trimesh.transformations.euler_matrix(*np.radians(turn_deg))[:3, :3]
    mesh.vertices = (mesh.vertices * size) @ turn.T + centre
    return mesh


@cache
def primitive(shape: str) -> trimesh.Trimesh:
    """Return the unit mesh (extents 1, centred) of a shape; edges sharper than 40 degrees stay sharp."""
    match shape:
        case "box":
            mesh = creation.box((1, 1, 1))
        case "ball":
            mesh = creation.icosphere(subdivisions=3, radius=0.5)
        case "ring":
            mesh = creation.torus(0.39, 0.11, major_sections=SECTIONS, minor_sections=16)
            mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
            mesh.apply_scale(1 / mesh.extents)
        case "fin":  # a right-angled triangle, its upright side at -x
            outline = [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5)]
            corners = [(x, y, z) for y in (-0.5, 0.5) for x, z in outline]
            faces = [(0, 1, 2), (3, 5, 4), (0, 3, 4), (0, 4, 1), (1, 4, 5), (1, 5, 2), (2, 5, 3), (2, 3, 0)]
            mesh = trimesh.Trimesh(corners, faces)
        case "roof":
            eaves = [(-0.5, -0.5, -0.5), (0.5, -0.5, -0.5), (0.5, 0.5, -0.5), (-0.5, 0.5, -0.5)]
            faces = [(0, 1, 5), (0, 5, 4), (2, 3, 4), (2, 4, 5), (1, 2, 5), (3, 0, 4), (0, 3, 2), (0, 2, 1)]
            mesh = trimesh.Trimesh([*eaves, (-0.5, 0, 0.5), (0.5, 0, 0.5)], faces)
        case _:
            mesh = creation.revolve(np.array(PROFILES[shape], float), sections=SECTIONS)
    return trimesh.graph.smooth_shade(mesh, angle=np.radians(40)) if shape in SMOOTH else mesh


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
