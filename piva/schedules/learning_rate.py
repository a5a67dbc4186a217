"""How learning rates change in the course of a run."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def scheduled(optimiser: Optimizer, schedule: str, end: float, warmup: float, steps: int) -> LambdaLR:
    """Let each rate of `optimiser` follow `rate`; step the result once a step."""
    return LambdaLR(optimiser, lambda step: rate(step, steps, schedule, end, warmup))


def rate(step: int, steps: int, schedule: str, end: float, warmup: float) -> float:
    """Return the fraction of its learning rate that step `step` of `steps`, counted from 0, has.

    Args:
        schedule: `constant`; `cosine`, to zero; `exponential`, to `end`, where a step after the last arrives.
        end: in (0, 1], looked at by `exponential` alone.
        warmup: the fraction of the steps over which the rate rises linearly to what `schedule` says.
    """
    part = step / steps
    shape: float = {"constant": 1.0, "cosine": (1 + math.cos(math.pi * part)) / 2, "exponential": end**part}[
        schedule
    ]
    warm = round(warmup * steps)
    return shape * min(1.0, (step + 1) / warm) if warm else shape
