"""The cache of fitted scenes, keyed by content: a sweep over scores fits each scene once."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from piva.datasets.scene import Views
from piva.errors import InputError
from piva.files import atomic, cache_folder
from piva.nerf.fit import Fitted, fit
from piva.nerf.occupancy import Occupancy
from piva.nerf.settings import Fit

VERSION = 2  # of the fit's arithmetic: a change of it makes all cached scenes stale
NOT_FITTED = ("edit", "kernel")  # settings that leave a fit as it is (kernels differ by rounding)


def fitted_scene(
    views: Views, settings: Fit, seed: int, device: torch.device, progress: Callable[[int, int], None]
) -> Fitted:
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
    fitted = fit(images, c2w, lenses, settings, generator, progress, keep=keep, near=views.near)
    tensors = {name: value.contiguous().cpu() for name, value in fitted.field.state_dict().items()}
    tensors["occupied"] = fitted.occupancy.occupied.cpu()
    if fitted.background is not None:
        tensors["background"] = fitted.background.cpu()
    with atomic(path, "set PIVA_CACHE to a folder that can be written to") as temporary:
        save_file(tensors, temporary)
    return fitted


def restored(tensors: Mapping[str, Tensor], settings: Fit, device: torch.device) -> Fitted:
    """Return the scene of these tensors, from a fit or an edit's `state.safetensors`, with these settings of
    its field.

    Raises `InputError` for tensors of another kind of field.
    """
    there = {name: value.to(device) for name, value in tensors.items()}
    try:
        field = settings.restore(there)
        occupied = there["occupied"]
    except KeyError as missing:
        kind, found = type(settings).__name__, ", ".join(sorted(tensors))
        wanted = f"{missing} among them, as a {kind} leaves it"
        raise InputError("tensors of a field", found, wanted, "give the run's own field=...") from None
    occupancy = Occupancy(settings.radius, settings.occupancy, settings.levels).to(device)
    occupancy.occupy(occupied)
    return Fitted(field, occupancy, there.get("background"))


def _key(views: Views, settings: Fit, seed: int) -> str:
    lenses = [asdict(lens) for lens in views.lenses]
    fitted = {name: value for name, value in asdict(settings).items() if name not in NOT_FITTED}
    digest = hashlib.sha256(json.dumps([VERSION, seed, fitted, lenses, views.near, views.train]).encode())
    for values in (views.images, views.c2w, views.keep):
        digest.update(b"" if values is None else values.tobytes())
    return digest.hexdigest()[:24]
