"""The two learned models with the prior's depth ControlNet beside its U-Net (the paper, Section 3.2, A.1 and D.1).

Both share the ControlNet and differ by LoRA adapters. Each sees the depth of its own training pictures: eps_psi that of the
original's renders, eps_phi that of the edit's. The frozen model has no ControlNet.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt

from piva.errors import InputError
from piva.models.pairing import check_pair
from piva.scores.terms import Latents, Network
from piva.weights import HubFolder, Weights

if TYPE_CHECKING:
    import torch

    from piva.models.controlled import Controlled
    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import StableDiffusion

POSSIBLE = "prior=toys has one; for another give model.path=FOLDER or a hub id, as thibaud/controlnet-sd21-depth-diffusers for SD 2.1"


@dataclass(frozen=True, kw_only=True)
class ControlNet:
    """Low-rank adapters as of model=lora on the U-Net, beside which a depth ControlNet runs, frozen or with adapters too."""

    needs_depth: ClassVar[bool] = True

    path: (
        str | None
    )  # a folder or hub id of a ControlNet in diffusers' layout; None: the prior's own folder `controlnet`
    scale: Annotated[float, Ge(0)]  # of what it adds to the U-Net's features
    source_sees: Literal["edit", "original"]  # whose depth eps_psi sees when it judges the edit
    tune: bool  # adapters on the ControlNet too
    rank: Annotated[int, Ge(1)]
    alpha: Annotated[float, Gt(0)]
    lr: Annotated[float, Gt(0)]

    def check(self, prior: "StableDiffusion") -> None:
        """Raise `InputError` if there is no ControlNet, or one that does not fit the prior, or whose weights are damaged."""
        base = prior.folder
        folder = self._folder(base) if base else None
        if base is None or folder is None:  # on the hub and not in its cache: `requires` says so
            return
        if not (folder / "config.json").is_file():
            if self.path is None:
                raise InputError(
                    "model=controlnet",
                    f"no ControlNet in {base}",
                    "a prior with a folder controlnet",
                    POSSIBLE,
                )
            raise InputError(
                f"model.path={self.path}",
                "no config.json in it",
                "a ControlNet in diffusers' layout",
                POSSIBLE,
            )
        check_pair(folder, base)

    def requires(self) -> list[Weights]:
        """What must be downloaded before a run: nothing for a local folder."""
        return [self._hub(self.path)] if self.path and not Path(self.path).expanduser().is_dir() else []

    def attach(
        self, prior: "Prior", networks: Collection[Network], generator: "torch.Generator"
    ) -> "Controlled":
        """Load the ControlNet and add one zero-effect adapter for each learned network; `generator` draws their weights."""
        from piva.models.adapters import adapt
        from piva.models.controlled import Controlled, load

        control = load(str(self._folder(Path(prior.path)) or self.path), prior)
        hosts = {".": prior.unet} | ({"controlnet": control} if self.tune else {})
        adapters = adapt(hosts, self.rank, self.alpha, self.lr, networks, generator)
        return Controlled(control, adapters, self.scale, Latents(self.source_sees))

    def _folder(self, prior: Path) -> Path | None:
        """Where it lies for the prior in the folder `prior`; None if it is on the hub and not in its cache."""
        if self.path is None:
            return prior / "controlnet"
        local = Path(self.path).expanduser()
        if local.is_dir():
            return local
        if self.path.startswith((".", "/", "~")) or self.path.count("/") != 1:
            raise InputError(
                "model.path",
                f"no folder {self.path!r}",
                "a ControlNet's folder or hub id owner/name",
                POSSIBLE,
            )
        return self._hub(self.path).find()

    @staticmethod
    def _hub(repo: str) -> HubFolder:
        return HubFolder(key="model.path", repo=repo, files=("config.json", "*.safetensors"))
