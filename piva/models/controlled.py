"""A depth ControlNet beside the prior's U-Net: one pass serves all rows of the learned models in a batch."""

from collections.abc import Mapping, Sequence

import torch
from diffusers import ControlNetModel
from jaxtyping import Float
from torch import Tensor

from piva.errors import InputError
from piva.models.adapters import Adapters, groups
from piva.priors.prior import Prior, Residuals
from piva.scores.terms import Latents, Network, Prediction


class DepthControl:
    """What a ControlNet adds to the U-Net's features: zeros in the rows of the frozen model."""

    def __init__(self, network: ControlNetModel, scale: float, source_sees: Latents) -> None:
        self.network, self._scale, self._source_sees = network, scale, source_sees

    def residuals(
        self,
        adapters: Adapters,
        prior: Prior,
        predictions: Sequence[Prediction],
        noisy: Tensor,
        t: int,
        context: Tensor,
        depth: Mapping[Latents, Tensor],
    ) -> Residuals | None:
        """Return residuals for `LearnedModels.predict`; None if all rows are the frozen model's."""
        each = len(noisy) // len(predictions)
        learned = [i for i, prediction in enumerate(predictions) if prediction.network is not Network.FROZEN]
        if not learned:
            return None
        x, text = (torch.cat([rows.split(each)[i] for i in learned]) for rows in (noisy, context))
        chosen = [predictions[i] for i in learned]
        hint = depth_hint(torch.cat([depth[self._seen_by(prediction)] for prediction in chosen]))
        with adapters.rows(groups(chosen, len(x))):
            down, mid = self._run(prior, x, t, text, hint)
        return [_spread(r, learned, len(predictions), each) for r in down], _spread(
            mid, learned, len(predictions), each
        )

    def _seen_by(self, prediction: Prediction) -> Latents:
        """Return whose depth a model sees: its latents', or `source_sees` for eps_psi on the edit."""
        source_on_edit = prediction.network is Network.SOURCE and prediction.latents is Latents.EDIT
        return self._source_sees if source_on_edit else prediction.latents

    def _run(self, prior: Prior, noisy: Tensor, t: int, context: Tensor, hint: Tensor) -> Residuals:
        count, dtype, rows = prior.evaluations, prior.dtype, len(noisy)
        count.control_forward += rows
        hint = hint.to(dtype).expand(-1, self.network.config.conditioning_channels, -1, -1)
        down, mid = self.network(
            noisy.to(dtype), t, context.to(dtype), hint, conditioning_scale=self._scale, return_dict=False
        )
        if mid.requires_grad:
            mid.register_hook(lambda _: count.add_control_backward(rows))
        return down, mid


def load(path: str, prior: Prior) -> ControlNetModel:
    """Load a folder or hub id in diffusers' layout, frozen, as the prior is. Raises `InputError`."""
    try:
        control = ControlNetModel.from_pretrained(path, torch_dtype=prior.dtype, use_safetensors=True)
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


def _spread(rows: Tensor, places: Sequence[int], count: int, each: int) -> Tensor:
    """Put blocks of `each` rows at these of `count` places and zeros at the others."""
    blocks = dict(zip(places, rows.split(each), strict=True))
    nothing = torch.zeros_like(rows[:each])
    return torch.cat([blocks.get(i, nothing) for i in range(count)])
