"""The attributes of a toy: the words for each, a toy's own as labels, and toys that differ in one of them."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from piva.toys.objects import ACCESSORIES, GROUNDS, KINDS
from piva.toys.paint import COLOURLESS, MAIN_COLOURS, SURFACES
from piva.toys.world import Toy

WORDS: dict[str, tuple[str, ...]] = {  # the fields of a toy; "" where there is none
    "kind": tuple(KINDS),
    "colour": MAIN_COLOURS,
    "surface": SURFACES,
    "accessory": ("", *ACCESSORIES),
    "accessory_colour": MAIN_COLOURS,
    "ground": ("", *GROUNDS),
}
UNSEEN = -1  # the label of what a picture does not show: a golden toy's colour, the colour of no accessory


def labels(toys: Sequence[Toy], words: Mapping[str, Sequence[str]]) -> Int64[Tensor, "b words"]:
    """Return the index of each attribute's word in its list, or `UNSEEN`."""
    return torch.tensor([[_label(toy, name, choices) for name, choices in words.items()] for toy in toys])


def without_colour(truth: Int64[Tensor, "b words"]) -> Int64[Tensor, "b words"]:
    """Return the labels of `WORDS` that remain when colours are exchanged: shapes and patterns."""
    names = list(WORDS)
    left = truth.clone()
    left[:, [names.index(name) for name in ("colour", "accessory_colour", "ground")]] = UNSEEN
    surface = left[:, names.index("surface")]
    for word in COLOURLESS:
        surface[surface == SURFACES.index(word)] = UNSEEN
    return left


def shows(toy: Toy, attribute: str) -> bool:
    """Return whether a picture of the toy shows its `attribute`."""
    if attribute == "colour":
        return toy.surface not in COLOURLESS
    return attribute != "accessory_colour" or bool(toy.accessory)


def altered(toy: Toy, generator: torch.Generator, attribute: str | None = None) -> Toy:
    """Return the toy with one attribute changed: the given one, or any that its caption tells, at random."""
    shown = sorted(name for name in WORDS if shows(toy, name))
    name = attribute or _one_of(shown, generator)
    other = dataclasses.replace(
        toy, **{name: _one_of([w for w in WORDS[name] if w != getattr(toy, name)], generator)}
    )
    if other.accessory and not other.accessory_colour:
        return dataclasses.replace(other, accessory_colour=_one_of(MAIN_COLOURS, generator))
    return other


def _label(toy: Toy, attribute: str, choices: Sequence[str]) -> int:
    return choices.index(getattr(toy, attribute)) if shows(toy, attribute) else UNSEEN


def _one_of(choices: Sequence[str], generator: torch.Generator) -> str:
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]
