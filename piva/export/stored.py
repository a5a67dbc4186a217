"""An edit's field and its original's, read back from what a run left behind."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from omegaconf import OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from piva import __version__
from piva.cameras.lens import Lens
from piva.errors import InputError, one_line
from piva.export.edits import EditedScene, field_settings
from piva.nerf.fit import Fitted
from piva.nerf.render import Rendered, render_image
from piva.nerf.scenes import restored

ORIGINAL = "original."  # before the names of the original's tensors
SHARED = ("background", "world")  # by the original and the edit


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A field to look at."""

    fitted: Fitted
    tensors: Mapping[str, Tensor]  # what it was made of
    settings: Any  # of the field
    near: float  # nothing is nearer to a camera than this

    @property
    def captured(self) -> bool:
        """Whether cameras stand within the scene; else it is an object among them."""
        return "world" in self.tensors

    @property
    def background(self) -> Float[Tensor, "3"]:
        """The colour behind the scene: white where any will do."""
        colour = self.fitted.background
        return torch.ones(3, device=self.fitted.occupancy.occupied.device) if colour is None else colour

    @torch.no_grad()
    def view(self, c2w: Float[Tensor, "4 4"], lens: Lens) -> Rendered:
        """What a camera sees: `rgb` (h, w, 3) before the background, `opacity` and `depth` (h, w)."""
        background = self.background
        field, occupancy, fit = self.fitted.field, self.fitted.occupancy, self.settings
        return render_image(
            field, occupancy, c2w.to(background), lens, background, fit.step, near=self.near, cone=fit.cone
        )


def read_edit(finished: EditedScene, device: str) -> tuple[Stored, Stored | None]:
    """The edit, and its original if the run kept it. Raises `InputError`."""
    tensors = load_file(finished.state, device)
    shared = {name: tensors[name] for name in SHARED if name in tensors}
    original = {
        name.removeprefix(ORIGINAL): x.float() if x.is_floating_point() else x
        for name, x in tensors.items()
        if name.startswith(ORIGINAL)
    }
    edit = {name: x for name, x in tensors.items() if not name.startswith(ORIGINAL)}

    def stored(of: Mapping[str, Tensor]) -> Stored:
        return _stored(of, finished.field, finished.near, finished.state)

    return stored(edit), stored(original | shared) if original else None


def save_field(stored: Stored, prompts: tuple[str, str], path: Path) -> None:
    """The field's tensors as they are, and in the file's metadata all that `load_field` needs."""
    about = {"piva": __version__, "settings": json.dumps(_node(stored.settings)), "near": repr(stored.near)}
    about |= {"source_prompt": prompts[0], "target_prompt": prompts[1]}
    save_file({name: x.contiguous().cpu() for name, x in stored.tensors.items()}, path, about)


def _node(settings: Any) -> dict[str, Any]:
    """Settings as YAML has them: with the names of their classes."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    of = type(settings)
    plain = {
        name: _node(value) if dataclasses.is_dataclass(value) else value for name, value in values.items()
    }
    return {"_target_": f"{of.__module__}.{of.__qualname__}", **plain}


def load_field(path: Path, device: str) -> Stored:
    """What `save_field` wrote, the same to the bit. Raises `InputError`."""
    try:
        with safe_open(path, framework="np") as file:
            about = file.metadata() or {}
        tensors = load_file(path, device)
    except (SafetensorError, OSError) as error:
        raise InputError(
            path, f"an unreadable file ({one_line(error)})", "a field that piva.export wrote"
        ) from None
    if not {"settings", "near"} <= set(about):
        raise InputError(path, "no settings in its metadata", "a field that piva.export wrote")
    settings = field_settings(OmegaConf.create(about["settings"]), path)
    return _stored(tensors, settings, float(about["near"]), path)


def _stored(tensors: Mapping[str, Tensor], settings: Any, near: float, where: Path) -> Stored:
    for name, x in tensors.items():
        if not bool(torch.isfinite(x).all()):
            raise InputError(
                where,
                f"values in {name} that are not finite",
                "a field of finite numbers",
                "run the edit again",
            )
    try:
        fitted = restored(tensors, settings, next(iter(tensors.values())).device)
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            where, f"tensors that do not fit ({one_line(error)})", "those of the field in config.yaml"
        ) from None
    fitted.field.requires_grad_(False)
    return Stored(fitted=fitted, tensors=tensors, settings=settings, near=near)
