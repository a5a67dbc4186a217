"""A depth ControlNet beside the prior's U-Net: one pass serves all rows of the learned models in a batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import ControlNetModel
from jaxtyping import Float, Int
from torch import Tensor

from piva.errors import InputError
from piva.priors.layout import variant
from piva.priors.prior import Prior, Residuals
from piva.scores.terms import Latents, Network, Prediction


class DepthControl:
    """What a ControlNet adds to the U-Net's features: zeros in the rows of the frozen model."""

    def __init__(self, network: ControlNetModel, scale: float, source_sees: Latents) -> None:
        self.network, self._scale, self._source_sees = network, scale, source_sees

    def residuals(
        self,
        prior: Prior,
        asked: Sequence[tuple[Prediction, Mapping[Latents, Tensor]]],
        noisy: Float[Tensor, "b c y x"],
        t: Int[Tensor, "b"],
        context: Float[Tensor, "b n d"],
        rows: int,
    ) -> Residuals:
        """Return residuals for a batch of `rows` that begins with these, of learned models.

        `asked` are their predictions, with the depths (b, h, w) of the views behind each kind of latents.
        """
        hint = depth_hint(torch.cat([depth[self._seen_by(prediction)] for prediction, depth in asked]))
        hint = hint.to(prior.dtype).expand(-1, self.network.config.conditioning_channels, -1, -1)
        x, text = noisy.to(prior.dtype), context.to(prior.dtype)
        down, mid = self.network(x, t, text, hint, conditioning_scale=self._scale, return_dict=False)
        others = (0, 0) * 3 + (0, rows - len(noisy))
        return [F.pad(each, others) for each in down], F.pad(mid, others)

    def _seen_by(self, prediction: Prediction) -> Latents:
        """Return whose depth a model sees: its latents', or `source_sees` for eps_psi on the edit."""
        source_on_edit = prediction.network is Network.SOURCE and prediction.latents is Latents.EDIT
        assert isinstance(prediction.latents, Latents)  # the learned models see x_t and xhat_t
        return self._source_sees if source_on_edit else prediction.latents


def load(path: str, prior: Prior) -> ControlNetModel:
    """Load a folder or hub id in diffusers' layout, frozen, as the prior is. Raises `InputError`."""
    try:
        control = ControlNetModel.from_pretrained(
            path, torch_dtype=prior.dtype, variant=variant(Path(path)), use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"model.path={path}", reason, "a ControlNet in diffusers' layout") from error
    return control.to(prior.device).requires_grad_(False).eval()


def depth_hint(depth: Float[Tensor, "b h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return inverse depth: 1 at the nearest point of each picture, 0 at the farthest and where nothing was
    hit.

    This is how depth ControlNets of the Stable Diffusion family see MiDaS' relative inverse depth.

    Args:
        depth: along the viewing axis, in any unit; 0 = no hit.
    """
    hit = depth > 0
    inverse = torch.where(hit, 1 / depth.clamp(min=1e-6), 0.0)
    far = torch.where(hit, inverse, torch.inf).amin(dim=(1, 2), keepdim=True)
    near = inverse.amax(dim=(1, 2), keepdim=True)
    hint = torch.where(hit, (inverse - far) / (near - far).clamp(min=1e-6), 0.0)
    return hint[:, None]
