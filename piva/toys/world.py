"""A toy: an object with its paint and perhaps an accessory; its caption; its parts as renderable surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import trimesh

from piva.noe.mesh import MeshRenderer, Shader, Surface
from piva.toys.objects import ACCESSORIES, GROUNDS, KINDS, MAIN, TOPS, Paint, Part, Triple, ground
from piva.toys.paint import COLOURLESS, GLOSS, MAIN_COLOURS, SURFACES, shader
from piva.toys.shadow import shadowed
from piva.toys.shapes import SMOOTH, primitive


@dataclass(frozen=True)
class Toy:
    """Everything a caption says: "a red striped mug with a blue hat on grass"."""

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

    @property
    def parts(self) -> list[Part]:
        """Named parts with their paint filled in; then those of the accessory, and the ground."""
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
        """Whether the prior never saw such a toy: each kind has one colour and one surface that training leaves out."""
        kind = list(KINDS).index(self.kind)
        coloured = self.surface not in COLOURLESS
        return (coloured and MAIN_COLOURS.index(self.colour) == (3 * kind + 2) % 8) or (
            SURFACES.index(self.surface) == 1 + (2 * kind + kind // 5) % 5
        )


def random_toy(rng: np.random.Generator) -> Toy:
    """Any toy, held out or not: half are plainly painted, nearly half carry an accessory, a third stand on a ground."""
    colour = str(rng.choice(MAIN_COLOURS))
    surface = str(rng.choice(SURFACES, p=(0.42, 0.13, 0.13, 0.12, 0.10, 0.10)))
    accessory = str(rng.choice(list(ACCESSORIES))) if rng.random() < 0.45 else ""
    accessory_colour = str(rng.choice(MAIN_COLOURS)) if accessory else ""
    floor = str(rng.choice(GROUNDS)) if rng.random() < 0.35 else ""
    return Toy(str(rng.choice(list(KINDS))), colour, surface, accessory, accessory_colour, floor)


def bounds(toys: Sequence[Toy]) -> tuple[np.ndarray, float]:
    """Centre (3,) and longest side of the box around all of `toys` together."""
    corners = np.concatenate([_mesh(part).bounds for toy in toys for part in toy.parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (low + high) / 2, float((high - low).max())


def renderer(toy: Toy, centre: np.ndarray, scale: float) -> MeshRenderer:
    """Make `toy` renderable after moving `centre` to the origin and multiplying by `scale`.

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


def _floor(floor: Part, parts: Sequence[Part]) -> Shader:
    boxes = [_mesh(part).bounds for part in parts if part.name != floor.name]
    return shadowed(shader(floor.paint), boxes, floor.centre[2] + floor.size[2] / 2)


def _mesh(part: Part) -> trimesh.Trimesh:
    return _placed(part.shape, part.size, part.centre, part.turn)


@cache
def _placed(shape: str, size: Triple, centre: Triple, turn_deg: Triple) -> trimesh.Trimesh:
    """Shared: copy before changing it."""
    mesh = primitive(shape).copy()
    turn = trimesh.transformations.euler_matrix(*np.radians(turn_deg))[:3, :3]
    mesh.vertices = (mesh.vertices * size) @ turn.T + centre
    return mesh


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
