"""Editing a scene in 3D: theta is a radiance field, g renders it from a random camera (Algorithm 1, A.1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval, MultipleOf

from piva.datasets.edit import Edit
from piva.datasets.pinholes import as_pinholes
from piva.datasets.scene import Views, check_views, no_views, read_views
from piva.errors import InputError
from piva.nerf.memory import check_fits, estimate
from piva.nerf.splats.ply import read_header
from piva.nerf.splats.settings import SplatFit
from piva.ranges import Degrees, FieldOfView, Rising
from piva.runs.bars import bar
from piva.tasks.base import Randomness
from piva.tasks.viewpoints import Frames, Orbits, Viewpoints

if TYPE_CHECKING:
    from piva.priors.prior import Prior
    from piva.tasks.nerf_state import NerfState

MOST_PIXELS = 2**30  # of a turntable, which is held as a whole: 13 GB


@dataclass(frozen=True, kw_only=True)
class NerfTask:
    """Fit the scene to its pictures, or read it from the cache, then edit it through renders from random
    cameras.

    A captured scene (`Edit.capture`) has its own cameras: the ranges and the turntable's place are for
    objects.
    """

    needs: ClassVar[str] = "scene"
    renders: ClassVar[bool] = True

    field: Any  # settings of the field, its fit and its edit: `piva.nerf.settings.SceneSettings`
    lr_schedule: Literal["constant", "cosine", "exponential"]
    lr_end: Annotated[float, Interval(gt=0, le=1)]
    lr_warmup: Annotated[float, Interval(ge=0, le=1)]
    views: Annotated[int, Interval(ge=1, le=1024)]
    elevation_deg: Annotated[list[Degrees], Rising(2)]
    fov_deg: Annotated[list[FieldOfView], Rising(2)]
    distance: Annotated[list[Annotated[float, Gt(0)]], Rising(2)]
    pastel: Annotated[float, Interval(ge=0, le=1)]
    follow_steps: Annotated[int, Interval(ge=1, le=100_000)]
    follow_weight: Annotated[float, Gt(0)]
    harden: Annotated[float, Ge(0)]
    carve: Annotated[float, Ge(0)]
    grow: Annotated[int, Interval(ge=0, le=1024)]
    refresh_every: Annotated[int, Interval(ge=1, le=1_000_000)]
    turntable: Annotated[int, Interval(ge=1, le=100_000)]
    turntable_size: Annotated[int, Interval(ge=16, le=8192), MultipleOf(2)]  # films have even sides
    turntable_elevation_deg: Degrees
    turntable_fov_deg: FieldOfView
    turntable_distance: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if (pixels := self.turntable * self.turntable_size**2) > MOST_PIXELS:
            found = f"{self.turntable} views of {self.turntable_size}^2, {pixels:.3g} pixels"
            raise InputError("task.turntable", found, f"at most {MOST_PIXELS:.3g} pixels in all")

    def check(self, edit: Edit) -> None:
        if self.field.edit is None:
            wanted, remedy = "the learning rates of an edit", "see conf/field/voxels.yaml"
            raise InputError("field.edit", "nothing", wanted, remedy)
        if edit.scene is None:
            wanted = "a scene folder with its cameras"
            raise InputError(f"task=nerf, edit {edit.id}", "a picture", wanted, "use task=image")
        if edit.scene.suffix.lower() != ".ply":
            check_views(edit.scene, edit.capture)
        elif read_header(edit.scene) and not isinstance(self.field, SplatFit):
            raise InputError(edit.scene, "a .ply of splats", "field=splats, or a folder of pictures")

    def open(self, edit: Edit, prior: "Prior", size: int, steps: int, randomness: Randomness) -> "NerfState":
        from piva.nerf.scenes import fitted_scene
        from piva.tasks.nerf_state import NerfState

        assert edit.scene is not None
        if edit.scene.suffix.lower() == ".ply":
            views = no_views(size)
            count = read_header(edit.scene).num_parameters
            self._check_memory(count, views, prior, size, str(edit.scene))
            scene = self.field.read(edit.scene, edit.up, prior.device)
            return NerfState(
                self, edit, prior, scene, views, self._viewpoints(edit, views, prior, size), steps
            )
        views = read_views(edit.scene, edit.capture, size)
        if isinstance(self.field, SplatFit):
            views = as_pinholes(views)
        sizes = "field.splats" if isinstance(self.field, SplatFit) else "field, its resolutions"
        self._check_memory(self.field.num_parameters, views, prior, size, sizes)
        with bar(0, f"{edit.id}: fitting the scene", "step") as shown:

            def progress(step: int, total: int) -> None:
                shown.total = total
                shown.update(step - shown.n)

            try:
                fitted = fitted_scene(views, self.field, 0, prior.device, progress)
            except FloatingPointError as error:
                raise FloatingPointError(f"edit {edit.id}, {error}") from error
        return NerfState(self, edit, prior, fitted, views, self._viewpoints(edit, views, prior, size), steps)

    def _check_memory(self, num_parameters: int, views: Views, prior: "Prior", size: int, sizes: str) -> None:
        """Raise `InputError` if the edit needs more memory than there is; `sizes` says what the field's
        depends on.
        """
        fit = self.field
        pixels = max(self.views * size**2, self.turntable_size**2)
        pictures = views.images[..., 0].size
        if reserve := getattr(fit.edit, "reserve", 0):
            num_parameters = round(num_parameters * (1 + reserve))
        parts = estimate(num_parameters=num_parameters, cells=fit.cells, pictures=pictures, pixels=pixels)
        pixels_keys = "resolution, task.views and task.turntable_size"
        keys = (sizes, "field.occupancy", "dataset", pixels_keys)
        check_fits(parts, dict(zip(parts, keys, strict=True)), prior.device)

    def _viewpoints(self, edit: Edit, views: Views, prior: "Prior", size: int) -> Viewpoints:
        if edit.capture:
            return Frames(
                views=views,
                size=size,
                multiple=prior.factor,
                trajectory_length=self.turntable,
                trajectory_size=self.turntable_size,
            )
        return Orbits(
            size=size,
            elevation_deg=_pair(self.elevation_deg),
            fov_deg=_pair(self.fov_deg),
            distance=_pair(self.distance),
            turntable=self.turntable,
            turntable_size=self.turntable_size,
            turntable_elevation_deg=self.turntable_elevation_deg,
            turntable_fov_deg=self.turntable_fov_deg,
            turntable_distance=self.turntable_distance,
        )


def _pair(bounds: list[float]) -> tuple[float, float]:
    low, high = bounds
    return low, high
