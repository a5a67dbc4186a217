"""The attributes of toys as labels, and accuracies: the share of them that a metric network gets right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from piva.metrics.reader import Reader
from piva.metrics.toys_clip import ToysClip
from piva.toys.objects import ACCESSORIES, GROUNDS, KINDS
from piva.toys.paint import COLOURLESS, MAIN_COLOURS, SURFACES
from piva.toys.training import corpus
from piva.toys.world import Toy, random_toy

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


def altered(toy: Toy, generator: torch.Generator, attribute: str | None = None) -> Toy:
    """Return the toy with one attribute changed: the given one, or any that its caption tells, at random."""
    shown = sorted(name for name in WORDS if toy.shows(name))
    name = attribute or _one_of(shown, generator)
    other = replace(toy, **{name: _one_of([w for w in WORDS[name] if w != getattr(toy, name)], generator)})
    if other.accessory and not other.accessory_colour:
        return replace(other, accessory_colour=_one_of(MAIN_COLOURS, generator))
    return other


@dataclass(frozen=True)
class Trial:
    """Hold pictures (n, 3, h, w) in [0, 1] and what they show."""

    pictures: Tensor
    toys: Sequence[Toy]


def fresh(count: int, size: int, seed: int) -> Trial:
    """Return pictures that are in no corpus, of toys of all sorts, those held out from training too."""
    rng = np.random.default_rng((seed, 2**32 - 1))  # the corpus' chunks are seeded by (seed, first index)
    toys = [random_toy(rng) for _ in range(count)]
    pictures = np.stack([corpus.picture(toy, rng, size)[0] for toy in toys])
    return Trial(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, toys)


@torch.no_grad()
def try_clip(network: ToysClip, trial: Trial, group: int = 100) -> dict[str, float]:
    """Return how often the right one of `group` distinct captions fits best, and beats a slightly wrong one.

    The former is `top1`, for held-out toys alone `top1_held_out`; `pair_<attribute>` is how often it beats
    the same caption with that attribute changed.
    """
    captions = [toy.caption for toy in trial.toys]
    pictures, texts = network.images(trial.pictures).cpu(), network.texts(captions).cpu()
    hits, rows = [], []
    distinct = list({caption: i for i, caption in enumerate(captions)}.values())
    for start in range(0, max(len(distinct) - group, 0) + 1, group):
        chosen = distinct[start : start + group]
        hits += ((pictures[chosen] @ texts[chosen].T).argmax(dim=1) == torch.arange(len(chosen))).tolist()
        rows += chosen
    unseen = [hit for hit, row in zip(hits, rows, strict=True) if trial.toys[row].held_out]
    figures = {"top1": float(np.mean(hits))}
    figures |= {"top1_held_out": float(np.mean(unseen))} if unseen else {}
    generator = torch.Generator().manual_seed(0)
    for name in WORDS:
        chosen = [i for i, toy in enumerate(trial.toys) if toy.shows(name)]
        wrong = network.texts([altered(trial.toys[i], generator, name).caption for i in chosen]).cpu()
        better = (pictures[chosen] * (texts[chosen] - wrong)).sum(dim=1) > 0
        figures[f"pair_{name}"] = float(better.float().mean())
    return figures


@torch.no_grad()
def try_reader(network: Reader, trial: Trial) -> dict[str, float]:
    """Return the share of right words, each over the pictures that show it; and for held-out toys alone."""
    truth = labels(trial.toys, network.words).to(trial.pictures.device)
    chosen = torch.stack([logits.argmax(dim=1) for logits in network(trial.pictures).values()], dim=1)
    unseen = torch.tensor([toy.held_out for toy in trial.toys], device=truth.device)
    figures = {}
    for suffix, rows in {"": torch.ones_like(unseen), "_held_out": unseen}.items():
        for k, name in enumerate(network.words):
            shown = (truth[:, k] != UNSEEN) & rows
            if shown.any():
                figures[name + suffix] = float((chosen == truth)[shown, k].float().mean())
    return figures


def _label(toy: Toy, attribute: str, choices: Sequence[str]) -> int:
    return choices.index(getattr(toy, attribute)) if toy.shows(attribute) else UNSEEN


def _one_of(choices: Sequence[str], generator: torch.Generator) -> str:
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]
