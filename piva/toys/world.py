"""A toy: an object with its paint and perhaps an accessory; its caption; its parts as renderable surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh

from piva.render.mesh import MeshRenderer, Surface
from piva.toys.objects import ACCESSORIES, KINDS, MAIN, TOPS, Paint, Part
from piva.toys.paint import COLOURLESS, GLOSS, MAIN_COLOURS, SURFACES, shader
from piva.toys.shapes import SMOOTH, primitive


@dataclass(frozen=True)
class Toy:
    """Everything a caption says: "a red striped mug with a blue hat"."""

    kind: str
    colour: str
    surface: str = "plain"
    accessory: str = ""
    accessory_colour: str = ""

    @property
    def caption(self) -> str:
        surface = "" if self.surface == "plain" else self.surface
        colour = "" if self.surface in COLOURLESS else self.colour
        words = " ".join(word for word in (colour, surface, self.kind) if word)
        text = f"{_article(words)} {words}"
        if self.accessory:
            text += f" with {_article(self.accessory_colour)} {self.accessory_colour} {self.accessory}"
        return text

    @property
    def parts(self) -> list[Part]:
        """Named parts with their paint filled in; the accessory's parts come last."""
        main = Paint(self.colour, self.surface)
        parts = [Part(p.name, p.shape, p.size, p.centre, main, p.turn) if p.paint is MAIN else p for p in KINDS[self.kind]()]
        if self.accessory:
            parts += ACCESSORIES[self.accessory](TOPS[self.kind], Paint(self.accessory_colour))
        return parts


def random_toy(rng: np.random.Generator) -> Toy:
    """Draw a toy for the prior's training set: two in five carry an accessory, half are plainly painted."""
    colour = str(rng.choice(MAIN_COLOURS))
    surface = str(rng.choice(SURFACES, p=(0.50, 0.14, 0.14, 0.11, 0.11)))
    accessory = str(rng.choice(list(ACCESSORIES))) if rng.random() < 0.45 else ""
    return Toy(str(rng.choice(list(KINDS))), colour, surface, accessory, str(rng.choice(MAIN_COLOURS)) if accessory else "")


def bounds(toys: Sequence[Toy]) -> tuple[np.ndarray, float]:
    """Centre (3,) and longest side of the box around all of `toys` together."""
    corners = np.concatenate([_mesh(part).bounds for toy in toys for part in toy.parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (low + high) / 2, float((high - low).max())


def renderer(toy: Toy, centre: np.ndarray, scale: float) -> MeshRenderer:
    """Make `toy` renderable after moving `centre` to the origin and multiplying by `scale`.

    Textures are tied to the toy's own units, so that a normalised toy keeps its stripes.
    """
    surfaces = []
    for part in toy.parts:
        mesh = _mesh(part)
        mesh.vertices = (mesh.vertices - centre) * scale
        paint = shader(part.paint)
        colour = lambda points, paint=paint: paint((points / scale + centre).astype(np.float32))  # noqa: E731
        surfaces.append(Surface(part.name, mesh, colour, part.shape in SMOOTH, GLOSS.get(part.paint.surface, 0.0)))
    return MeshRenderer(surfaces)


def _mesh(part: Part) -> trimesh.Trimesh:
    mesh = primitive(part.shape).copy()
    turn = trimesh.transformations.euler_matrix(*np.radians(part.turn))[:3, :3]
    mesh.vertices = (mesh.vertices * part.size) @ turn.T + part.centre
    return mesh


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
