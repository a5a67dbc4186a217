"""One scene being edited: original and edit, where they are seen from, and the optimiser of the field."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from piva.cameras.lens import Lens
from piva.cameras.rays import z_depth
from piva.cameras.trajectories import Camera
from piva.datasets.edit import Edit
from piva.datasets.pinholes import undistorted
from piva.datasets.scene import Views
from piva.metrics.comparison import Comparison
from piva.nerf.carve import Gone, excess_depth, vanishing
from piva.nerf.fit import Fitted, adam
from piva.nerf.render import Rendered, render
from piva.nerf.scenes import Scene
from piva.priors.prior import Prior
from piva.scores.terms import EDIT, ORIGINAL
from piva.tasks.base import Descent, Randomness, View
from piva.tasks.image import as_mask, fitting, read_pictures, resize
from piva.tasks.nerf import NerfTask
from piva.tasks.photos import Photos
from piva.tasks.viewpoints import Viewpoints

PASTEL = 0.55  # the least of a pastel's channels, as in the pictures that the toys' prior has seen
VISIBLE = 1 / 255  # least change of a colour


class Seen(NamedTuple):
    """What n cameras saw of the edit in a step, each before m backgrounds."""

    cameras: list[tuple[Tensor, Lens]]
    backgrounds: Tensor  # (n, m, 3)
    pictures: Tensor  # (n, m, 3, h, w), in [0, 1]
    latents: Tensor  # (n m, c, y, x)


class NerfState:
    """The original scene, the edited scene and the optimiser of its field."""

    def __init__(
        self,
        settings: NerfTask,
        edit: Edit,
        prior: Prior,
        fitted: Scene,
        views: Views,
        viewpoints: Viewpoints,
        steps: int,
    ) -> None:
        self._settings, self._edit, self._prior = settings, edit, prior
        self._views, self._viewpoints, self._step, self._steps = views, viewpoints, 0, steps
        self._photos: Photos | None = None
        self._seen: Seen  # by the last `view`
        self._original, self._edited = fitted, fitted.opened(settings.field)
        self._original.field.requires_grad_(False)
        self._edited.field.requires_grad_(True)
        white = torch.ones(3, device=prior.device)
        self._background = white if fitted.background is None else fitted.background
        self._descent = Descent(adam(self._edited.field, settings.field.edit.rates), settings, steps)

    def view(
        self, randomness: Randomness, original: bool, depth: bool = False, size: int | None = None
    ) -> View:
        s = self._settings
        self._refresh(randomness.host)
        cameras, behind = [], []
        alike = 2 if self._carves() else 1
        for _ in range(s.views // alike):
            cameras.append(self._place(self._resized(self._viewpoints.draw(randomness.host), size)))
            behind.append(self._draw_backgrounds(alike, randomness.host))
        backgrounds = torch.stack(behind)
        scenes = {EDIT: self._edited} | ({ORIGINAL: self._original} if original else {})
        latents, depths = {}, {}
        for kind, scene in scenes.items():
            with torch.set_grad_enabled(kind is EDIT and torch.is_grad_enabled()):
                pairs = zip(cameras, backgrounds, strict=True)
                seen = [self._render_before(scene, camera, colours) for camera, colours in pairs]
                pictures = torch.stack([of_it for of_it, _ in seen])
                latents[kind] = self._prior.encode_renders(pictures.flatten(0, 1))
            if depth:
                renders = zip((render for _, render in seen), cameras, strict=True)
                along = torch.stack([z_depth(x.depth, x.opacity, *camera) for x, camera in renders])
                depths[kind] = along.repeat_interleave(alike, 0)
            if kind is EDIT:
                self._seen = Seen(cameras, backgrounds, pictures.detach(), latents[kind].detach())
        return View(latents=latents, depth=depths, alike=alike)

    def _carves(self) -> bool:
        """Tell whether a step carves: cameras then see the object twice, before white and before a pastel.

        A captured scene has nothing behind it, splats go themselves from where they should not be, and
        where there is a graph, no field will follow.
        """
        s, made_of = self._settings, isinstance(self._edited, Fitted)
        carved = s.carve > 0 and made_of and not self._edit.capture
        return carved and s.views % 2 == 0 and not torch.is_grad_enabled()

    def _draw_backgrounds(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the colours (count, 3) behind an object: white and a pastel, or for one white or, with the
        chance `pastel`, a pastel.

        Behind white alone, painting a part white does what removing it would.
        """
        if self._edit.capture or (count == 1 and not self._settings.pastel):
            return self._background[None]
        drawn = torch.rand(4, generator=generator)
        pastel = (PASTEL + (1 - PASTEL) * drawn[1:]).to(self._background, non_blocking=True)
        if count == 2:
            return torch.stack([self._background, pastel])
        chance, *_ = drawn.tolist()
        return (pastel if chance < self._settings.pastel else self._background)[None]

    def _render_before(
        self, scene: Scene, camera: tuple[Tensor, Lens], backgrounds: Tensor
    ) -> tuple[Tensor, Rendered]:
        """Return pictures (m, 3, h, w) before m backgrounds (m, 3), and the render they are made of."""
        render = self._render(scene, camera, backgrounds[0])
        others = (backgrounds - backgrounds[0])[:, :, None, None]
        return render.rgb.permute(2, 0, 1) + (1 - render.opacity) * others, render

    def photos(self) -> Photos:
        """Return the training pictures, at the size of the views: what `render_rays` can be fitted to."""
        if self._photos is None:
            self._photos = Photos(self._views, self._viewpoints.size, self._prior.factor, self._background)
        return self._photos

    def render_photo(self, index: int) -> Tensor:
        """Return the edit (1, 3, h, w) as the camera of a training picture sees it, without a graph."""
        return self._render_all(self._edited, [self.photos().camera(index)])

    def render_rays(self, rays_o: Tensor, rays_d: Tensor) -> Tensor:
        """Return the colours (n, 3) that the edit has along rays (n, 3), with a graph, before a step."""
        self._refresh(None)
        assert isinstance(self._edited, Fitted)  # methods/dataset_update.py has refused others
        (field, occupancy, _), fit, near = self._edited, self._settings.field, self._views.near
        rays = rays_o, rays_d, self._background
        return render(field, occupancy, *rays, fit.step, near=near, cone=fit.cone).rgb

    def _refresh(self, generator: torch.Generator | None) -> None:
        """Look anew where the edit is, now and then. Raises `FloatingPointError` for one that is lost."""
        s = self._settings
        if torch.is_grad_enabled() and self._step % s.refresh_every:  # else the field follows, far in each
            return
        alive = self._edited.refresh(s.field, self._step / self._steps, generator, grow=s.grow)
        finite, there = alive.tolist()  # waits for the device once for both
        where = f"edit {self._edit.id}, step {self._step}"
        if not finite:
            raise FloatingPointError(f"{where}: the field's density is not finite")
        if not there:
            raise FloatingPointError(f"{where}: the field is empty")

    def _resized(self, camera: Camera, size: int | None) -> Camera:
        """Return the same view in about size^2 pixels."""
        c2w, lens = camera
        if size is None:
            return camera
        height, width = fitting((lens.height, lens.width), size, self._prior.factor)
        return c2w, lens.resized(width, height)

    def step(self) -> None:
        self._move(self._descent)
        self._step += 1

    def follow(self, moved: Tensor, randomness: Randomness) -> None:
        """Fit the field to the last views as their latents show them now: a few steps, a view at a time.

        Views disagree about outlines, and their mean is half there: in the second half of the steps what
        changes is made to cover or not. Pixels that go are carved (piva/nerf/carve.py).
        """
        s, seen = self._settings, self._seen
        # differences: what the autoencoder loses of a picture is not for the field to learn
        changes = [
            self._prior.decode(after) - self._prior.decode(before)
            for before, after in zip(seen.latents.split(1), moved.split(1), strict=True)
        ]
        change = torch.cat(changes).view_as(seen.pictures)
        visible = change.abs() >= VISIBLE  # Adam would make of the least change a whole step: fog
        wanted = torch.where(visible, (seen.pictures + change).clamp(0, 1), seen.pictures)
        touched = visible.any(2).sum(1)  # before how many backgrounds
        late = max(0.0, 2 * self._step / self._steps - 1)  # not before what is new has grown
        harden = 0.0 if self._edit.capture else s.harden * late
        gone: list[Gone] = []
        if wanted.shape[1] == 2:
            views = zip(seen.pictures, wanted, seen.backgrounds, strict=True)
            gone = [vanishing(*view) for view in views]
        descent = self._descent.anew(s.follow_steps)
        turns: list[int] = []
        for _ in range(s.follow_steps):
            turns = turns or torch.randperm(len(wanted), generator=randomness.host).tolist()
            view = turns.pop()
            camera = seen.cameras[view]
            pictures, render = self._render_before(self._edited, camera, seen.backgrounds[view])
            loss = (pictures - wanted[view]).square().sum()
            if harden:
                half = render.opacity * (1 - render.opacity)
                loss = loss + harden * half.mul(touched[view]).sum()
            if gone and len(gone[view].pixels):
                loss = loss + s.carve * self._excess_depth(camera, gone[view])
            torch.autograd.backward(s.follow_weight * loss)
            self._move(descent)
        self._step += 1

    def _excess_depth(self, camera: tuple[Tensor, Lens], gone: Gone) -> Tensor:
        assert isinstance(self._edited, Fitted)
        (field, occupancy, _), fit, near = self._edited, self._settings.field, self._views.near
        fields = field, self._original.field
        return excess_depth(*fields, occupancy, camera, gone, fit.step, near, fit.cone)

    def _move(self, descent: Descent) -> None:
        """Take one step of the field, with what its settings do before and after one."""
        fields, edit = (self._edited.field, self._original.field), self._settings.field.edit
        progress, rates = self._step / self._steps, descent.rates()
        edit.before_step(*fields, progress)
        descent.step()
        edit.after_step(*fields, progress, dict(zip(edit.rates, rates, strict=True)))

    def compare(self) -> Comparison:
        trajectory = self._viewpoints.trajectory()
        before, after = (self._render_all(scene, trajectory) for scene in (self._original, self._tight()))
        return Comparison(before=before, after=after, **self._truth())

    def _truth(self) -> dict[str, Any]:
        """Render both scenes at the test cameras, and read the true pictures there and their masks."""
        folder, views = self._edit.truth, self._views
        if folder is None:
            return {}
        size = (views.images.shape[1], views.images.shape[2])
        names = [f"{Path(views.names[i]).stem}.png" for i in views.test]
        truth, masks = (
            resize(read_pictures([folder / part / name for name in names]).to(self._background), size)
            for part in ("images", "masks")
        )
        if views.distorted:
            lenses = [views.distorted[i] for i in views.test]
            truth, masks = (_through_pinholes(part, lenses) for part in (truth, masks))
        cameras = [(views.c2w[i], views.lenses[i]) for i in views.test]
        before, after = (self._render_all(scene, cameras) for scene in (self._original, self._tight()))
        return {"truth": truth, "truth_before": before, "truth_after": after, "truth_mask": as_mask(masks)}

    def state_dict(self) -> dict[str, Tensor]:
        tensors, original = self._tight().tensors(), self._original.tensors()
        # to look at beside the edit when the cache is gone; half precision will do for that
        tensors |= {
            f"original.{name}": _half(x) if x.is_floating_point() else x
            for name, x in original.items()
            if name != "to_file"  # the edit's, which may be far from half precision's range
        }
        if self._edit.capture:
            tensors["world"] = torch.from_numpy(self._views.world)  # from the file's to the field's
        if self._original.background is not None:
            tensors["background"] = self._original.background
        return tensors

    def checkpoint(self) -> dict[str, Any]:
        photos = self._photos.changed() if self._photos else {}
        own = {"step": self._step, "photos": photos}
        return {**own, **self._edited.checkpoint(), **self._descent.checkpoint()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._step = saved["step"]
        self._edited.restore(saved)
        self._descent.restore(saved)
        for index, picture in saved.get("photos", {}).items():
            self.photos().change(index, picture)

    def _tight(self) -> Scene:
        return self._edited.tight(self._settings.field)

    def _render_all(self, scene: Scene, cameras: list[Camera]) -> Tensor:
        """Return pictures (n, 3, h, w) of n views, without a graph."""
        with torch.no_grad():
            views = (self._render(scene, self._place(camera), self._background) for camera in cameras)
            return torch.stack([view.rgb.permute(2, 0, 1) for view in views])

    def _render(self, scene: Scene, camera: tuple[Tensor, Lens], background: Tensor) -> Rendered:
        return scene.view(self._settings.field, *camera, background, near=self._views.near)

    def _place(self, camera: Camera) -> tuple[Tensor, Lens]:
        """Return the camera on the field's device, without waiting for what that is doing."""
        return torch.from_numpy(camera[0]).to(self._background, non_blocking=True), camera[1]


def _half(x: Tensor) -> Tensor:
    """Return values in half precision, the largest it has for what is beyond: a splat far behind an
    object.
    """
    most = torch.finfo(torch.float16).max
    return x.clamp(-most, most).half()


def _through_pinholes(pictures: Tensor, lenses: list[Lens]) -> Tensor:
    """Return pictures (n, c, h, w) that these lenses took as pinholes see them."""
    seen = [
        torch.from_numpy(undistorted(picture.movedim(0, -1).cpu().numpy(), lens)).movedim(-1, 0)
        for picture, lens in zip(pictures, lenses, strict=True)
    ]
    return torch.stack(seen).to(pictures)
