"""One row of numbers for one edit: how much of the original is left, and how near the truth it came."""

import math

from torch import Tensor

from piva.metrics.pixels import psnr, ssim
from piva.types import Comparison


def measure(c: Comparison) -> dict[str, float]:
    """Means over the views. `eval/*` compare the edit with the original, `truth/*` with the truth (inside and outside the
    true mask), `nothing/*` the unedited original with the truth: what doing nothing would score.
    """
    row = {"eval/psnr": _mean(psnr(c.after, c.before)), "eval/ssim": _mean(ssim(c.after, c.before))}
    if c.truth is not None and c.truth_after is not None and c.truth_before is not None:
        row |= {"truth/psnr": _mean(psnr(c.truth_after, c.truth)), "truth/ssim": _mean(ssim(c.truth_after, c.truth))}
        row["nothing/psnr"] = _mean(psnr(c.truth_before, c.truth))
        if c.truth_mask is not None:
            row["truth/psnr_inside"] = _mean(psnr(c.truth_after, c.truth, c.truth_mask))
            row["truth/psnr_outside"] = _mean(psnr(c.truth_after, c.truth, 1 - c.truth_mask))
            row["nothing/psnr_inside"] = _mean(psnr(c.truth_before, c.truth, c.truth_mask))
            row["nothing/psnr_outside"] = _mean(psnr(c.truth_before, c.truth, 1 - c.truth_mask))
    elif c.truth_mask is not None:
        row["eval/psnr_outside"] = _mean(psnr(c.after, c.before, 1 - c.truth_mask))
    return row


def _mean(values: Tensor) -> float:
    """Mean over the views that have a value; infinite PSNR (equal pictures) counts as 99 dB."""
    kept = [min(v, 99.0) for v in values.double().tolist() if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan
