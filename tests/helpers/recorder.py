"""A state of which everything is known, in place of an image or a scene."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from piva.metrics.comparison import Comparison
from piva.scores.terms import EDIT, ORIGINAL, Latents
from piva.tasks.base import Randomness, View


class Recorder:
    """Theta with a known map to latents, x = 3 theta; keeps the gradients and the sizes of all steps.

    With `scale` 1 theta is the latents themselves, as in a picture.
    """

    def __init__(
        self,
        start: Tensor,
        depth: Mapping[Latents, Tensor] | None = None,
        lr: float = 0.1,
        scale: float = 3.0,
        alike: int = 1,
    ) -> None:
        self.theta, self.original, self.lr = start.clone().requires_grad_(True), scale * start, lr
        self.scale, self.alike = scale, alike
        self.depth = depth or {}
        self.gradients: list[Tensor] = []
        self.sizes: list[int | None] = []

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        self.sizes.append(size)
        latents = {EDIT: self.theta if self.scale == 1 else self.scale * self.theta} | (
            {ORIGINAL: self.original} if original else {}
        )
        return View(latents=latents, depth=self.depth if depth else {}, alike=self.alike)

    def step(self) -> None:
        assert self.theta.grad is not None
        self.gradients.append(self.theta.grad.clone())
        with torch.no_grad():
            self.theta -= self.lr * self.theta.grad
        self.theta.grad = None

    def follow(self, moved: Tensor, randomness: Randomness) -> None:
        with torch.no_grad():
            self.theta.copy_(moved / self.scale)

    def compare(self) -> Comparison:
        raise AssertionError

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def checkpoint(self) -> dict[str, Any]:
        raise AssertionError

    def restore(self, saved: Mapping[str, Any]) -> None:
        raise AssertionError
