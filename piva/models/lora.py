"""The learned models as LoRA adapters on the prior's own U-Net: `source` (eps_psi) and `target` (eps_phi)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Gt, Interval

if TYPE_CHECKING:
    from piva.models.denoiser import Denoiser
    from piva.priors.prior import Prior
    from piva.priors.stable_diffusion import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters on the query, key, value and output projections of the attention layers."""

    needs_depth: ClassVar[bool] = False

    rank: Annotated[int, Interval(ge=1, le=4096)]
    alpha: Annotated[float, Gt(0)]  # the adapter's output is scaled by alpha / rank
    init: Literal["peft", "gaussian"]  # see `LowRank`
    layers: Literal["all", "decoder"]
    lr: Annotated[float, Gt(0)]
    train_every: Annotated[int, Interval(ge=1, le=1_000_000)]
    steps_per_iteration: Annotated[int, Interval(ge=1, le=1000)] = 1
    source_warmup: Annotated[int, Interval(ge=0, le=1_000_000)]

    def check(self, prior: "StableDiffusion") -> None:
        """Accept any prior."""

    def denoiser(self, prior: "Prior") -> "Denoiser":
        """Return the prior's U-Net with room for adapters."""
        from piva.models.adapters import LowRank
        from piva.models.denoiser import Denoiser

        decoder_only = self.layers == "decoder"
        return Denoiser(prior, LowRank({".": prior.unet}, self.rank, self.alpha, self.init, decoder_only))
