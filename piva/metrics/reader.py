"""The attribute reader: a small convolutional network that says which toy a picture shows, word by word."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from piva.metrics.toys import check_network, read_network
from piva.metrics.toys_clip import resized
from piva.toys.world import Toy


class Reader(nn.Module):
    """The CLIP's image tower up to its pooling, with its own weights; a hidden layer; a linear head for each
    word.
    """

    def __init__(self, width: int, size: int, hidden: int, words: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.size = size
        self.words = {name: tuple(choices) for name, choices in words.items()}
        self.tower = ModifiedResNet([1, 1, 1, 1], hidden, heads=1, image_size=size, width=width)
        flat = 32 * width * (size // 32) ** 2
        self.tower.attnpool = nn.Sequential(nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU())
        self.heads = nn.ModuleDict(
            {name: nn.Linear(hidden, len(choices)) for name, choices in self.words.items()}
        )

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Logits (b, choices) of each word for pictures in [0, 1] at the network's size."""
        features = self.tower(4 * pictures - 2)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, pictures: Float[Tensor, "b 3 h w"]) -> list[Toy]:
        """The likeliest toys. The colour of a golden or wooden one means nothing."""
        chosen = {name: logits.argmax(dim=1).tolist() for name, logits in self(pictures).items()}
        toys = []
        for i in range(len(pictures)):
            words = {name: self.words[name][indices[i]] for name, indices in chosen.items()}
            toys.append(Toy(**words | ({} if words["accessory"] else {"accessory_colour": ""})))
        return toys

    @torch.no_grad()
    def agrees(self, pictures: Float[Tensor, "n 3 h w"], prompt: str) -> float:
        """Return 1 if the views of one toy together show every attribute that the prompt says, and no other;
        else 0; nan for a prompt that is no toy's caption.

        A part that some views hide is read from the others: their log-probabilities are added.
        """
        toy = Toy.from_caption(prompt)
        if toy is None:
            return math.nan
        logits = self(resized(pictures, self.size))
        read = {name: value.log_softmax(dim=1).sum(dim=0) for name, value in logits.items()}
        asked = {name: getattr(toy, name) for name in self.words if toy.shows(name)}
        asked = {
            name: word for name, word in asked.items() if word in self.words[name]
        }  # "a mug": any colour
        return float(all(self.words[name][int(read[name].argmax())] == word for name, word in asked.items()))


def load(folder: Path, device: str = "cpu") -> Reader:
    """The trained reader; `folder` as for `clip.load`. Raises `InputError` for missing or damaged files."""
    architecture: dict[str, Any] = check_network(folder, "reader")["architecture"]
    reader = Reader(**architecture)
    reader.load_state_dict(read_network(folder, "reader"), strict=False)  # without the counters of batch norm
    return reader.requires_grad_(False).eval().to(device)
