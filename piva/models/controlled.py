"""LoRA adapters and a depth ControlNet at work: one pass of each network serves all rows of a batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor

from piva.errors import InputError
from piva.models.adapters import Adapters, groups
from piva.priors.depth import depth_hint
from piva.priors.prior import Prior, Residuals
from piva.scores.terms import Latents, Network, Prediction


class Controlled:
    """The `LearnedModels` of model=controlnet."""

    needs_depth = True

    def __init__(
        self, control: ControlNetModel, adapters: Adapters, scale: float, source_sees: Latents
    ) -> None:
        self._control, self._adapters, self._scale, self._source_sees = control, adapters, scale, source_sees

    def predict(
        self,
        prior: Prior,
        predictions: Sequence[Prediction],
        noisy: Tensor,
        t: int,
        context: Tensor,
        depth: Mapping[Latents, Tensor],
    ) -> Tensor:
        """As in `LearnedModels`. The ControlNet runs for the learned models' rows alone; to the others it adds zeros."""
        each = len(noisy) // len(predictions)
        learned = [i for i, prediction in enumerate(predictions) if prediction.network is not Network.FROZEN]
        residuals = None
        if learned:
            x, text = (torch.cat([rows.split(each)[i] for i in learned]) for rows in (noisy, context))
            chosen = [predictions[i] for i in learned]
            hint = depth_hint(torch.cat([depth[self._seen_by(prediction)] for prediction in chosen]))
            with self._adapters.rows(groups(chosen, len(x))):
                down, mid = self._run(prior, x, t, text, hint)
            residuals = (
                [_spread(r, learned, len(predictions), each) for r in down],
                _spread(mid, learned, len(predictions), each),
            )
        with self._adapters.rows(groups(predictions, len(noisy))):
            return prior.predict(noisy, t, context, residuals)

    def learn(self, loss: Tensor) -> None:
        self._adapters.learn(loss)

    def save(self, folder: Path) -> None:
        self._adapters.save(folder)

    def checkpoint(self) -> dict[str, Any]:
        return self._adapters.checkpoint()

    def restore(self, saved: Mapping[str, Any]) -> None:
        self._adapters.restore(saved)

    def detach(self) -> None:
        self._adapters.detach()

    def _seen_by(self, prediction: Prediction) -> Latents:
        """Whose depth: that of the picture it looks at, but for eps_psi, which was taught on the original and judges the edit."""
        judges = prediction.network is Network.SOURCE and prediction.latents is Latents.EDIT
        return self._source_sees if judges else prediction.latents

    def _run(self, prior: Prior, noisy: Tensor, t: int, context: Tensor, hint: Tensor) -> Residuals:
        count, dtype, rows = prior.evaluations, prior.dtype, len(noisy)
        count.control_forward += rows
        channels = self._control.config.conditioning_channels
        down, mid = self._control(
            noisy.to(dtype),
            t,
            context.to(dtype),
            hint.to(dtype).expand(-1, channels, -1, -1),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        if mid.requires_grad:
            mid.register_hook(lambda _: count.add_control_backward(rows))
        return down, mid


def load(path: str, prior: Prior) -> ControlNetModel:
    """A folder or hub id in diffusers' layout, frozen, at the prior's device and precision. Raises `InputError`."""
    try:
        control = ControlNetModel.from_pretrained(path, torch_dtype=prior.dtype, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"model.path={path}", reason, "a ControlNet in diffusers' layout") from error
    return control.to(prior.device).requires_grad_(False).eval()


def _spread(rows: Tensor, places: Sequence[int], count: int, each: int) -> Tensor:
    """Blocks of `each` rows at these of `count` places, zeros at the others."""
    blocks = dict(zip(places, rows.split(each), strict=True))
    nothing = torch.zeros_like(rows[:each])
    return torch.cat([blocks.get(i, nothing) for i in range(count)])
