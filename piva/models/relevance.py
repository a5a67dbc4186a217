"""Where two prompts disagree about a picture: DiffEdit's mask (Couairon et al. 2023), soft, for any score.

Outside it a direction is noise and what guidance makes of every picture, such as another pose. No torch at
import: checking settings needs this file.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from piva.errors import InputError
from piva.scores.terms import ORIGINAL, Network, Prediction, Prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.models.denoiser import Conditioning, Denoiser

LEAST = 1e-3  # of noise, whose deviation is 1: what prompts that say the same differ by is rounding
REACH = 3  # latent pixels a side over which the map is averaged, and by which it then grows


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """The node `relevance`: where an edit may change a view."""

    noises: Annotated[int, Interval(ge=0, le=1024)]  # 0: everywhere
    t: Annotated[float, Interval(ge=0, le=1)]
    low: Annotated[float, Interval(ge=0, le=1)]
    high: Annotated[float, Interval(ge=0, le=1)]

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise InputError("relevance.low", str(self.low), f"less than relevance.high ({self.high:g})")

    def weights(
        self,
        denoiser: "Denoiser",
        edit: "Conditioning",
        original: "Tensor",
        generator: "torch.Generator",
        alike: int = 1,
    ) -> "Tensor":
        """Return the weight in [0, 1] of each latent pixel (b, 1, y, x) of an original (b, c, y, x).

        It is the length of the mean, over noises, of the difference between the two prompts' predictions, as
        a part of the largest in all views: 0 at `low`, 1 at `high`. The mean is over so many `alike` views
        in turn, too, which get the same weights. Costs two passes a noise of each view, of which there must
        be one at least. The generator must be on the latents' device.
        """
        import torch
        from torch.nn.functional import max_pool2d

        from piva.models.denoiser import Query

        schedule = denoiser.prior.schedule
        t = min(round(self.t * len(schedule)), len(schedule) - 1)
        asked = [Prediction(Network.FROZEN, ORIGINAL, prompt) for prompt in (Prompt.SOURCE, Prompt.TARGET)]
        difference = torch.zeros_like(original[::alike])
        with torch.no_grad():
            for _ in range(self.noises):  # one at a time: no more memory than a step needs
                noise = torch.randn(original.shape, generator=generator, device=original.device)
                query = Query(edit, asked, {ORIGINAL: schedule.noised(original, noise, t)}, t)
                (eps,) = denoiser.predict([query])
                source, target = (eps[each] for each in asked)
                difference += (target - source).unflatten(0, (-1, alike)).mean(1) / self.noises
            size = _averaged(difference.square().sum(1, keepdim=True).sqrt())
            part = size / size.amax().clamp(min=LEAST)
            weight = ((part - self.low) / (self.high - self.low)).clamp(0, 1)
            return _averaged(max_pool2d(weight, REACH, 1, REACH // 2)).repeat_interleave(alike, 0)


def _averaged(maps: "Tensor") -> "Tensor":
    """Return maps (n, 1, y, x) averaged over REACH pixels a side."""
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(maps, REACH, 1, REACH // 2, count_include_pad=False)
