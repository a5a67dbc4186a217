"""Editing a scene in 3D: theta is a radiance field, g renders it from a random camera (Algorithm 1, Section A.1)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval

from piva.cameras.trajectories import Camera
from piva.datasets.edit import Edit
from piva.datasets.scene import Views, check_views, read_views
from piva.errors import InputError
from piva.nerf.memory import check_fits, estimate
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.base import Comparison, Randomness, View
from piva.tasks.image import fitting
from piva.tasks.viewpoints import Frames, Orbits, Viewpoints

if TYPE_CHECKING:
    from torch import Tensor

    from piva.cameras.lens import Lens
    from piva.nerf.field import Field
    from piva.nerf.fit import Fitted
    from piva.nerf.occupancy import Occupancy
    from piva.nerf.render import Rendered
    from piva.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class NerfTask:
    """The scene is fitted to its pictures (or read from the cache), then edited through renders from random cameras.

    Of a captured scene (`Edit.capture`) they are its own frames: the ranges and the turntable's place are for objects.
    """

    needs: ClassVar[str] = "scene"
    renders: ClassVar[bool] = True

    field: Any  # settings of the field, its fit and its edit: a `piva.nerf.settings.Fit`
    lr_schedule: Literal["constant", "cosine", "exponential"]
    lr_end: Annotated[float, Gt(0)]
    lr_warmup: Annotated[float, Interval(ge=0, le=1)]
    views: Annotated[int, Ge(1)]
    elevation_deg: list[float]
    fov_deg: list[float]
    distance: list[float]
    grow: Annotated[int, Ge(0)]
    explore: Annotated[int, Ge(0)]
    refresh_every: Annotated[int, Ge(1)]
    turntable: Annotated[int, Ge(1)]
    turntable_size: Annotated[int, Ge(16)]
    turntable_elevation_deg: Annotated[float, Interval(ge=-89, le=89)]
    turntable_fov_deg: Annotated[float, Interval(ge=1, le=170)]
    turntable_distance: Annotated[float, Gt(0)]

    def check(self, edit: Edit) -> None:
        if self.field.edit is None:
            raise InputError(
                "field.edit", "nothing", "the learning rates of an edit", "see conf/field/voxels.yaml"
            )
        if edit.scene is None:
            raise InputError(
                f"task=nerf, edit {edit.id}", "a picture", "a scene folder with its cameras", "use task=image"
            )
        check_views(edit.scene, edit.capture)

    def open(self, edit: Edit, prior: "Prior", size: int, steps: int, randomness: Randomness) -> "NerfState":
        from tqdm import tqdm

        from piva.nerf.scenes import fitted_scene

        assert edit.scene is not None
        views = read_views(edit.scene, edit.capture, size)
        self._check_memory(views, prior, size)
        with tqdm(desc=f"{edit.id}: fitting the scene", unit="step", disable=None, leave=False) as bar:

            def progress(step: int, total: int) -> None:
                bar.total = total
                bar.update(step - bar.n)

            try:
                fitted = fitted_scene(views, self.field, 0, prior.device, progress)
            except FloatingPointError as error:
                raise FloatingPointError(f"edit {edit.id}, {error}") from error
        return NerfState(self, edit, prior, fitted, views, self._viewpoints(edit, views, prior, size), steps)

    def _check_memory(self, views: Views, prior: "Prior", size: int) -> None:
        """Raise `InputError` for what cannot be held."""
        fit = self.field
        cells, pixels = fit.levels * fit.occupancy**3, max(self.views * size**2, self.turntable_size**2)
        parts = estimate(
            num_parameters=fit.num_parameters, cells=cells, pictures=views.images[..., 0].size, pixels=pixels
        )
        keys = (
            "field, its resolutions",
            "field.occupancy",
            "dataset",
            "resolution, task.views and task.turntable_size",
        )
        check_fits(parts, dict(zip(parts, keys, strict=True)), prior.device)

    def _viewpoints(self, edit: Edit, views: Views, prior: "Prior", size: int) -> Viewpoints:
        if edit.capture:
            length, longest = self.turntable, self.turntable_size
            return Frames(
                views=views,
                size=size,
                multiple=prior.multiple,
                trajectory_length=length,
                trajectory_size=longest,
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


class NerfState:
    """The original's field, the edit's field, their occupancies and the optimiser."""

    def __init__(
        self,
        settings: NerfTask,
        edit: Edit,
        prior: "Prior",
        fitted: "Fitted",
        views: Views,
        viewpoints: Viewpoints,
        steps: int,
    ) -> None:
        import torch

        from piva.nerf.fit import adam
        from piva.schedules.learning_rate import scheduled

        self._settings, self._edit, self._prior, self._views, self._viewpoints = (
            settings,
            edit,
            prior,
            views,
            viewpoints,
        )
        self._original, self._original_occupancy = fitted.field.requires_grad_(False), fitted.occupancy
        self._field = copy.deepcopy(fitted.field).requires_grad_(True)
        self._occupancy = copy.deepcopy(fitted.occupancy)
        self._fitted_background = fitted.background
        self._background = (
            torch.ones(3, device=prior.device) if fitted.background is None else fitted.background
        )
        self._optimiser = adam(self._field, settings.field.edit.rates)
        self._decay = scheduled(
            self._optimiser, settings.lr_schedule, settings.lr_end, settings.lr_warmup, steps
        )
        self._step = 0

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        import torch

        s = self._settings
        if self._step % s.refresh_every == 0:
            self._occupancy.refresh(self._field.density, s.field.threshold, dilate=s.grow)
            self._check_alive()
            if (
                self._step < s.explore
            ):  # else no ray would sample, and no gradient reach, what is further away than `grow`
                self._occupancy.open_box()
        cameras = [self._resized(self._viewpoints.draw(randomness.host), size) for _ in range(s.views)]
        shots = {EDIT: self._shoot(self._field, self._occupancy, cameras, depth)}
        if original:
            with torch.no_grad():
                shots[ORIGINAL] = self._shoot(self._original, self._original_occupancy, cameras, depth)
        return View(
            latents={which: latents for which, (latents, _) in shots.items()},
            depth={which: seen for which, (_, seen) in shots.items() if seen is not None},
        )

    def _resized(self, camera: Camera, size: int | None) -> Camera:
        """The same view in about size^2 pixels."""
        c2w, lens = camera
        if size is None:
            return camera
        height, width = fitting((lens.height, lens.width), size, self._prior.multiple)
        return c2w, lens.resized(width, height)

    def _shoot(
        self, field: "Field", occupancy: "Occupancy", cameras: list[Camera], depth: bool
    ) -> "tuple[Tensor, Tensor | None]":
        """Latents (n, c, y, x) of n views, and if asked their depth (n, h, w)."""
        import torch

        from piva.cameras.rays import z_depth

        shots = [self._render(field, occupancy, camera) for camera in cameras]
        latents = self._prior.encode(torch.stack([shot.rgb.permute(2, 0, 1) for shot in shots]))
        if not depth:
            return latents, None
        return latents, torch.stack(
            [
                z_depth(shot.depth, shot.opacity, *self._place(camera))
                for shot, camera in zip(shots, cameras, strict=True)
            ]
        )

    def step(self) -> None:
        self._settings.field.edit.smooth(self._field, self._original)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._decay.step()
        self._step += 1

    def compare(self) -> Comparison:
        trajectory = self._viewpoints.trajectory()
        before, after = (self._render_all(*f, trajectory) for f in self._fields)
        return Comparison(before=before, after=after, **self._truth())

    def state_dict(self) -> "dict[str, Tensor]":
        import torch

        tensors = {**self._field.state_dict(), "occupied": self._tight_occupancy().occupied}
        original = {**self._original.state_dict(), "occupied": self._original_occupancy.occupied}
        # to look at beside the edit when the cache is gone; half precision will do for that
        tensors |= {
            f"original.{name}": x.half() if x.is_floating_point() else x for name, x in original.items()
        }
        if self._edit.capture:
            tensors["world"] = torch.from_numpy(self._views.world)  # from the file's to the field's
        if self._fitted_background is not None:
            tensors["background"] = self._fitted_background
        return tensors

    def checkpoint(self) -> "dict[str, Any]":
        return {
            "step": self._step,
            "field": self._field.state_dict(),
            "occupancy": self._occupancy.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "decay": self._decay.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._step = saved["step"]
        self._field.load_state_dict(saved["field"])
        self._occupancy.load_state_dict(saved["occupancy"])
        self._optimiser.load_state_dict(saved["optimiser"])
        self._decay.load_state_dict(saved["decay"])

    def _check_alive(self) -> None:
        """Raise `FloatingPointError` if the field is not finite any more, or empty."""
        where = f"edit {self._edit.id}, step {self._step}"
        if not bool(self._occupancy.occs.isfinite().all()):
            raise FloatingPointError(f"{where}: the field's density is not finite")
        if not bool(self._occupancy.occupied.any()):
            raise FloatingPointError(f"{where}: the field is empty")

    def _tight_occupancy(self) -> "Occupancy":
        """Without the room to grow. A copy: looking at an edit must not change how it goes on."""
        occupancy = copy.deepcopy(self._occupancy)
        occupancy.refresh(self._field.density, self._settings.field.threshold)
        return occupancy

    @property
    def _fields(self) -> "list[tuple[Field, Occupancy]]":
        return [(self._original, self._original_occupancy), (self._field, self._tight_occupancy())]

    def _truth(self) -> "dict[str, Any]":
        """Both fields at the scene's test cameras, the true pictures there, and where those differ from the source's."""
        import torch

        from piva.images import read_rgb
        from piva.tasks.image import resize

        folder = self._edit.truth
        if folder is None:
            return {}

        views = self._views
        size = (views.images.shape[1], views.images.shape[2])

        def read(part: str) -> "Tensor":
            names = [f"{Path(views.names[i]).stem}.png" for i in views.test]
            pictures = [torch.from_numpy(read_rgb(folder / part / name)) for name in names]
            return resize(torch.stack(pictures).permute(0, 3, 1, 2).to(self._background), size)

        cameras = [(views.c2w[i], views.lenses[i]) for i in views.test]
        before, after = (self._render_all(*f, cameras) for f in self._fields)
        mask = (read("masks").mean(dim=1, keepdim=True) > 0).float()
        return {"truth": read("images"), "truth_before": before, "truth_after": after, "truth_mask": mask}

    def _render_all(self, field: "Field", occupancy: "Occupancy", cameras: list[Camera]) -> "Tensor":
        import torch

        with torch.no_grad():
            return torch.stack(
                [self._render(field, occupancy, camera).rgb.permute(2, 0, 1) for camera in cameras]
            )

    def _render(self, field: "Field", occupancy: "Occupancy", camera: Camera) -> "Rendered":
        """One view."""
        from piva.nerf.render import render_image

        fit = self._settings.field
        place = self._place(camera)
        return render_image(
            field, occupancy, *place, self._background, fit.step, near=self._views.near, cone=fit.cone
        )

    def _place(self, camera: Camera) -> "tuple[Tensor, Lens]":
        """The camera where the field is."""
        import torch

        return torch.from_numpy(camera[0]).to(self._background), camera[1]


def _pair(bounds: list[float]) -> tuple[float, float]:
    low, high = bounds
    return low, high
