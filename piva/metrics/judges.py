"""Which networks measure a run: the options of the group `metrics`. Settings are checked without torch."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from piva.errors import InputError
from piva.toys import weights

if TYPE_CHECKING:
    from piva.metrics.perceptual import Judges


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """No networks: PSNR, SSIM and saturation alone."""

    def check(self) -> None:
        """Nothing can be missing."""

    def load(self, device: str) -> "Judges | None":
        return None


@dataclass(frozen=True, kw_only=True)
class Toys:
    """The toys' own CLIP, and the distance in the features of its image tower in the place of LPIPS."""

    path: str  # `toys` are the networks shipped with the package

    def check(self) -> None:
        """Raise `InputError` where a file is missing or damaged."""
        if not self.folder.is_dir():
            raise InputError(
                "metrics.path",
                f"no folder {self.path!r}",
                "toys or a folder that piva.toys.training.metric_networks wrote",
            )
        weights.check(self.folder, "clip")
        weights.check_tokenizer(self.folder)

    @property
    def folder(self) -> Path:
        return (
            Path(str(resources.files("piva.toys") / "metric_networks"))
            if self.path == "toys"
            else Path(self.path).expanduser()
        )

    def load(self, device: str) -> "Judges | None":
        from piva.metrics.perceptual import Judges, PieJudges
        from piva.toys import clip

        judge = clip.load(self.folder, device)
        version = weights.version(weights.check(self.folder, "clip"))
        names = {name: f"toys-{name}-{version}" for name in ("clip", "lpips")}
        return Judges(judge, judge.distance, PieJudges(judge, judge.distance), names)
