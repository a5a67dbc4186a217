"""The frozen text-to-image model: any folder or hub id in diffusers' Stable Diffusion layout, the toys' own
included.

`StableDiffusion` is the settings, checkable without torch; `Prior` is the loaded model. Images are (b, 3, h,
w) in [0, 1], latents (b, 4, h/f, w/f) multiplied by the autoencoder's scaling factor, contexts (b, tokens,
width).
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError, safe_open

from piva.errors import InputError
from piva.weights import HubFolder, Weights

if TYPE_CHECKING:
    from piva.priors.prior import Prior

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
NETWORKS = ("unet", "vae", "text_encoder")
FILES = (
    *(f"{part}/{pattern}" for part in NETWORKS for pattern in ("*.json", "*.safetensors")),
    *("tokenizer/*", "scheduler/*.json"),
)


@dataclass(frozen=True, kw_only=True)
class StableDiffusion:
    """Where the prior lies and in which precision it runs."""

    path: str  # `toys` is the small prior shipped with the package
    dtype: Literal["float32", "bfloat16", "float16"]
    # the depth ControlNet that goes with it; None: its own folder `controlnet`, if there is one
    controlnet: str | None = None

    def check(self) -> None:
        """Raise `InputError` if `path` is no model, lacks a part or has damaged weights."""
        folder = self.folder
        if folder is None:  # a hub id that is not in the cache: `requires` says so
            if self.path.startswith((".", "/", "~")) or self.path.count("/") != 1:
                wanted = "a folder in diffusers' layout or a hub id owner/name"
                raise InputError("prior.path", f"no folder {self.path!r}", wanted)
            return
        for part in PARTS:
            if not (folder / part).is_dir():
                there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir())) or "nothing"
                found, wanted = f"no folder {part} (there is: {there})", "diffusers' Stable Diffusion layout"
                remedy = "save the model with StableDiffusionPipeline.save_pretrained"
                raise InputError(f"prior.path={self.path}", found, wanted, remedy)
            for weights in sorted((folder / part).glob("*.safetensors")):
                check_readable(weights)

    @property
    def multiple(self) -> int | None:
        """Return `Prior.multiple`; None where the folder is not there yet."""
        if self.folder is None:
            return None
        widths = [read_config(self.folder / part)["block_out_channels"] for part in ("vae", "unet")]
        return int(2 ** sum(len(each) - 1 for each in widths))

    def requires(self) -> list[Weights]:
        """Return what must be downloaded before a run: nothing for a local folder."""
        return [self._hub] if self._local is None else []

    @property
    def folder(self) -> Path | None:
        """Return the local folder, or that of the hub's cache; None where that has nothing, or not all."""
        return self._local or self._hub.find()

    @property
    def _local(self) -> Path | None:
        shipped = Path(str(resources.files("piva.toys") / "prior"))
        path = shipped if self.path == "toys" else Path(self.path).expanduser()
        return path if path.is_dir() else None

    @property
    def _hub(self) -> HubFolder:
        return HubFolder(key="prior.path", repo=self.path, files=FILES)

    def load(self, device: str) -> "Prior":
        from piva.priors.prior import load

        return load(str(self.folder or self.path), device, self.dtype)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a network in diffusers' layout. Raises `InputError`."""
    path = folder / "config.json"
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        wanted = "the configuration of a network in diffusers' layout"
        raise InputError(path, f"nothing to read ({error})", wanted) from error
    return values


def check_readable(weights: Path) -> None:
    """Raise `InputError` if `weights` is damaged. Reads the header, which says how long the file is."""
    try:
        with safe_open(weights, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        remedy = (
            "copy or download the model again (the shipped one comes with the package: install piva again)"
        )
        raise InputError(weights, f"a damaged file ({error})", "a whole safetensors file", remedy) from None
