"""One row of numbers for one edit: alignment with the prompt, fidelity to the original, nearness to the
truth.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from piva.datasets.edit import Edit
from piva.metrics.comparison import Comparison
from piva.metrics.perceptual import Agrees, MetricNetworks, alignment, directional
from piva.metrics.pie import preservation, prompt_alignment, read_mask
from piva.metrics.pixels import chroma, psnr, ssim

Values = Float[Tensor, "n"]


def measure(c: Comparison, edit: Edit, networks: MetricNetworks | None) -> dict[str, float]:
    """Return means over the views.

    `eval/*` compare the edit with the original and the prompts, `truth/*` with the truth (inside and outside
    the true mask), `pie/*` are PIE-Bench's own where the edit is annotated with a mask. Beside them
    `nothing/*` is the unedited original's score, `best/*` the truth's own, at the truth's views. Without
    `networks` their keys are left out. Pictures are rounded to bytes first: the numbers are those of their
    files.
    """
    return measure_all([c], [edit], networks)[0]


def measure_all(
    comparisons: Sequence[Comparison], edits: Sequence[Edit], networks: MetricNetworks | None
) -> list[dict[str, float]]:
    """Return `measure` of several edits of one size, alike in having truth, its mask and annotation."""
    c = _joined(comparisons)
    views = [len(each.before) for each in comparisons]
    rows = _rows(_against_original(c) | (_by_networks(c, edits, views, networks) if networks else {}), views)
    masks = [
        read_mask(edit.mask, each.before) for each, edit in zip(comparisons, edits, strict=True) if edit.mask
    ]
    if masks:
        annotated = torch.cat([mask.expand(n, -1, -1, -1) for mask, n in zip(masks, views, strict=True)])
        rows = _merged(rows, _rows(_pie(c, annotated, edits, views, networks), views))
    if c.truth is not None:
        views = [0 if each.truth is None else len(each.truth) for each in comparisons]
        rows = _merged(
            rows,
            _rows(
                _against_truth(c) | (_truth_by_networks(c, edits, views, networks) if networks else {}), views
            ),
        )
        if networks and networks.agrees:
            rows = _merged(rows, _success(c, edits, views, networks.agrees))
    return rows


def _against_original(c: Comparison) -> dict[str, Values]:
    values = {"eval/psnr": psnr(c.after, c.before), "eval/ssim": ssim(c.after, c.before)}
    values |= {"eval/saturation": chroma(c.after), "nothing/saturation": chroma(c.before)}
    if c.truth is None and c.truth_mask is not None:
        values["eval/psnr_outside"] = psnr(c.after, c.before, 1 - c.truth_mask)
    return values


def _by_networks(
    c: Comparison, edits: Sequence[Edit], views: Sequence[int], networks: MetricNetworks
) -> dict[str, Values]:
    """What the networks say."""
    source, target = (_repeated(networks.clip.texts(prompts), views) for prompts in _prompts(edits))
    before, after = networks.clip.images(c.before), networks.clip.images(c.after)
    return {
        "eval/clip": alignment(after, target),
        "eval/clip_source": alignment(before, source),
        "eval/clip_direction": directional(before, after, source, target),
        "eval/lpips": networks.lpips(c.after, c.before),
        "nothing/clip": alignment(before, target),
    }


def _pie(
    c: Comparison, masks: Tensor, edits: Sequence[Edit], views: Sequence[int], networks: MetricNetworks | None
) -> dict[str, Values]:
    values = preservation(c.before, c.after, masks, networks.pie if networks else None)
    if networks:
        clip = networks.pie.clip
        target = _repeated(clip.texts(_prompts(edits)[1]), views)
        values |= {
            f"pie/{key}": value for key, value in prompt_alignment(c.after, masks, target, clip).items()
        }
        values |= {
            f"nothing/{key}": value for key, value in prompt_alignment(c.before, masks, target, clip).items()
        }
    return values


def _against_truth(c: Comparison) -> dict[str, Values]:
    assert c.truth is not None
    assert c.truth_after is not None
    assert c.truth_before is not None
    values = {"truth/psnr": psnr(c.truth_after, c.truth), "truth/ssim": ssim(c.truth_after, c.truth)}
    values |= {"nothing/psnr": psnr(c.truth_before, c.truth), "best/saturation": chroma(c.truth)}
    if c.truth_mask is not None:
        for name, mask in (("inside", c.truth_mask), ("outside", 1 - c.truth_mask)):
            values[f"truth/psnr_{name}"] = psnr(c.truth_after, c.truth, mask)
            values[f"nothing/psnr_{name}"] = psnr(c.truth_before, c.truth, mask)
    return values


def _truth_by_networks(
    c: Comparison, edits: Sequence[Edit], views: Sequence[int], networks: MetricNetworks
) -> dict[str, Values]:
    assert c.truth is not None
    assert c.truth_after is not None
    assert c.truth_before is not None
    target = _repeated(networks.clip.texts(_prompts(edits)[1]), views)
    return {
        "truth/lpips": networks.lpips(c.truth_after, c.truth),
        "nothing/lpips": networks.lpips(c.truth_before, c.truth),
        "best/clip": alignment(networks.clip.images(c.truth), target),
    }


def _success(
    c: Comparison, edits: Sequence[Edit], views: Sequence[int], agrees: Agrees
) -> list[dict[str, float]]:
    """Whether an edit's views together show all that the target prompt asks for, and nothing else."""
    pictures = {"truth": c.truth_after, "nothing": c.truth_before, "best": c.truth}
    parts = {who: x.split(list(views)) for who, x in pictures.items() if x is not None}
    return [
        {f"{who}/success": agrees(part[i], edit.target_prompt) for who, part in parts.items()}
        for i, edit in enumerate(edits)
    ]


def _joined(comparisons: Sequence[Comparison]) -> Comparison:
    """The views of all edits one after the other, in bytes' steps."""
    names = [field.name for field in dataclasses.fields(Comparison) if field.name != "size"]
    parts = {name: [p for each in comparisons if (p := getattr(each, name)) is not None] for name in names}
    joined: dict[str, Any] = {
        name: torch.cat(p).mul_(255).round_().div_(255) if p else None for name, p in parts.items()
    }
    return Comparison(**joined)


def _prompts(edits: Sequence[Edit]) -> tuple[list[str], list[str]]:
    return [edit.source_prompt for edit in edits], [edit.target_prompt for edit in edits]


def _repeated(embeddings: Tensor, views: Sequence[int]) -> Tensor:
    """One an edit to one a view."""
    return embeddings.repeat_interleave(torch.tensor(views, device=embeddings.device), dim=0)


def _rows(values: dict[str, Values], views: Sequence[int]) -> list[dict[str, float]]:
    """Each edit's mean over its views."""
    means = {key: [_mean(part) for part in value.split(list(views))] for key, value in values.items()}
    return [{key: mean[i] for key, mean in means.items()} for i in range(len(views))]


def _merged(rows: list[dict[str, float]], more: list[dict[str, float]]) -> list[dict[str, float]]:
    return [a | b for a, b in zip(rows, more, strict=True)]


def _mean(values: Tensor) -> float:
    """Mean over the views that have a value; infinite where equal pictures make a PSNR so."""
    kept = [v for v in values.tolist() if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan
