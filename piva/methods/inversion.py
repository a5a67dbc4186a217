"""Settings of the baselines that invert the picture and denoise it again: no optimiser, no score."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval

from piva.config import RunSettings
from piva.errors import InputError
from piva.models.needs import Model, Regulariser
from piva.scores.terms import Score
from piva.tasks.base import Task

if TYPE_CHECKING:
    from piva.optimise import Method, Step, Work

UNREAD = frozenset({"score", "regulariser", "schedule", "model"})
MOST_STEPS = 500  # of DDIM: beyond, a stride of the 1000 timesteps no longer reaches the noisy ones
Part = Annotated[float, Interval(ge=0, le=1)]  # of the steps


@dataclass(frozen=True, kw_only=True)
class PromptToPrompt:
    """Prompt-to-prompt (Hertz et al. 2022): at first, the edit attends where the source's branch does.

    With both parts 0 the edit is denoised plainly.
    """

    cross_until: Part  # of maps of the prompt's words
    self_until: Part  # of maps between pixels
    words: Literal["refine", "replace"]  # maps of shared words alone, or also of exchanged ones
    self_size: Annotated[int, Ge(1)]  # maps between more than self_size^2 pixels stay the edit's own

    @property
    def shared(self) -> float:
        """The part of the steps in which the source's branch counts."""
        return max(self.cross_until, self.self_until)

    def ends(self, steps: int) -> tuple[int, int]:
        """Return the steps, counted from 0, before which cross- and self-attention are the source's."""
        return round(self.cross_until * steps), round(self.self_until * steps)


@dataclass(frozen=True, kw_only=True)
class DDIMInversion:
    """DDIM run backwards with the source prompt and no guidance, then forwards with the target prompt."""

    unread: ClassVar[frozenset[str]] = UNREAD
    checkpoints: ClassVar[bool] = False
    instructed: ClassVar[bool] = False

    guidance_scale: Annotated[float, Gt(0)]
    attention: PromptToPrompt

    def check(self, parts: Mapping[str, Any], run: RunSettings) -> None:
        _check(parts["task"], run)

    def passes_of_step(self, score: Score, model: Model, regulariser: Regulariser, rows: int) -> float:
        """Return a step's rows through the U-Net, there and back, as a mean over the steps."""
        guided = 1 if self.guidance_scale == 1 else 2
        return 1 + guided * (1 + self.attention.shared)

    def edit(self, works: "Sequence[Work]", method: "Method", steps: int) -> "Iterator[tuple[Work, Step]]":
        from piva.methods.denoising import Inversion

        return Inversion(method.denoiser, self.guidance_scale, self.attention, "none").edit(works, steps)


@dataclass(frozen=True, kw_only=True)
class DirectInversion:
    """DDIM inversion whose source branch is put back on its inversion at every step (Ju et al. 2023).

    `corrected` says which branches get the source's correction: the `source` alone, as published, which acts
    on the edit through attention; or `both` ("add-source" in its ablations), with which equal prompts give
    back the original exactly.
    """

    unread: ClassVar[frozenset[str]] = UNREAD
    checkpoints: ClassVar[bool] = False
    instructed: ClassVar[bool] = False

    guidance_scale: Annotated[float, Gt(0)]
    attention: PromptToPrompt
    corrected: Literal["source", "both"]

    def check(self, parts: Mapping[str, Any], run: RunSettings) -> None:
        _check(parts["task"], run)
        if self.corrected == "source" and not any(self.attention.ends(run.steps)):
            found, wanted = "source, without attention from the source", "attention from it, or both"
            raise InputError("method.corrected", found, wanted, "this is method=ddim_inversion")

    def passes_of_step(self, score: Score, model: Model, regulariser: Regulariser, rows: int) -> float:
        """Return a step's rows through the U-Net, there and back, as a mean over the steps."""
        guided = 1 if self.guidance_scale == 1 else 2
        return 1 + guided + (guided if self.corrected == "both" else self.attention.shared)

    def edit(self, works: "Sequence[Work]", method: "Method", steps: int) -> "Iterator[tuple[Work, Step]]":
        from piva.methods.denoising import Inversion

        inversion = Inversion(method.denoiser, self.guidance_scale, self.attention, self.corrected)
        return inversion.edit(works, steps)


def _check(task: Task, run: RunSettings) -> None:
    """Refuse what needs renders, or the middle of an edit, when its latents are noisy."""
    if task.renders:
        raise InputError("method", "an inversion of renders", "one of a picture", "use task=image")
    if run.steps > MOST_STEPS:
        raise InputError("steps", str(run.steps), f"at most {MOST_STEPS} steps of DDIM")
    if run.noises != 1:
        raise InputError("noises", str(run.noises), "1: an inversion draws none")
    for key, found in (("measure_at", run.measure_at), ("samples.at", run.samples.at)):
        if found:
            raise InputError(key, str(found), "[]: on the way an inversion has noisy latents alone")
