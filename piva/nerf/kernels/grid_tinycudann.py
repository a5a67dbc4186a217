"""The hash grid's encoding by tiny-cuda-nn, where its bindings are built: the original of the layout, and the
fastest.

Importing them fails with an `ImportError` where they are missing and an `OSError` where no GPU is seen.
"""

from functools import cache

import tinycudann
import torch
from jaxtyping import Float
from torch import Tensor

from piva.nerf.kernels.layout import Layout


def encode(
    params: Float[Tensor, "size"], x: Float[Tensor, "m 3"], layout: Layout
) -> Float[Tensor, "m width"]:
    """Return what `grid_torch.encode` does, for float32 on a GPU; differentiable in `params`."""
    if len(x) == 0:
        return x.new_zeros((0, layout.width))
    encoding = _encoding(layout, x.device)
    with torch.cuda.device_of(x):
        features: Tensor = torch.func.functional_call(encoding, {"params": params}, (x.detach(),))
    return features


@cache
def _encoding(layout: Layout, device: torch.device) -> torch.nn.Module:
    """Return their module, used for its kernels only: each call passes the parameters."""
    with torch.cuda.device(device):
        made: torch.nn.Module = tinycudann.Encoding(
            3,
            {
                "otype": "HashGrid",
                "n_levels": layout.levels,
                "n_features_per_level": layout.features,
                "log2_hashmap_size": layout.log2_rows,
                "base_resolution": layout.base,
                "per_level_scale": layout.growth,
            },
            dtype=torch.float32,
        )
        return made
