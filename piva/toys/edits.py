"""The toys benchmark: eight objects, each with an edit of its texture, one of its parts and one of its kind.

The objects of `TEST` are for reporting; those of `DEVELOPMENT`, of other kinds, are for choosing settings.
No white and no black objects: against a white background the former have no outline and the latter no shading.
"""

from dataclasses import dataclass, replace

from piva.toys.world import Toy


@dataclass(frozen=True)
class Change:
    """One edit: the toy that should come out, and how a person would ask for it."""

    name: str
    type: str  # texturing, addition or translation
    target: Toy
    instruction: str


@dataclass(frozen=True)
class Case:
    """One object and its edits."""

    name: str
    source: Toy
    changes: tuple[Change, ...]


MUG = Toy("mug", "red")
SNOWMAN = Toy("snowman", "green")
CHAIR = Toy("chair", "purple")
HOUSE = Toy("house", "blue")

MUSHROOM = Toy("mushroom", "red")
TREE = Toy("tree", "green")
ROBOT = Toy("robot", "blue")
VASE = Toy("vase", "purple")


def _texturing(name: str, target: Toy, instruction: str) -> Change:
    return Change(name, "texturing", target, instruction)


def _addition(source: Toy, accessory: str, colour: str, instruction: str) -> Change:
    return Change(accessory, "addition", replace(source, accessory=accessory, accessory_colour=colour), instruction)


def _translation(source: Toy, kind: str) -> Change:
    return Change(kind, "translation", replace(source, kind=kind), f"Turn the {source.kind} into a {kind}.")


TEST = (
    Case(
        "chair",
        CHAIR,
        (
            _texturing("golden", replace(CHAIR, surface="golden"), "Make the chair of gold."),
            _addition(CHAIR, "ball", "green", "Put a green ball in front of the chair."),
            _translation(CHAIR, "stool"),
        ),
    ),
    Case(
        "mug",
        MUG,
        (
            _texturing("blue", replace(MUG, colour="blue"), "Paint the mug blue."),
            _addition(MUG, "ball", "yellow", "Put a yellow ball beside the mug."),
            _translation(MUG, "vase"),
        ),
    ),
    Case(
        "snowman",
        SNOWMAN,
        (
            _texturing("purple", replace(SNOWMAN, colour="purple"), "Make the snowman purple."),
            _addition(SNOWMAN, "hat", "red", "Give the snowman a red hat."),
            _translation(SNOWMAN, "robot"),
        ),
    ),
    Case(
        "house",
        HOUSE,
        (
            _texturing("wooden", replace(HOUSE, surface="wooden"), "Build the house of wood."),
            _addition(HOUSE, "flag", "red", "Raise a red flag on the house."),
            _translation(HOUSE, "tower"),
        ),
    ),
)

DEVELOPMENT = (
    Case(
        "mushroom",
        MUSHROOM,
        (
            _texturing("spotted", replace(MUSHROOM, surface="spotted"), "Give the mushroom white spots."),
            _addition(MUSHROOM, "ball", "blue", "Put a blue ball beside the mushroom."),
            _translation(MUSHROOM, "tree"),
        ),
    ),
    Case(
        "tree",
        TREE,
        (
            _texturing("orange", replace(TREE, colour="orange"), "Turn the tree orange, as in autumn."),
            _addition(TREE, "ball", "red", "Put a red ball beside the tree."),
            _translation(TREE, "mushroom"),
        ),
    ),
    Case(
        "robot",
        ROBOT,
        (
            _texturing("red", replace(ROBOT, colour="red"), "Paint the robot red."),
            _addition(ROBOT, "hat", "yellow", "Give the robot a yellow hat."),
            _translation(ROBOT, "snowman"),
        ),
    ),
    Case(
        "vase",
        VASE,
        (
            _texturing("golden", replace(VASE, surface="golden"), "Make the vase of gold."),
            _addition(VASE, "flag", "orange", "Put an orange flag into the vase."),
            _translation(VASE, "mug"),
        ),
    ),
)

SPLITS = {"test": TEST, "development": DEVELOPMENT}
