"""Where two prompts disagree about a picture: DiffEdit's mask (Couairon et al. 2023), soft, for any score.

Outside it a direction is noise and what guidance makes of every picture, such as another pose.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from piva.config import RelevanceSettings
from piva.models.denoiser import Conditioning, Denoiser, Query
from piva.scores.terms import ORIGINAL, Network, Prediction, Prompt

LEAST = 1e-3  # of noise, whose deviation is 1: what prompts that say the same differ by is rounding
REACH = 3  # latent pixels a side over which the map is averaged, and by which it then grows


@torch.no_grad()
def relevance(
    settings: RelevanceSettings,
    denoiser: Denoiser,
    edit: Conditioning,
    original: Float[Tensor, "b c y x"],
    generator: torch.Generator,
    alike: int = 1,
) -> Float[Tensor, "b 1 y x"]:
    """Return the weight in [0, 1] of each latent pixel: the length of the mean, over noises, of the
    difference between the two prompts' predictions, as a part of the largest in all views; 0 at `low`, 1 at
    `high`. The mean is over so many `alike` views in turn, too, which get the same weights.

    Costs two passes a noise of each view. The generator must be on the latents' device.
    """
    schedule = denoiser.prior.schedule
    t = min(round(settings.t * len(schedule)), len(schedule) - 1)
    rows = original.repeat(settings.noises, 1, 1, 1)
    noise = torch.randn(rows.shape, generator=generator, device=rows.device)
    asked = [Prediction(Network.FROZEN, ORIGINAL, prompt) for prompt in (Prompt.SOURCE, Prompt.TARGET)]
    query = Query(edit, asked, {ORIGINAL: schedule.noised(rows, noise, t)}, t)
    (eps,) = denoiser.predict([query])
    source, target = (eps[each] for each in asked)
    difference = (target - source).unflatten(0, (settings.noises, -1, alike)).mean((0, 2))
    size = _averaged(difference.square().sum(1, keepdim=True).sqrt())
    part = size / size.amax().clamp(min=LEAST)
    weight = ((part - settings.low) / (settings.high - settings.low)).clamp(0, 1)
    return _averaged(max_pool2d(weight, REACH, 1, REACH // 2)).repeat_interleave(alike, 0)


def _averaged(maps: Float[Tensor, "n 1 y x"]) -> Float[Tensor, "n 1 y x"]:
    return avg_pool2d(maps, REACH, 1, REACH // 2, count_include_pad=False)
