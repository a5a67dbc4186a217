"""The contract of a task: its settings, and one edit being optimised. No torch at run time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from piva.datasets.edit import Edit
from piva.metrics.comparison import Comparison

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.optim import Optimizer

    from piva.priors.prior import Prior
    from piva.scores.terms import Latents
    from piva.tasks.photos import Photos


@dataclass(frozen=True, kw_only=True)
class View:
    """What a step sees from the same cameras: the edit, and the original if that was asked for.

    `latents` (b, c, y, x). `depth` (b, h, w), if it was asked for, is along
    the viewing axis, in scene units, 0 where nothing is met; without a graph. Each `alike`
    rows in turn show one view before different backgrounds, and get the same noise.
    """

    latents: "Mapping[Latents, Tensor]"
    depth: "Mapping[Latents, Tensor]" = field(default_factory=dict)
    alike: int = 1


@dataclass(frozen=True)
class Randomness:
    """An edit's generators: `host` for what Python needs (timesteps, cameras), `device` for noise."""

    host: "torch.Generator"
    device: "torch.Generator"


class Descent:
    """An optimiser and its learning rates' schedule (a task's `lr_schedule`, `lr_end` and `lr_warmup`)."""

    def __init__(self, optimiser: "Optimizer", task: Any, steps: int) -> None:
        from piva.schedules.learning_rate import scheduled

        self._optimiser, self._task = optimiser, task
        self._decay = scheduled(optimiser, task.lr_schedule, task.lr_end, task.lr_warmup, steps)

    def step(self) -> None:
        """Take one step, clear the gradients and go on to the next step's learning rates."""
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._decay.step()

    def anew(self, steps: int) -> "Descent":
        """Return a descent of so many steps by the same optimiser, with the schedule from its start."""
        for group in self._optimiser.param_groups:
            group["lr"] = group["initial_lr"]
        return Descent(self._optimiser, self._task, steps)

    def rates(self) -> list[float]:
        """Return the next step's learning rates, one a parameter group."""
        return [group["lr"] for group in self._optimiser.param_groups]

    def checkpoint(self) -> dict[str, Any]:
        """Return what `step` changes beside the parameters."""
        return {"optimiser": self._optimiser.state_dict(), "decay": self._decay.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `checkpoint` returned."""
        self._optimiser.load_state_dict(saved["optimiser"])
        self._decay.load_state_dict(saved["decay"])


@runtime_checkable
class TaskState(Protocol):
    """One edit being optimised: theta, how it renders to latents, and its optimiser."""

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        """Return the latents of the edit, and if asked those of the original.

        Those of the edit have a graph to theta where gradients are enabled. `depth`, and `size` for renders
        of about size^2 pixels instead of the run's resolution, need a task that `renders`.
        """

    def step(self) -> None:
        """Update theta by the gradients that back-propagation left, and clear them."""

    def follow(self, moved: "Tensor", randomness: Randomness) -> None:
        """Bring theta to where the edit of the last `view` has these latents (b, c, y, x), or near."""

    def compare(self) -> Comparison:
        """Render what is saved and measured."""

    def state_dict(self) -> "dict[str, Tensor]":
        """Return theta, ready for safetensors."""

    def checkpoint(self) -> "dict[str, Any]":
        """Return all that `view` and `step` change, as a tree of dicts, lists, tensors, numbers and texts."""

    def restore(self, saved: "Mapping[str, Any]") -> None:
        """Take over what `checkpoint` returned, in a state just opened for the same edit."""


@runtime_checkable
class PhotographedState(TaskState, Protocol):
    """What a state whose theta was fitted to pictures by known cameras has beside, to be fitted to others."""

    def photos(self) -> "Photos":
        """Return the training pictures; what is changed of them is part of a checkpoint."""

    def render_photo(self, index: int) -> "Tensor":
        """Return the edit (1, 3, h, w) as the camera of a training picture sees it, without a graph."""

    def render_rays(self, rays_o: "Tensor", rays_d: "Tensor") -> "Tensor":
        """Return the colours (n, 3) that the edit has along rays (n, 3), with a graph, before a step."""


@runtime_checkable
class Task(Protocol):
    """Settings of what is edited."""

    needs: ClassVar[str]  # which of Edit's inputs it works on: "image" or "scene"
    renders: ClassVar[bool]  # whether views are rendered, so that they have depth and can be of any size

    @property
    def views(self) -> int:
        """Views of a step."""

    def check(self, edit: Edit) -> None:
        """Raise `InputError` if the edit's files cannot be used. No torch."""

    def open(self, edit: Edit, prior: "Prior", size: int, steps: int, randomness: Randomness) -> TaskState:
        """Make the state to optimise at resolution `size` for `steps` steps."""
