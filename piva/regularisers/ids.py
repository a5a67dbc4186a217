"""Identity-preserving distillation sampling (CVPR 2025): noise with which the original denoises to itself."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Interval

from piva.errors import InputError
from piva.priors.stable_diffusion import Speed
from piva.scores.terms import ORIGINAL, SOURCE, Prediction, frozen

if TYPE_CHECKING:
    from torch import Tensor

    from piva.models.denoiser import Denoiser, Query


@dataclass(frozen=True, kw_only=True)
class IDS:
    """Before each step, `iterations` times: xhat_t <- xhat_t - rate grad ||xhat - xhat_0(xhat_t)||.

    xhat_0 is the original that the guided prediction with the source prompt leads to. The norm, not its
    square, is each row's own. What xhat_t then is says the noise of the step, for the edit too.
    """

    iterations: Annotated[int, Interval(ge=1, le=1000)]
    rate: Annotated[float, Gt(0)]
    guidance_scale: Annotated[float, Ge(0)]

    def check(self, task: Any, speed: Speed) -> None:
        """Refuse pairs of views, whose two pictures are compared: it would move their noise apart."""
        if carve := task.renders and getattr(task, "carve", 0):
            raise InputError("task.carve", f"{carve:g}", "0, for regulariser=ids to move each view's noise")

    @property
    def kept(self) -> list[Prediction]:
        return frozen(ORIGINAL, SOURCE, self.guidance_scale).predictions

    def passes(self, asked: Set[Prediction]) -> float:
        return 2 * self.iterations * len(self.kept)

    def renoise(
        self, denoiser: "Denoiser", queries: "Sequence[Query]", originals: "Sequence[Tensor]"
    ) -> "list[Tensor]":
        """Return the noise of each query's step, from its xhat_t; `originals` are xhat (b, c, y, x)."""
        import torch

        schedule, terms = denoiser.prior.schedule, frozen(ORIGINAL, SOURCE, self.guidance_scale)
        noisy = [query.noisy[ORIGINAL] for query in queries]
        for _ in range(self.iterations):
            noisy = [z.detach().requires_grad_(True) for z in noisy]
            asked = [
                replace(query, predictions=terms.predictions, noisy={ORIGINAL: z})
                for query, z in zip(queries, noisy, strict=True)
            ]
            distances = []
            with torch.enable_grad():
                for each, xhat, answer in zip(asked, originals, denoiser.predict(asked), strict=True):
                    eps = torch.stack([terms.weights[p] * answer[p] for p in terms.predictions]).sum(0)
                    denoised = schedule.denoised(each.noisy[ORIGINAL], eps, each.t)
                    distances.append((xhat - denoised).flatten(1).norm(dim=1).sum())
                slopes = torch.autograd.grad(torch.stack(distances).sum(), noisy)
            noisy = [z.detach() - self.rate * slope for z, slope in zip(noisy, slopes, strict=True)]
        return [
            (z - schedule.alpha(query.t) * xhat) / schedule.sigma(query.t)
            for z, xhat, query in zip(noisy, originals, queries, strict=True)
        ]
