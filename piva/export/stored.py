"""The fields of an edit and of its original, read back from what a run wrote."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from piva import __version__
from piva.cameras.lens import Lens
from piva.errors import InputError, one_line
from piva.export.edits import EditedScene
from piva.files import regular
from piva.nerf.render import Rendered
from piva.nerf.scenes import Scene, restored
from piva.nerf.splats.convert import Conversion, as_splats
from piva.nerf.splats.ply import read_splats, write_splats
from piva.nerf.splats.scene import SplatScene
from piva.runs.bars import bar
from piva.runs.stored import stored_settings

ORIGINAL = "original."  # before the names of the original's tensors
SHARED = ("background", "world", "to_file")  # by the original and the edit, in full precision


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A field to render."""

    fitted: Scene
    tensors: Mapping[str, Tensor]  # what it was made of
    settings: Any  # of the field
    near: float  # nothing is nearer to a camera than this

    @property
    def captured(self) -> bool:
        """Whether the scene is a capture, with cameras inside it, and not an object amid them."""
        return "world" in self.tensors

    @property
    def background(self) -> Float[Tensor, "3"]:
        """The colour behind the scene, by default white."""
        colour = self.fitted.background
        return torch.ones(3, device=next(iter(self.tensors.values())).device) if colour is None else colour

    @torch.no_grad()
    def view(self, c2w: Float[Tensor, "4 4"], lens: Lens) -> Rendered:
        """Render a view: `rgb` (h, w, 3) before the background, `opacity` and `depth` (h, w)."""
        place = c2w.to(self.background), lens, self.background
        return self.fitted.view(self.settings, *place, near=self.near)


def read_edit(finished: EditedScene, device: str) -> tuple[Stored, Stored | None]:
    """Return the edit, and its original if the run kept it. Raises `InputError`."""
    return as_stored(load_file(finished.state, device), finished)


def as_stored(tensors: Mapping[str, Tensor], finished: EditedScene) -> tuple[Stored, Stored | None]:
    """Return edit and original of the tensors that a state of this edit is saved as. Raises `InputError`."""
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


def read_file(path: Path, up: str, device: str) -> Stored:
    """Return the splats of a .ply, whose axis `up` becomes z; they have no settings. Raises `InputError`."""
    scene: Any = SplatScene(read_splats(path, up, torch.device(device)), None)
    scene.field.requires_grad_(False)
    return Stored(fitted=scene, tensors=scene.tensors(), settings=None, near=0.0)


def write_field(stored: Stored, prompts: tuple[str, str], place: Path) -> None:
    """Write field.safetensors and, of splats, splats.ply in the world of their file, if they had one."""
    save_field(stored, prompts, place / "field.safetensors")
    if isinstance(stored.fitted, SplatScene):
        write_splats(stored.fitted.field, place / "splats.ply")


def write_as_splats(stored: Stored, settings: Conversion, name: str, place: Path) -> None:
    """Write splats.ply, of a field by a fit to its renders. Raises `InputError` for a captured scene's."""
    scene: Any = stored.fitted
    if not isinstance(scene, SplatScene):
        if stored.captured:
            found, remedy = "a captured scene's field", "run it with field=splats"
            raise InputError("what=[splats]", found, "an object, which is seen from outside", remedy)
        generator = torch.Generator(stored.background.device).manual_seed(0)
        with bar(settings.fit.steps, f"{name}: splats", "step") as shown:
            try:
                scene = as_splats(
                    scene, stored.settings, settings, generator, lambda step, _: shown.update(step - shown.n)
                )
            except FloatingPointError as error:
                raise InputError("what=[splats]", one_line(error), "splats of finite numbers") from error
    write_splats(scene.field, place / "splats.ply")


def save_field(stored: Stored, prompts: tuple[str, str], path: Path) -> None:
    """Write the field's tensors unchanged, with the metadata that `load_field` needs."""
    metadata = {
        "piva": __version__,
        "settings": json.dumps(_node(stored.settings)),
        "near": repr(stored.near),
    }
    metadata |= {"source_prompt": prompts[0], "target_prompt": prompts[1]}
    save_file({name: x.contiguous().cpu() for name, x in stored.tensors.items()}, path, metadata)


def _node(settings: Any) -> dict[str, Any]:
    """Return settings as YAML has them, with the names of their classes."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    of = type(settings)
    plain = {
        name: _node(value) if dataclasses.is_dataclass(value) else value for name, value in values.items()
    }
    return {"_target_": f"{of.__module__}.{of.__qualname__}", **plain}


def load_field(path: str | Path, device: str) -> Stored:
    """Return what `save_field` wrote, bit for bit. Raises `InputError`."""
    path = Path(path)
    try:
        with safe_open(regular(path), framework="np") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path, device)
    except (SafetensorError, OSError) as error:
        found = f"an unreadable file ({one_line(error)})"
        raise InputError(path, found, "a field that piva.export wrote") from None
    if not {"settings", "near"} <= set(metadata):
        raise InputError(path, "no settings in its metadata", "a field that piva.export wrote")
    try:
        node, near = json.loads(metadata["settings"]), float(metadata["near"])
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"settings that are {one_line(error)}", "what piva.export wrote") from None
    return _stored(tensors, stored_settings(node, "field", path, "nerf"), near, path)


def _stored(tensors: Mapping[str, Tensor], settings: Any, near: float, where: Path) -> Stored:
    for name, x in tensors.items():
        if not bool(torch.isfinite(x).all()):
            found = f"values in {name} that are not finite"
            raise InputError(where, found, "a field of finite numbers", "run the edit again")
    try:
        fitted = restored(tensors, settings, next(iter(tensors.values())).device)
    except (KeyError, RuntimeError, ValueError) as error:
        found = f"tensors that do not fit ({one_line(error)})"
        raise InputError(where, found, "those of the field in config.yaml") from None
    fitted.field.requires_grad_(False)
    return Stored(fitted=fitted, tensors=tensors, settings=settings, near=near)
