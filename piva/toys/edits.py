"""The toys benchmark: sixteen objects, each with an edit of its texture, of one of its parts and of its kind.

The objects of `TEST` are for reporting; those of `DEVELOPMENT`, of other kinds, are for choosing settings.
None is white, which has no outline against a white background, or black, which shows no shading.
"""

from dataclasses import dataclass, replace

from piva.toys.paint import SURFACES
from piva.toys.world import Toy


@dataclass(frozen=True)
class Change:
    """Hold one edit: the toy that should come out, and how a person would ask for it."""

    name: str
    type: str  # texturing, addition or translation
    target: Toy
    instruction: str


@dataclass(frozen=True)
class Case:
    """Hold one object and its edits."""

    name: str
    source: Toy
    changes: tuple[Change, ...]


def _case(source: Toy, look: str, accessory: str, kind: str) -> Case:
    """Return a case from a colour or surface, a coloured accessory ("green ball") and another kind."""
    painted = replace(source, surface=look) if look in SURFACES else replace(source, colour=look)
    colour, thing = accessory.split()
    dressed = replace(source, accessory=thing, accessory_colour=colour)
    changes = (
        Change(look, "texturing", painted, f"Make the {source.kind} {look}."),
        Change(thing, "addition", dressed, f"Add a {accessory}."),
        Change(kind, "translation", replace(source, kind=kind), f"Turn the {source.kind} into a {kind}."),
    )
    return Case(source.kind, source, changes)


TEST = (
    _case(Toy("chair", "purple"), "golden", "green ball", "table"),
    _case(Toy("mug", "orange"), "blue", "yellow ball", "vase"),
    _case(Toy("snowman", "green"), "purple", "red hat", "robot"),
    _case(Toy("house", "red"), "striped", "yellow flag", "tower"),
    _case(Toy("table", "blue"), "wooden", "orange ball", "chair"),
    _case(Toy("lamp", "orange"), "striped", "blue ball", "mushroom"),
    _case(Toy("rocket", "red"), "checkered", "green flag", "cone"),
    _case(Toy("cake", "orange"), "purple", "blue flag", "gift"),
    _case(Toy("cone", "red", ground="stone"), "blue", "yellow hat", "tree"),
    _case(Toy("tower", "purple", ground="grass"), "spotted", "red flag", "rocket"),
    _case(Toy("car", "green", ground="sand"), "red", "pink hat", "house"),
    _case(Toy("gift", "blue", ground="tiles"), "golden", "red ball", "cake"),
)

DEVELOPMENT = (
    _case(Toy("mushroom", "red"), "striped", "blue ball", "tree"),
    _case(Toy("tree", "green", ground="grass"), "orange", "red ball", "mushroom"),
    _case(Toy("robot", "blue"), "red", "yellow hat", "snowman"),
    _case(Toy("vase", "purple", ground="tiles"), "golden", "orange flag", "mug"),
)

SPLITS = {"test": TEST, "development": DEVELOPMENT}
