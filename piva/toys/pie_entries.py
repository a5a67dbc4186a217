"""The entries of the PIE toys: pairs of toys that differ by seven of PIE-Bench's ten types, in its notation.

Random, pose and style are left out: a toy has one pose and one style.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import numpy as np

from piva.toys.edits import SPLITS
from piva.toys.objects import ACCESSORIES, GROUNDS
from piva.toys.paint import MAIN_COLOURS
from piva.toys.world import Toy, random_toy

SEED = 0
# PIE's type -> its name in PIE's folders and how many PIE has.
TYPES = {
    1: ("change_object", 80),
    2: ("add_object", 80),
    3: ("delete_object", 80),
    4: ("change_attribute_content", 40),
    6: ("change_attribute_color", 40),
    7: ("change_attribute_material", 40),
    8: ("change_background", 80),
}
SHARE = {"test": 4, "development": 10}  # we have a fourth, a tenth of that
OUTDOOR_KINDS = {"snowman", "house", "tower", "mushroom", "tree", "rocket", "cone", "car"}
OUTDOOR_GROUNDS = {"grass", "sand", "stone"}


@dataclass(frozen=True)
class Pair:
    """Hold an edit's source and target, its instruction, and PIE's "blended" words: what turns into what."""

    source: Toy
    target: Toy
    instruction: str
    blended: str


@dataclass(frozen=True)
class Entry:
    """Hold one record of the mapping file without its mask."""

    id: str  # PIE's 12 digits: type, 1 = artificial, 3 = indoor or 4 = outdoor, then a number of nine digits
    type: int
    folder: str  # below annotation_images
    pair: Pair


def entries(split: str) -> list[Entry]:
    """Return the same entries at every call; types take turns, so that the first few cover all of them."""
    kinds = [case.source.kind for case in SPLITS[split]]
    made: list[tuple[float, Entry]] = []
    for kind, (name, in_pie) in TYPES.items():
        count, numbers = in_pie // SHARE[split], {3: 0, 4: 0}
        for index, pair in enumerate(_pairs(kind, kinds, count)):
            place = 4 if _outdoor(pair.source) else 3
            folder = f"{kind}_{name}_{count}/1_artificial/{place}_{'outdoor' if place == 4 else 'indoor'}"
            made.append((index / count, Entry(f"{kind}1{place}{numbers[place]:09d}", kind, folder, pair)))
            numbers[place] += 1
    return [entry for _, entry in sorted(made, key=lambda turn: (turn[0], turn[1].type))]


def marked(source: str, target: str) -> tuple[str, str]:
    """Return both prompts with brackets around the words that differ, but not articles: "an [orange] mug"."""
    words = source.split(), target.split()
    out: tuple[list[str], list[str]] = ([], [])
    for tag, *ends in SequenceMatcher(None, *words, autojunk=False).get_opcodes():
        runs = words[0][ends[0] : ends[1]], words[1][ends[2] : ends[3]]
        outside = int(tag == "replace" and all(run[0] in ("a", "an") for run in runs))
        for text, run in zip(out, runs, strict=True):
            inside = " ".join(run[outside:])
            text += run if tag == "equal" else [*run[:outside], *([f"[{inside}]"] if inside else [])]
    return " ".join(out[0]), " ".join(out[1])


def _pairs(kind: int, kinds: list[str], count: int) -> Iterator[Pair]:
    """Yield `count` different pairs of one type; the objects take turns."""
    rng = np.random.default_rng((SEED, kind, len(kinds)))
    seen: set[tuple[Toy, Toy]] = set()
    while len(seen) < count:
        toy, other = replace(random_toy(rng), kind=kinds[len(seen) % len(kinds)]), _lender(kinds, rng)
        pair = CHANGES[kind](toy, other)
        toys = pair.source, pair.target
        differ = pair.source.caption != pair.target.caption
        if differ and toys not in seen and all(map(_fine, toys)):
            seen.add(toys)
            yield pair


def _fine(toy: Toy) -> bool:
    """Return whether the prior knows the toy, white hides none of it and its accessory has another colour."""
    colours = toy.colour, toy.accessory_colour
    return not toy.held_out and "white" not in colours and colours[0] != colours[1]


def _outdoor(toy: Toy) -> bool:
    return toy.ground in OUTDOOR_GROUNDS if toy.ground else toy.kind in OUTDOOR_KINDS


def _lender(kinds: list[str], rng: np.random.Generator) -> Toy:
    """Return a random toy with an accessory on a ground, from which an edit takes what it adds."""
    kind, accessory, colour, ground = (
        str(rng.choice(words)) for words in (kinds, list(ACCESSORIES), MAIN_COLOURS, GROUNDS)
    )
    return replace(random_toy(rng), kind=kind, accessory=accessory, accessory_colour=colour, ground=ground)


# Each makes a pair of a toy and a lender. A pair of equal toys, where the toy does not suit, is dropped.


def _change_object(toy: Toy, other: Toy) -> Pair:
    turned = replace(toy, kind=other.kind)
    return Pair(toy, turned, f"Turn the {toy.kind} into a {other.kind}.", f"{toy.kind} {other.kind}")


def _add_object(toy: Toy, other: Toy) -> Pair:
    dressed = replace(toy, accessory=other.accessory, accessory_colour=other.accessory_colour)
    article = "an" if other.accessory_colour[0] in "aeiou" else "a"
    return Pair(_bare(toy), dressed, f"Add {article} {other.accessory_colour} {other.accessory}.", "")


def _delete_object(toy: Toy, _: Toy) -> Pair:
    return Pair(toy, _bare(toy), f"Remove the {toy.accessory}.", "")


def _change_content(toy: Toy, other: Toy) -> Pair:
    """Return a pair with another accessory, or with the accessory in another colour."""
    if not toy.accessory:
        return Pair(toy, toy, "", "")
    blended = f"{toy.accessory} {other.accessory}"
    if other.accessory == toy.accessory:
        painted = replace(toy, accessory_colour=other.accessory_colour)
        return Pair(toy, painted, f"Make the {toy.accessory} {other.accessory_colour}.", blended)
    replaced = replace(toy, accessory=other.accessory)
    return Pair(toy, replaced, f"Replace the {toy.accessory} by a {other.accessory}.", blended)


def _change_colour(toy: Toy, other: Toy) -> Pair:
    painted = replace(toy, colour=other.colour)
    return Pair(toy, painted, f"Make the {toy.kind} {other.colour}.", f"{toy.kind} {toy.kind}")


def _change_material(toy: Toy, other: Toy) -> Pair:
    covered = replace(toy, surface=other.surface)
    return Pair(toy, covered, f"Make the {toy.kind} {other.surface}.", f"{toy.kind} {toy.kind}")


def _change_background(toy: Toy, other: Toy) -> Pair:
    floor = other.ground if toy.ground else ""
    return Pair(toy, replace(toy, ground=floor), f"Put the {toy.kind} on {floor}.", f"{toy.ground} {floor}")


def _bare(toy: Toy) -> Toy:
    return replace(toy, accessory="", accessory_colour="")


CHANGES: dict[int, Callable[[Toy, Toy], Pair]] = {
    1: _change_object,
    2: _add_object,
    3: _delete_object,
    4: _change_content,
    6: _change_colour,
    7: _change_material,
    8: _change_background,
}
