"""The learned models as LoRA adapters on the prior's own U-Net: `source` (eps_psi) and `target` (eps_phi)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt

from piva.scores.terms import Network

if TYPE_CHECKING:
    import torch

    from piva.models.learned import LearnedModels
    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters on the query, key, value and output projections of every attention layer."""

    needs_depth: ClassVar[bool] = False

    rank: Annotated[int, Ge(1)]
    alpha: Annotated[float, Gt(0)]  # the adapter's output is scaled by alpha / rank
    lr: Annotated[float, Gt(0)]

    def check(self, prior: "StableDiffusion") -> None:
        """Accept any prior."""

    def attach(
        self, prior: "Prior", networks: Collection[Network], generator: "torch.Generator"
    ) -> "LearnedModels":
        """Add zero-effect adapters, whose weights `generator` draws."""
        from piva.models.adapters import Adapters
        from piva.models.learned import LearnedModels

        return LearnedModels(Adapters({".": prior.unet}, self.rank, self.alpha, networks, generator), self.lr)
