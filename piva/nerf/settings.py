"""Settings of the fields, their fits and their edits, apart from the code that uses them: checking them must
not need torch.

A field has a fit (`VoxelFit`, `HashFit`), in it an edit (`VoxelEdit`, `HashEdit`) with the learning rates of
score distillation, and a `Field` class. `SceneSettings` is what the rest of the program reads of them, `Fit`
what rendering reads. Splats have theirs in splats/settings.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from annotated_types import Ge, Gt, Interval

from piva.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.nerf.field import Field
    from piva.nerf.fit import Fitted
    from piva.nerf.hash_grid import HashGrid
    from piva.nerf.kernels.layout import Layout
    from piva.nerf.voxels import Voxels

FINEST = 2**20  # cells along a side of a hash grid's finest level
MOST_SAMPLES = 10_000  # along a ray, from the middle of the box to its side


@runtime_checkable
class SceneSettings(Protocol):
    """What the settings of any representation of a scene have."""

    edit: Any  # settings of an edit; None where the scene is only fitted

    @property
    def num_parameters(self) -> int:
        """Return the number of parameters of the field at its finest."""

    @property
    def cells(self) -> int:
        """Return the number of cells of the occupancy grid, 0 without one."""

    def fit(self, views: Any, c2w: Any, lens: Any, *others: Any, **options: Any) -> Any:
        """Fit a `piva.nerf.scenes.Scene` to views, as `piva.nerf.fit.fit` does."""

    def scene(self, tensors: "Mapping[str, Tensor]") -> Any:
        """Return the `piva.nerf.scenes.Scene` of these tensors. Raises `KeyError` for one that is not
        there.
        """


@runtime_checkable
class Box(Protocol):
    """Where a fit looks for the object: the cells of its visual hull."""

    @property
    def radius(self) -> float:
        """Return half the side of the box."""

    @property
    def occupancy(self) -> int:
        """Return the number of cells along a side."""

    @property
    def levels(self) -> int:
        """Return 1 for the box, more for all of space."""


@runtime_checkable
class Fit(Protocol):
    """What any radiance field's settings have beside. Lengths are in scene units."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    radius: float  # half the side of the box
    rays: int  # rays a step
    step: float  # length of a sample along a ray
    cone: float  # samples further away than step / cone are as long as cone times their distance
    levels: int  # of the occupancy grid, each twice as wide; several: all of space (`contract`)
    lr_end: float  # learning rates fall by this factor, exponentially, over the steps of the last stage
    occupancy: int  # cells along a side of the occupancy grid
    threshold: float  # density (1 / scene unit) up to which a cell counts as empty
    refresh_every: int  # steps between updates of the occupancy grid
    decay: float  # share of a cell's remembered density that survives an update
    sparsity: float  # weight of the mean density anywhere in the box: it empties what no view sees
    edit: Any  # settings of an edit of the field; None where it is only fitted

    @property
    def num_parameters(self) -> int:
        """Return the number of parameters of the field at its finest."""

    @property
    def stages(self) -> list[int]:
        """Return the optimiser steps of each stage."""

    @property
    def rates(self) -> dict[str, float]:
        """Return the fit's learning rates by parameter group (`Field.parameter_groups`)."""

    def initial_field(self, generator: "torch.Generator") -> "Field":
        """Return the field before a fit, on the generator's device."""

    def refine(self, field: Any, stage: int) -> "Field":
        """Return the same field at the stage's resolution."""

    def restore(self, tensors: "Mapping[str, Tensor]") -> "Field":
        """Return the field whose state these tensors are."""


def _check_space(fit: "VoxelFit | HashFit") -> None:
    """Raise `InputError` for an occupancy grid or rays that nothing can hold."""
    if fit.levels > 8:
        wanted = "at most 8: as many as nerfacc's kernel takes, 128 times the radius"
        raise InputError("levels", f"{fit.levels}", wanted)
    if fit.step < fit.radius / MOST_SAMPLES:
        wanted = f"at least the {MOST_SAMPLES:,}th part of the radius ({fit.radius:g})"
        raise InputError("step", f"{fit.step:g}", wanted)


def check_coarse(coarse: list[int], until: list[float]) -> None:
    """Raise `InputError` unless each of the coarse resolutions has its part of the steps."""
    if len(coarse) != len(until) or until != sorted(until):
        raise InputError("coarse_until", str(until), f"rising, a part of the steps for each of {coarse}")


@dataclass(frozen=True, kw_only=True)
class VoxelEdit:
    """How an edit moves voxels: learning rates, weights of the roughness of the change
    (`Voxels.smooth_change`), the resolutions it begins with (`Voxels.coarsen_gradient`), and how much of each
    step is taken back (`Voxels.shrink_change`).
    """

    lr_density: Annotated[float, Gt(0)]
    lr_colour: Annotated[float, Gt(0)]
    smooth_density: Annotated[float, Ge(0)]
    smooth_colour: Annotated[float, Ge(0)]
    coarse: list[Annotated[int, Interval(ge=2, le=1024)]]  # nodes along a side, each until its part is done
    coarse_until: list[Annotated[float, Interval(ge=0, le=1)]]  # rising
    shrink: Annotated[float, Interval(ge=0, le=1)]  # a part of the learning rate
    shrink_from: Annotated[float, Interval(ge=0, le=1)]  # of the steps

    def __post_init__(self) -> None:
        check_coarse(self.coarse, self.coarse_until)

    @property
    def rates(self) -> dict[str, float]:
        return {"density": self.lr_density, "colour": self.lr_colour}

    def before_step(self, field: "Voxels", original: "Voxels", progress: float) -> None:
        """Make the gradients those of a change that is coarse at first, and smooth; `progress` in [0, 1)."""
        for resolution, until in zip(self.coarse, self.coarse_until, strict=True):
            if progress < until:
                field.coarsen_gradient(resolution)
                break
        field.smooth_change(original, self.smooth_density, self.smooth_colour)

    def after_step(
        self, field: "Voxels", original: "Voxels", progress: float, rates: Mapping[str, float]
    ) -> None:
        """Take back a part of the step where little asks for it; `rates` are the step's learning rates."""
        if self.shrink and progress >= self.shrink_from:
            field.shrink_change(original, *(self.shrink * rates[name] for name in ("density", "colour")))


@dataclass(frozen=True, kw_only=True)
class VoxelFit:
    """Voxels, coarse to fine; what else they need is listed in `Fit`."""

    sparsity: ClassVar[float] = 0.0  # voxels know which of them no view has seen: `Voxels.prune_unseen`

    radius: Annotated[float, Interval(gt=0, le=10_000)]
    resolutions: list[Annotated[int, Interval(ge=2, le=1024)]]  # nodes along a side, coarse to fine
    steps: list[int]  # optimiser steps at each of these resolutions
    rays: Annotated[int, Interval(ge=1, le=100_000_000)]
    step: Annotated[float, Gt(0)]
    cone: Annotated[float, Ge(0)]
    levels: Annotated[int, Ge(1)]
    lr_density: Annotated[float, Gt(0)]
    lr_colour: Annotated[float, Gt(0)]
    lr_end: Annotated[float, Gt(0)]
    occupancy: Annotated[int, Interval(ge=1, le=1024)]
    threshold: Annotated[float, Ge(0)]
    refresh_every: Annotated[int, Ge(1)]
    decay: Annotated[float, Interval(ge=0, le=1)]
    edit: Any = None

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.resolutions) or min(self.steps) < 1:
            found = f"{self.steps} for resolutions {self.resolutions}"
            raise InputError("steps", found, "at least one step for each of them")
        _check_space(self)

    @property
    def num_parameters(self) -> int:
        return int(4 * self.resolutions[-1] ** 3)

    @property
    def cells(self) -> int:
        return int(self.levels * self.occupancy**3)

    def fit(self, views: Any, c2w: Any, lens: Any, *others: Any, **options: Any) -> "Fitted":
        from piva.nerf.fit import fit

        return fit(views, c2w, lens, cast(Fit, self), *others, **options)

    def scene(self, tensors: "Mapping[str, Tensor]") -> "Fitted":
        from piva.nerf.fit import fitted_of

        return fitted_of(cast(Fit, self), tensors)

    @property
    def stages(self) -> list[int]:
        return self.steps

    @property
    def rates(self) -> dict[str, float]:
        return {"density": self.lr_density, "colour": self.lr_colour}

    def initial_field(self, generator: "torch.Generator") -> "Voxels":
        from piva.nerf.field import initial_density
        from piva.nerf.voxels import init_voxels

        raw = initial_density(self.levels)
        return init_voxels(self.resolutions[0], self.radius, raw, generator.device, self.levels)

    def refine(self, field: "Voxels", stage: int) -> "Voxels":
        return field.upsample(self.resolutions[stage])

    def restore(self, tensors: "Mapping[str, Tensor]") -> "Voxels":
        from piva.nerf.voxels import Voxels

        return Voxels(tensors["raw_density"], tensors["raw_colour"], self.radius, self.levels)


@dataclass(frozen=True, kw_only=True)
class HashEdit:
    """How an edit moves a hash grid: learning rates."""

    lr_grid: Annotated[float, Gt(0)]
    lr_network: Annotated[float, Gt(0)]

    @property
    def rates(self) -> dict[str, float]:
        return {"grid": self.lr_grid, "network": self.lr_network}

    def before_step(self, field: "HashGrid", original: "HashGrid", progress: float) -> None:
        """Do nothing: neighbours in space are not neighbours in a hash grid."""

    def after_step(
        self, field: "HashGrid", original: "HashGrid", progress: float, rates: Mapping[str, float]
    ) -> None:
        """Do nothing: what a row of the grid changes is no change at a place."""


@dataclass(frozen=True, kw_only=True)
class HashFit:
    """A hash grid under the names of kernels/layout.py and its network; what else they need is listed in
    `Fit`.
    """

    radius: Annotated[float, Interval(gt=0, le=10_000)]
    grid_levels: Annotated[int, Interval(ge=1, le=64)]
    features: Literal[1, 2, 4, 8]  # of a level; tiny-cuda-nn has no others
    log2_rows: Annotated[int, Interval(ge=3, le=24)]
    base: Annotated[int, Interval(ge=1, le=8192)]
    growth: Annotated[float, Interval(ge=1, le=16)]
    hidden: Annotated[int, Interval(ge=1, le=8192)]  # units of the network's one hidden layer
    kernel: Literal["auto", "torch", "numba", "triton", "tinycudann"]
    steps: Annotated[int, Interval(ge=1, le=100_000_000)]
    rays: Annotated[int, Interval(ge=1, le=100_000_000)]
    step: Annotated[float, Gt(0)]
    cone: Annotated[float, Ge(0)]
    levels: Annotated[int, Ge(1)]
    lr_grid: Annotated[float, Gt(0)]
    lr_network: Annotated[float, Gt(0)]
    lr_end: Annotated[float, Gt(0)]
    sparsity: Annotated[float, Ge(0)]
    occupancy: Annotated[int, Interval(ge=1, le=1024)]
    threshold: Annotated[float, Ge(0)]
    refresh_every: Annotated[int, Ge(1)]
    decay: Annotated[float, Interval(ge=0, le=1)]
    edit: Any = None

    def __post_init__(self) -> None:
        _check_space(self)
        finest = self.base * self.growth ** (self.grid_levels - 1)
        if finest > FINEST:
            wanted = f"at most {FINEST} cells along a side: a smaller base, growth or grid_levels"
            raise InputError("growth", f"{finest:.3g} cells along a side of the finest grid", wanted)

    @property
    def layout(self) -> "Layout":
        from piva.nerf.kernels.layout import Layout

        sizes = {"levels": self.grid_levels, "features": self.features, "log2_rows": self.log2_rows}
        return Layout(**sizes, base=self.base, growth=self.growth)

    @property
    def num_parameters(self) -> int:
        return self.layout.size + self.hidden * (self.layout.width + 4)

    @property
    def cells(self) -> int:
        return int(self.levels * self.occupancy**3)

    def fit(self, views: Any, c2w: Any, lens: Any, *others: Any, **options: Any) -> "Fitted":
        from piva.nerf.fit import fit

        return fit(views, c2w, lens, cast(Fit, self), *others, **options)

    def scene(self, tensors: "Mapping[str, Tensor]") -> "Fitted":
        from piva.nerf.fit import fitted_of

        return fitted_of(cast(Fit, self), tensors)

    @property
    def stages(self) -> list[int]:
        return [self.steps]

    @property
    def rates(self) -> dict[str, float]:
        return {"grid": self.lr_grid, "network": self.lr_network}

    def initial_field(self, generator: "torch.Generator") -> "HashGrid":
        from piva.nerf.hash_grid import init_hash_grid

        return init_hash_grid(self.layout, self.hidden, self.radius, self.kernel, generator, self.levels)

    def refine(self, field: "HashGrid", stage: int) -> "HashGrid":
        return field

    def restore(self, tensors: "Mapping[str, Tensor]") -> "HashGrid":
        from piva.nerf.hash_grid import HashGrid

        grid, hidden, out = (tensors[name] for name in ("grid", "hidden", "out"))
        return HashGrid(grid, hidden, out, self.layout, self.radius, self.kernel, self.levels)
