"""The two learned models with the prior's depth ControlNet beside its U-Net (the paper, 3.2, A.1 and D.1).

Both share the ControlNet and differ by LoRA adapters. In training each sees the depth of its own pictures:
eps_psi that of the original's renders, eps_phi that of the edit's. The frozen model has no ControlNet.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Interval

from piva.errors import InputError
from piva.files import user_path
from piva.priors.layout import check_readable, halvings, read_config
from piva.scores.terms import Latents
from piva.weights import HubFolder, Weights

if TYPE_CHECKING:
    from piva.models.denoiser import Denoiser
    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import StableDiffusion

POSSIBLE = (
    "prior=toys has one; for another give model.path=FOLDER or a hub id, "
    "as thibaud/controlnet-sd21-depth-diffusers for SD 2.1"
)
# what a ControlNet has in common with the U-Net of which it began as a copy
SHARED = ("cross_attention_dim", "block_out_channels", "layers_per_block", "in_channels")


@dataclass(frozen=True, kw_only=True)
class ControlNet:
    """LoRA adapters as with model=lora, beside a depth ControlNet that is frozen or has adapters too."""

    needs_depth: ClassVar[bool] = True

    path: str | None  # a folder or hub id in diffusers' layout; None: the prior's own folder `controlnet`
    scale: Annotated[float, Ge(0)]  # of what it adds to the U-Net's features
    source_sees: Literal["edit", "original"]  # whose depth eps_psi sees when it judges the edit
    tune: bool  # adapters on the ControlNet too
    rank: Annotated[int, Interval(ge=1, le=4096)]
    alpha: Annotated[float, Gt(0)]
    init: Literal["peft", "gaussian"]
    layers: Literal["all", "decoder"]  # of the U-Net; a ControlNet has no decoder: with `tune`, all
    lr: Annotated[float, Gt(0)]
    train_every: Annotated[int, Interval(ge=1, le=1_000_000)]
    steps_per_iteration: Annotated[int, Interval(ge=1, le=1000)] = 1
    source_warmup: Annotated[int, Interval(ge=0, le=1_000_000)]

    def check(self, prior: "StableDiffusion") -> None:
        """Raise `InputError` if the ControlNet is missing, damaged or does not fit the prior."""
        if self.tune and self.layers == "decoder":
            wanted = "all: a ControlNet has no decoder"
            raise InputError("model.layers", "decoder beside model.tune=true", wanted, "or model.tune=false")
        base = prior.folder
        folder = self._folder(base) if base else None
        if base is None or folder is None:  # on the hub and not in its cache: `requires` says so
            return
        if not (folder / "config.json").is_file():
            if self.path is None:
                found, wanted = f"no ControlNet in {base}", "a prior with a folder controlnet"
                raise InputError("model=controlnet", found, wanted, POSSIBLE)
            wanted = "a ControlNet in diffusers' layout"
            raise InputError(f"model.path={self.path}", "no config.json in it", wanted, POSSIBLE)
        check_pair(folder, base)

    def requires(self) -> list[Weights]:
        """Return what must be downloaded before a run: nothing for a local folder."""
        return [self._hub(self.path)] if self.path and not user_path(self.path, "model.path").is_dir() else []

    def denoiser(self, prior: "Prior") -> "Denoiser":
        """Load the ControlNet; return it and the prior's U-Net with room for adapters."""
        from piva.models.adapters import LowRank
        from piva.models.controlled import DepthControl, load
        from piva.models.denoiser import Denoiser

        control = load(str(self._folder(Path(prior.path)) or self.path), prior)
        hosts = {".": prior.unet} | ({"controlnet": control} if self.tune else {})
        low_rank = LowRank(hosts, self.rank, self.alpha, self.init, self.layers == "decoder")
        return Denoiser(prior, low_rank, DepthControl(control, self.scale, Latents(self.source_sees)))

    def _folder(self, prior: Path) -> Path | None:
        """Return its folder, for the prior in `prior`; None if it is on the hub and not in its cache."""
        if self.path is None:
            return prior / "controlnet"
        local = user_path(self.path, "model.path")
        if local.is_dir():
            return local
        if self.path.startswith((".", "/", "~")) or self.path.count("/") != 1:
            wanted = "a ControlNet's folder or hub id owner/name"
            raise InputError("model.path", f"no folder {self.path!r}", wanted, POSSIBLE)
        return self._hub(self.path).find()

    @staticmethod
    def _hub(repo: str) -> HubFolder:
        return HubFolder(key="model.path", repo=repo, files=("config.json", "*.safetensors"))


def check_pair(control: Path, prior: Path) -> None:
    """Raise `InputError` if `control` holds no ControlNet, a damaged one, or one for other priors."""
    settings, unet, vae = (read_config(folder) for folder in (control, prior / "unet", prior / "vae"))
    if (name := settings.get("_class_name")) != "ControlNetModel":
        raise InputError(control / "config.json", f"_class_name {name}", "ControlNetModel")
    for key in SHARED:
        if settings.get(key) != unet.get(key):
            wanted = f"{unet.get(key)}, as the U-Net in {prior} has it"
            remedy = "take a ControlNet that was trained beside this prior: one of SD 1.5 does not fit SD 2.1"
            raise InputError(control, f"{key} {settings.get(key)}", wanted, remedy)
    shrinks = halvings(settings, "conditioning_embedding_out_channels")
    if shrinks != (factor := halvings(vae)):
        found = f"one that makes pictures {2**shrinks} times smaller"
        raise InputError(control, found, f"{2**factor} times, as the autoencoder in {prior} does")
    for weights in sorted(control.glob("*.safetensors")):
        check_readable(weights)
