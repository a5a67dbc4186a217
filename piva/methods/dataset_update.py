"""Settings of Instruct-NeRF2NeRF's baseline: training pictures are edited, and the field follows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, Interval

from piva.config import RunSettings
from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.metrics.toys import Pixels
from piva.models.needs import Model, Regulariser
from piva.nerf.splats.settings import SplatFit
from piva.scores.terms import Score

if TYPE_CHECKING:
    from piva.optimise import Method, Step, Work

Part = Annotated[float, Interval(ge=0, le=1)]  # of the prior's timesteps


@dataclass(frozen=True, kw_only=True)
class DatasetUpdate:
    """Iterative dataset update (Haque et al. 2023): at every so many steps of fitting the field, the next
    training picture is edited by InstructPix2Pix, from a noised render of the field.
    """

    unread: ClassVar[frozenset[str]] = frozenset({"score", "regulariser", "schedule", "model"})
    checkpoints: ClassVar[bool] = True
    instructed: ClassVar[bool] = True

    instruction: str
    every: Annotated[int, Ge(1)]
    ddim_steps: Annotated[int, Interval(ge=1, le=500)]
    t_min: Part
    t_max: Part
    guidance_scale: Annotated[float, Ge(0)]
    image_guidance_scale: Annotated[float, Ge(0)]
    patches: Annotated[int, Ge(1)]
    patch_size: Annotated[int, Ge(32)]  # LPIPS cannot see less
    lpips: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        if self.t_min > self.t_max:
            raise InputError("method.t_min", f"{self.t_min:g}", f"at most method.t_max={self.t_max:g}")
        try:
            self.instruct(Edit(id="", source_prompt="", target_prompt=""))
        except (LookupError, ValueError):
            wanted = "words, in which {source} and {target} stand for the prompts"
            raise InputError("method.instruction", repr(self.instruction), wanted) from None

    def check(self, parts: Mapping[str, Any], run: RunSettings) -> None:
        """Refuse what has no training pictures or no LPIPS, and what is for a score alone."""
        if not parts["task"].renders:
            found, wanted = "the dataset update of a picture", "a scene with its training pictures"
            raise InputError("method", found, wanted, "use task=nerf")
        if isinstance(parts["task"].field, SplatFit):
            found = "a dataset update, which follows single rays"
            raise InputError("field=splats", found, "method=optimise", "or field=voxels")
        if run.noises != 1:
            raise InputError("noises", str(run.noises), "1: no direction is averaged")
        for key, given in (("coarse", run.coarse), ("samples.at", run.samples.at)):
            if given:
                raise InputError(key, str(given), "[] for a dataset update")
        if self.lpips and isinstance(parts["metrics"], Pixels):
            wanted = "metrics=toys or paper, or method.lpips=0"
            raise InputError("method.lpips metrics=pixels", "no network for it", wanted)

    def passes_of_step(self, score: Score, model: Model, regulariser: Regulariser, rows: int) -> float:
        """Return the rows through the U-Net of a picture's edit, shared among the steps to the next."""
        return 3 * self.ddim_steps / self.every

    def instruct(self, edit: Edit) -> str:
        """Return what the prior is told to do."""
        return edit.instruction or self.instruction.format(
            source=edit.source_prompt, target=edit.target_prompt
        )

    def edit(self, works: "Sequence[Work]", method: "Method", steps: int) -> "Iterator[tuple[Work, Step]]":
        from piva.methods.updating import Update

        return Update(self, method.denoiser.prior, method.lpips).edit(works, steps)
