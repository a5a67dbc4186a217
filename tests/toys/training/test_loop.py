"""The training loop on a line: it returns the best average and goes on from its checkpoint."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from piva.toys.training.loop import Recipe, train

RECIPE = Recipe(steps=6, lr=0.1, hold=0.5, ema=[0.1, 0.9], warm=1, check_every=3)


def loss_of(model: nn.Linear, _: int, generator: torch.Generator) -> Tensor:
    x = torch.rand(4, 1, generator=generator)
    return (model(x) - 3 * x).square().mean()


def weight(folder: Path, recipe: Recipe, sign: int) -> float:
    """The trained weight, which rises from 0 towards 3, by an error that is `sign` times the weight."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    check = lambda average: {"error": sign * average.weight.item()}  # noqa: E731
    return train("line", model, loss_of, check, recipe, folder / "line.pt", 0).weight.item()


def test_the_average_with_the_least_error_is_returned(tmp_path: Path) -> None:
    newest = weight(tmp_path, RECIPE, -1)
    parts = torch.load(tmp_path / "line.pt", weights_only=True)
    assert set(parts) == {"model", "optimiser", "average 0.1", "average 0.9", "generator", "step"}
    assert newest == parts["average 0.1"]["weight"].item()
    assert weight(tmp_path, RECIPE, 1) == parts["average 0.9"]["weight"].item() < newest


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir(), (tmp_path / "parts").mkdir()
    whole = weight(tmp_path / "whole", RECIPE, -1)
    half = dataclasses.replace(RECIPE, hold=0.9, steps=3)  # the first half, at the same rates
    weight(tmp_path / "parts", half, -1)
    assert torch.load(tmp_path / "parts/line.pt", weights_only=True)["step"] == 3
    assert weight(tmp_path / "parts", RECIPE, -1) == whole
