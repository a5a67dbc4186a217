"""Settings of Gaussian splats, their fit and their edit: checking them must not need torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval

from piva.nerf.settings import check_coarse

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from piva.nerf.splats.scene import SplatScene
    from piva.nerf.splats.splats import Splats

MOST = 16_000_000  # splats of a fit or a file: 23 GB in an edit at degree 3
GROUPS = ("means", "scales", "quats", "opacities", "sh0", "shN")


@dataclass(frozen=True, kw_only=True)
class SplatEdit:
    """How an edit moves splats: learning rates, how strongly they are drawn back to the original, and how
    many more there may be.

    An anchor is the weight of half the squared distance to the original, of one value, beside the score's
    gradient of it.
    """

    lr_means: Annotated[float, Gt(0)]
    lr_scales: Annotated[float, Gt(0)]
    lr_quats: Annotated[float, Gt(0)]
    lr_opacities: Annotated[float, Gt(0)]
    lr_sh0: Annotated[float, Gt(0)]
    lr_shN: Annotated[float, Gt(0)]
    anchor_means: Annotated[float, Ge(0)]
    anchor_scales: Annotated[float, Ge(0)]
    anchor_opacities: Annotated[float, Ge(0)]
    anchor_colours: Annotated[float, Ge(0)]
    coarse: list[Annotated[int, Interval(ge=2, le=1024)]]  # nodes along a side, each until its part is done
    coarse_until: list[Annotated[float, Interval(ge=0, le=1)]]  # rising
    reserve: Annotated[float, Interval(ge=0, le=4)]  # more splats, as a part of those there are
    reach: Annotated[float, Gt(0)]  # of where they begin, from what is solid
    sprout_until: Annotated[float, Interval(ge=0, le=1)]  # of the steps

    def __post_init__(self) -> None:
        check_coarse(self.coarse, self.coarse_until)

    @property
    def rates(self) -> dict[str, float]:
        return {name: getattr(self, f"lr_{name}") for name in GROUPS}

    def before_step(self, field: "Splats", original: "Splats", progress: float) -> None:
        """Make the gradients those of a change that is coarse at first, and add the anchors'."""
        for resolution, until in zip(self.coarse, self.coarse_until, strict=True):
            if progress < until:
                field.coarsen_gradient(resolution)
                break
        weights = (self.anchor_means, self.anchor_scales, self.anchor_opacities, self.anchor_colours)
        field.anchor(original, dict(zip(("means", "scales", "opacities", "sh0"), weights, strict=True)))

    def after_step(
        self, field: "Splats", original: "Splats", progress: float, rates: Mapping[str, float]
    ) -> None:
        """Do nothing: a splat's change is its own."""


@dataclass(frozen=True, kw_only=True)
class SplatFit:
    """Gaussian splats, as many from the first step to the last: those that fade begin anew beside others
    (`Splats.relocate`).
    """

    levels: ClassVar[int] = 1  # the hull that a fit begins in is of the box alone

    radius: Annotated[float, Interval(gt=0, le=10_000)]
    splats: Annotated[int, Interval(ge=1, le=MOST)]
    degree: Literal[0, 1, 2, 3]
    steps: Annotated[int, Interval(ge=1, le=100_000_000)]
    ssim: Annotated[float, Interval(ge=0, le=1)]
    opacity_cost: Annotated[float, Ge(0)]
    scale_cost: Annotated[float, Ge(0)]
    noise: Annotated[float, Ge(0)]
    relocate_every: Annotated[int, Ge(1)]
    relocate_until: Annotated[float, Interval(ge=0, le=1)]
    lr_means: Annotated[float, Gt(0)]
    lr_scales: Annotated[float, Gt(0)]
    lr_quats: Annotated[float, Gt(0)]
    lr_opacities: Annotated[float, Gt(0)]
    lr_sh0: Annotated[float, Gt(0)]
    lr_shN: Annotated[float, Gt(0)]
    lr_end: Annotated[float, Gt(0)]
    occupancy: Annotated[int, Interval(ge=1, le=1024)]
    edit: Any = None

    @property
    def num_parameters(self) -> int:
        return self.splats * (11 + 3 * (self.degree + 1) ** 2)

    @property
    def cells(self) -> int:
        return 0

    @property
    def rates(self) -> dict[str, float]:
        return {name: getattr(self, f"lr_{name}") for name in GROUPS}

    def fit(self, *views: Any, **others: Any) -> "SplatScene":
        from piva.nerf.splats.fit import fit_splats

        return fit_splats(self, *views, **others)

    def read(self, path: "Path", up: str, device: "torch.device") -> "SplatScene":
        """Return the scene of a .ply file, whose axis `up` becomes z. Raises `InputError`."""
        from piva.nerf.splats.ply import read_splats
        from piva.nerf.splats.scene import SplatScene

        return SplatScene(read_splats(path, up, device), None)

    def scene(self, tensors: "Mapping[str, Tensor]") -> "SplatScene":
        from piva.nerf.splats.scene import SplatScene
        from piva.nerf.splats.splats import Splats

        return SplatScene(
            Splats(*(tensors[name] for name in (*GROUPS, "to_file"))), tensors.get("background")
        )
