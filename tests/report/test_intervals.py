"""Against scipy's own intervals and tests, and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from piva.report.intervals import interval, over_seeds, paired


def test_an_interval_is_students() -> None:
    values = np.random.default_rng(0).normal(3, 2, 17)
    found = interval(values)
    low, high = stats.t.interval(0.95, df=16, loc=values.mean(), scale=stats.sem(values))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert found.n == 17


def test_what_has_no_value_is_left_out_and_one_value_has_no_interval() -> None:
    assert interval([1.0, math.nan, 3.0]).mean == 2
    assert interval([1.0, math.nan, 3.0]).n == 2
    assert (interval([5.0]).mean, interval([5.0]).n) == (5, 1)
    assert math.isnan(interval([5.0]).half)
    assert (math.isnan(interval([]).mean), interval([]).n) == (True, 0)


def test_seeds_of_an_edit_are_averaged_first() -> None:
    assert over_seeds({"a": [1.0, 3.0], "b": [5.0]}) == {"a": 2, "b": 5}


def test_paired_is_the_one_sample_interval_of_the_differences() -> None:
    generator = np.random.default_rng(1)
    own, other = generator.normal(1, 1, 12), generator.normal(0, 1, 12)
    found = paired(
        {i: {0: x} for i, x in enumerate(own.tolist())}, {i: {0: x} for i, x in enumerate(other.tolist())}
    )
    low, high = stats.ttest_rel(own, other).confidence_interval(0.95)
    mean, half = found.difference.mean, found.difference.half
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert (found.more, found.less) == ((own > other).sum(), (own < other).sum())


def test_the_sign_test_by_hand() -> None:
    """Five of six up: 2 * (6 + 1) / 64; the edit without a difference says nothing."""
    own = {i: {0: float(x)} for i, x in enumerate([1, 1, 1, 1, 1, -1, 0])}
    assert paired(own, {i: {0: 0.0} for i in range(7)}).p == pytest.approx(14 / 64)


def test_only_seeds_and_edits_that_both_have_are_compared() -> None:
    own = {"a": {0: 1.0}, "b": {1: 7.0}, "c": {0: 2.0, 1: 4.0}}
    other = {"a": {0: 0.0, 1: 100.0}, "b": {0: 0.0}, "c": {0: 0.0, 1: 0.0}, "d": {0: 9.0}}
    found = paired(own, other)
    assert (found.difference.mean, found.difference.n) == (2, 2)  # of a 1, of c 3


def test_nothing_in_common_is_no_difference() -> None:
    found = paired({"a": {0: 1.0}}, {"b": {0: 1.0}})
    assert found.difference.n == 0
    assert math.isnan(found.p)
