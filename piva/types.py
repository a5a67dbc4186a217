"""What the parts of a run hand to each other. Imports no torch at run time: the command line needs this before torch."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.priors.prior import Prior
    from piva.priors.schedule import Schedule
    from piva.priors.stable_diffusion import StableDiffusion
    from piva.scores.terms import Latents, Network, Prediction, Sum


@dataclass(frozen=True, kw_only=True)
class Capture:
    """How a scene photographed from within is read: its world is chance's, its pictures may be larger than needed."""

    downscale: int | None  # pictures are read this many times smaller; None: as near to the run's resolution as halving comes
    orientation: str | None  # "up", "none", or None: what the file asks for, else "up"
    centre: str  # "poses", "none"
    scale: bool  # bring the cameras into [-1, 1]^3
    near: float  # nothing is nearer to a camera than this, in units of that world


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One entry of a dataset: what to edit, from which prompt to which, and where the truth lies if it is known."""

    id: str  # unique in its dataset; names the folder edits/<id> (may contain /)
    source_prompt: str
    target_prompt: str
    type: str = ""  # texturing, addition, translation, or a PIE type
    instruction: str = ""
    blended_word: str = ""  # PIE's: the words of source and target that stand for each other, as the dataset writes them
    image: Path | None = None  # the picture to edit; for an object its front view
    scene: Path | None = None  # a folder with transforms.json or transforms_train.json
    capture: Capture | None = None  # of a scene whose cameras stand in it; None: an object in the middle of its cameras
    mask: Path | None = None  # where the picture is meant to change, if the dataset says so
    truth: Path | None = None  # a folder with images/<stem>.png and masks/<stem>.png, if known


@runtime_checkable
class Dataset(Protocol):
    """Settings of a reader. Raises `InputError` for anything missing or malformed, before torch is imported."""

    gives: ClassVar[tuple[str, ...]]  # which of Edit's inputs its edits have: "image", "scene"

    def read(self) -> Iterator[Edit]:
        """The chosen edits in a fixed order."""


@runtime_checkable
class Score(Protocol):
    """Settings of a score; its whole mathematics is `direction`."""

    weight: str  # the w(t) of `Schedule.weight`

    def __hash__(self) -> int: ...

    def direction(self, schedule: "Schedule", t: int) -> "Sum":
        """The direction to descend at timestep t, before w(t), as a weighted sum of noise predictions."""


@runtime_checkable
class Changing(Protocol):
    """A score whose weights change in the course of a run."""

    def at(self, part: float) -> Score:
        """The score when `part` of the steps, in [0, 1], is done. What it needs anywhere it needs at 0 or at 1."""


@runtime_checkable
class LearnedModels(Protocol):
    """The fine-tuned models eps_psi and eps_phi of one edit, at work."""

    needs_depth: bool  # whether `predict` looks at depth

    def predict(
        self,
        prior: "Prior",
        predictions: "Sequence[Prediction]",
        noisy: "Tensor",
        t: int,
        context: "Tensor",
        depth: "Mapping[Latents, Tensor]",
    ) -> "Tensor":
        """Noise predictions of a batch: as many rows of `noisy` and `context` for each of `predictions`, in that order.

        Rows of the frozen network are the prior's own. `depth` (b, h, w) is that of the views behind each kind of latents,
        as in `View`; with gradients to the adapters if those are enabled.
        """

    def learn(self, loss: "Tensor") -> None:
        """One optimiser step down the diffusion loss."""

    def save(self, folder: Path) -> None:
        """Write the adapters in peft's format."""

    def checkpoint(self) -> "dict[str, Any]":
        """All that `learn` changes, between two steps, as in `TaskState.checkpoint`."""

    def restore(self, saved: "Mapping[str, Any]") -> None:
        """Take over what `checkpoint` gave, in models made with the same settings."""

    def detach(self) -> None:
        """Give the prior back as it was."""


@runtime_checkable
class Model(Protocol):
    """Settings of how the learned models are made from the prior."""

    needs_depth: ClassVar[bool]  # whether the task must give the depth of its views

    def check(self, prior: "StableDiffusion") -> None:
        """Raise `InputError` if they cannot be made from this prior. No torch."""

    def attach(self, prior: "Prior", networks: "Collection[Network]", generator: "torch.Generator") -> LearnedModels:
        """Make those of `networks`; `generator` draws their initial weights."""


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


@runtime_checkable
class TaskState(Protocol):
    """One edit being optimised: theta, how it renders to latents, and its optimiser."""

    def view(self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None) -> View:
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
