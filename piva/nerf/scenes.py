"""The cache of fitted scenes, keyed by content: a sweep over scores fits each scene once."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from piva.cameras.lens import Lens
from piva.datasets.scene import Views
from piva.errors import InputError
from piva.files import atomic, cache_folder
from piva.nerf.render import Rendered
from piva.nerf.settings import SceneSettings

VERSION = 3  # of the fit's arithmetic: a change of it makes all cached scenes stale
NOT_FITTED = ("edit", "kernel")  # settings that leave a fit as it is (kernels differ by rounding)


@runtime_checkable
class Scene(Protocol):
    """What is edited in 3D, whatever it is made of; `fit` are the settings it was made with."""

    @property
    def field(self) -> Any:
        """A `torch.nn.Module` with `parameter_groups` for the optimiser."""

    @property
    def background(self) -> Float[Tensor, "3"] | None:
        """The colour behind it; None: any will do."""

    def view(
        self,
        fit: Any,
        c2w: Float[Tensor, "4 4"],
        lens: Lens,
        background: Float[Tensor, "3"],
        near: float = 0.0,
    ) -> Rendered:
        """Render a view, differentiable in the field; nothing is nearer to the camera than `near`."""

    def refresh(
        self, fit: Any, progress: float, generator: torch.Generator | None, grow: int
    ) -> Bool[Tensor, "2"]:
        """Make room for growth, now and then in an edit; return whether all is finite, and whether anything
        is there.
        """

    def opened(self, fit: Any) -> "Scene":
        """Return a copy to edit."""

    def tight(self, fit: Any) -> "Scene":
        """Return the scene to look at: without room for growth. Whatever it shares with this one is as it
        was.
        """

    def tensors(self) -> dict[str, Tensor]:
        """Return what `restored` makes the scene of, but for the background."""

    def checkpoint(self) -> dict[str, Any]:
        """Return all that optimising and `refresh` change."""

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `checkpoint` returned."""


def fitted_scene(
    views: Views,
    settings: SceneSettings,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> Scene:
    """Return the field of these views' training pictures, from the cache if it has the same pictures,
    cameras, settings, seed.
    """
    path = cache_folder() / "scenes" / f"{_key(views, settings, seed)}.safetensors"
    if path.exists():
        with safe_open(path, framework="pt", device=str(device)) as file:
            names = file.keys()  # it is no mapping
            return restored({name: file.get_tensor(name) for name in names}, settings, device)
    generator = torch.Generator(device).manual_seed(seed)
    images, c2w = (torch.from_numpy(values[views.train]).to(device) for values in (views.images, views.c2w))
    keep = None if views.keep is None else torch.from_numpy(views.keep[views.train]).to(device)
    lenses = [views.lenses[i] for i in views.train]
    fitted: Scene = settings.fit(images, c2w, lenses, generator, progress, keep=keep, near=views.near)
    tensors = {name: value.contiguous().cpu() for name, value in fitted.tensors().items()}
    if fitted.background is not None:
        tensors["background"] = fitted.background.cpu()
    with atomic(path, "set PIVA_CACHE to a folder that can be written to") as temporary:
        save_file(tensors, temporary)
    return fitted


def restored(tensors: Mapping[str, Tensor], settings: SceneSettings, device: torch.device) -> Scene:
    """Return the scene of these tensors, from a fit or an edit's `state.safetensors`, with these settings of
    its field.

    Raises `InputError` for tensors of another kind of field.
    """
    there = {name: value.to(device) for name, value in tensors.items()}
    try:
        scene: Scene = settings.scene(there)
        return scene
    except KeyError as missing:
        kind, found = type(settings).__name__, ", ".join(sorted(tensors))
        wanted = f"{missing} among them, as a {kind} leaves it"
        raise InputError("tensors of a field", found, wanted, "give the run's own field=...") from None


def _key(views: Views, settings: Any, seed: int) -> str:
    lenses = [asdict(lens) for lens in views.lenses]
    fitted = {name: value for name, value in asdict(settings).items() if name not in NOT_FITTED}
    digest = hashlib.sha256(json.dumps([VERSION, seed, fitted, lenses, views.near, views.train]).encode())
    for values in (views.images, views.c2w, views.keep):
        digest.update(b"" if values is None else values.tobytes())
    return digest.hexdigest()[:24]
