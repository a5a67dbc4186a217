"""The contract of a task: its settings, and one edit being optimised. No torch at run time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from piva.datasets.edit import Edit
from piva.images import film_writer, save_image, to_uint8

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.priors.prior import Prior
    from piva.scores.terms import Latents


@dataclass(frozen=True, kw_only=True)
class View:
    """What a step sees, from the same cameras: of the edit, and of the original if that was asked for.

    `latents` (b, c, y, x) of the edit have a graph to theta. `depth` (b, h, w) along the viewing axis, in the scene's units, 0
    where nothing is met, is there if it was asked for; without a graph.
    """

    latents: "Mapping[Latents, Tensor]"
    depth: "Mapping[Latents, Tensor]" = field(default_factory=dict)


@dataclass(frozen=True)
class Randomness:
    """Where an edit's draws come from: `host` for what Python needs (timesteps, cameras), `device` for noise."""

    host: "torch.Generator"
    device: "torch.Generator"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What an edit did, as pictures: (n, 3, h, w) in [0, 1] on the run's device.

    `before` and `after` show the original and the edit from the same views (a turntable, or one picture). Where the truth
    is known, `truth_*` hold the edit beside the true pictures at the truth's own views; masks (m, 1, h, w) are 1 where the
    truth differs from the source.
    """

    before: "Tensor"
    after: "Tensor"
    truth: "Tensor | None" = None
    truth_before: "Tensor | None" = None
    truth_after: "Tensor | None" = None
    truth_mask: "Tensor | None" = None
    size: tuple[int, int] | None = None  # (h, w) of the user's own picture, if the edit ran at another


def save_comparison(comparison: Comparison, folder: Path) -> None:
    """Write before.png and after.png; of several views turntable.mp4; the truth where it is known."""
    import torch

    for name, images in (("before", comparison.before), ("after", comparison.after)):
        first = images[:1]
        if comparison.size:
            first = torch.nn.functional.interpolate(first, comparison.size, mode="bicubic", antialias=True)
        save_image(folder / f"{name}.png", to_uint8(first[0]))
    if len(comparison.before) > 1:
        with film_writer(folder / "turntable.mp4", 12) as film:
            for frame in to_uint8(torch.cat([comparison.before, comparison.after], dim=-1)):
                film.write_frame(frame)
    if comparison.truth is not None:
        save_image(folder / "truth.png", to_uint8(comparison.truth[0]))


@runtime_checkable
class TaskState(Protocol):
    """One edit being optimised: theta, how it renders to latents, and its optimiser."""

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        """Look at the edit, and if asked at the original too.

        `depth` and `size` (about size^2 pixels in the place of the run's resolution) are asked only of a task that `renders`.
        """

    def step(self) -> None:
        """Update theta by the gradients that back-propagation left, and clear them."""

    def compare(self) -> Comparison:
        """Render what is to be looked at and measured."""

    def state_dict(self) -> "dict[str, Tensor]":
        """Theta, ready for safetensors."""

    def checkpoint(self) -> "dict[str, Any]":
        """All that `view` and `step` change, between two steps: a tree of dicts, lists, tensors, numbers and texts."""

    def restore(self, saved: "Mapping[str, Any]") -> None:
        """Take over what `checkpoint` gave, in a state just opened for the same edit; from there on both do the same."""


@runtime_checkable
class Task(Protocol):
    """Settings of what is edited."""

    needs: ClassVar[str]  # which of Edit's inputs it works on: "image" or "scene"
    renders: ClassVar[bool]  # whether views are rendered, so that they have depth and can be of any size

    def check(self, edit: Edit) -> None:
        """Raise `InputError` if the edit's files cannot be used. No torch."""

    def open(self, edit: Edit, prior: "Prior", size: int, steps: int, randomness: Randomness) -> TaskState:
        """Make the state to optimise at resolution `size` for `steps` steps."""
