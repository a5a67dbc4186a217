"""What is said of a number measured on several edits: its mean, how sure that is, and whether two settings differ."""

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
    """A mean over n values and half the width of its 95 % interval; nan where it takes more values to say."""

    mean: float
    half: float
    n: int


@dataclass(frozen=True)
class Paired:
    """One setting minus another, edit by edit: the mean difference, how many edits gained and lost, the sign test's p."""

    difference: Interval
    more: int
    less: int
    p: float


def interval(values: Iterable[float]) -> Interval:
    """Mean and Student's 95 % interval of independent values; nan among them are left out."""
    kept = np.array([value for value in values if not math.isnan(value)])
    if not len(kept):
        return Interval(math.nan, math.nan, 0)
    mean = float(kept.mean())
    if len(kept) < 2:
        return Interval(mean, math.nan, len(kept))
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(kept) - 1) * stats.sem(kept)
    return Interval(mean, float(half), len(kept))


def over_seeds(values: Mapping[K, Sequence[float]]) -> dict[K, float]:
    """Of each edit the mean over its seeds: seeds of one edit are not independent edits."""
    return {edit: sum(seeds) / len(seeds) for edit, seeds in values.items()}


def paired(own: Mapping[K, Mapping[int, float]], other: Mapping[K, Mapping[int, float]]) -> Paired:
    """`own` minus `other`, values by edit and seed, over the edits that both measured with one seed at least.

    An edit's difference is the mean over the seeds that both have, so that chance that is common to both cancels. The interval
    is Student's over the edits; p is the two-sided sign test's (`scipy.stats.binomtest` of how many edits gained against an even
    chance; edits without a difference say nothing and are left out), which assumes no distribution.
    """
    common = {edit: own[edit].keys() & other[edit].keys() for edit in own if edit in other}
    by_seed = {
        edit: [own[edit][seed] - other[edit][seed] for seed in sorted(seeds)]
        for edit, seeds in common.items()
        if seeds
    }
    differences = list(over_seeds(by_seed).values())
    more, less = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    p = float(stats.binomtest(more, more + less).pvalue) if more + less else math.nan
    return Paired(interval(differences), more, less, p)
