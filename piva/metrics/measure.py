"""One row of numbers for one edit: how well it obeys the prompt, how much of the original is left, how near the truth it came."""

import math

from torch import Tensor

from piva.metrics.perceptual import Judges, alignment, directional
from piva.metrics.pixels import chroma, psnr, ssim
from piva.types import Comparison, Edit


def measure(c: Comparison, edit: Edit, judges: Judges | None) -> dict[str, float]:
    """Means over the views. `eval/*` compare the edit with the original and with the prompts, `truth/*` with the truth (inside
    and outside the true mask). What there is to compare them to: `nothing/*` is the unedited original's score, `best/*` the
    truth's own, at the truth's views. Without `judges` the networks' keys are left out.
    """
    row = {"eval/psnr": _mean(psnr(c.after, c.before)), "eval/ssim": _mean(ssim(c.after, c.before))}
    row |= {"eval/saturation": _mean(chroma(c.after)), "nothing/saturation": _mean(chroma(c.before))}
    if c.truth is not None and c.truth_after is not None and c.truth_before is not None:
        row |= {"truth/psnr": _mean(psnr(c.truth_after, c.truth)), "truth/ssim": _mean(ssim(c.truth_after, c.truth))}
        row["nothing/psnr"] = _mean(psnr(c.truth_before, c.truth))
        row["best/saturation"] = _mean(chroma(c.truth))
        if c.truth_mask is not None:
            row["truth/psnr_inside"] = _mean(psnr(c.truth_after, c.truth, c.truth_mask))
            row["truth/psnr_outside"] = _mean(psnr(c.truth_after, c.truth, 1 - c.truth_mask))
            row["nothing/psnr_inside"] = _mean(psnr(c.truth_before, c.truth, c.truth_mask))
            row["nothing/psnr_outside"] = _mean(psnr(c.truth_before, c.truth, 1 - c.truth_mask))
    elif c.truth_mask is not None:
        row["eval/psnr_outside"] = _mean(psnr(c.after, c.before, 1 - c.truth_mask))
    return row | (_judged(c, edit, judges) if judges else {})


def _judged(c: Comparison, edit: Edit, judges: Judges) -> dict[str, float]:
    """What the networks say."""
    source, target = judges.clip.texts([edit.source_prompt, edit.target_prompt]).split(1)
    before, after = judges.clip.images(c.before), judges.clip.images(c.after)
    row = {
        "eval/clip": _mean(alignment(after, target)),
        "eval/clip_source": _mean(alignment(before, source)),
        "eval/clip_direction": _mean(directional(before, after, source, target)),
        "eval/lpips": _mean(judges.lpips(c.after, c.before)),
        "nothing/clip": _mean(alignment(before, target)),
    }
    if c.truth is not None and c.truth_after is not None and c.truth_before is not None:
        row["truth/lpips"] = _mean(judges.lpips(c.truth_after, c.truth))
        row["nothing/lpips"] = _mean(judges.lpips(c.truth_before, c.truth))
        row["best/clip"] = _mean(alignment(judges.clip.images(c.truth), target))
    return row


def _mean(values: Tensor) -> float:
    """Mean over the views that have a value; infinite PSNR (equal pictures) counts as 99 dB."""
    kept = [min(v, 99.0) for v in values.double().tolist() if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan
