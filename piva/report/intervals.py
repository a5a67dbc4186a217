"""Statistics over edits: a mean, how sure it is, and whether two settings differ."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

K = TypeVar("K", bound=Hashable)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over n values and half the width of its 95 % interval; nan where there are too few values."""

    mean: float
    half: float
    n: int


@dataclass(frozen=True)
class Paired:
    """One setting minus another: the mean difference, how many edits gained and lost, the sign test's p."""

    difference: Interval
    more: int
    less: int
    p: float


def interval(values: Iterable[float]) -> Interval:
    """Return the mean and Student's 95 % interval of independent values; nan are left out."""
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return Interval(math.nan, math.nan, 0)
    if len(known) < 2:
        return Interval(float(known[0]), math.nan, 1)
    if not np.isfinite(known).all():  # the PSNR of equal pictures
        return Interval(float(known.mean()), math.nan, len(known))
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * stats.sem(known)
    return Interval(float(known.mean()), float(half), len(known))


def over_seeds(values: Mapping[K, Sequence[float]]) -> dict[K, float]:
    """Return each edit's mean over its seeds: seeds of one edit are not independent edits."""
    return {edit: sum(seeds) / len(seeds) for edit, seeds in values.items()}


def paired(own: Mapping[K, Mapping[int, float]], other: Mapping[K, Mapping[int, float]]) -> Paired:
    """Compare `own` with `other`, values by edit and seed, over the edits that have a common seed.

    An edit's difference is the mean over the seeds that both have, so that common chance cancels. The
    interval is Student's over the edits; p is the two-sided sign test's (`scipy.stats.binomtest` of how many
    edits gained against an even chance, without those of no difference), which assumes no distribution.
    """
    common = {edit: sorted(own[edit].keys() & other[edit].keys()) for edit in own if edit in other}
    by_seed = {
        edit: [own[edit][s] - other[edit][s] for s in seeds] for edit, seeds in common.items() if seeds
    }
    differences = list(over_seeds(by_seed).values())
    more, less = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    p = float(stats.binomtest(more, more + less).pvalue) if more + less else math.nan
    return Paired(interval(differences), more, less, p)
