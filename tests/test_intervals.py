"""Intervals, against SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import binomtest, chi2, t

from boostfocal import intervals


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_a_share_has_wilsons_interval(n: int, share: float, confidence: float) -> None:
    count = round(share * n)
    expected = binomtest(count, n).proportion_ci(confidence, method="wilson")
    assert_allclose(intervals.of_share(count / n, n, confidence), [expected.low, expected.high], atol=1e-12)


@given(st.integers(1, 10_000), st.floats(0.5, 0.999))
def test_a_count_has_garwoods_interval(n: int, confidence: float) -> None:
    tail = (1 - confidence) / 2
    expected = [chi2.ppf(tail, 2 * n) / 2, chi2.isf(tail, 2 * n + 2) / 2]
    assert_allclose(intervals.of_count(float(n), n, confidence), expected, rtol=1e-9)
    assert_allclose(intervals.of_count(n / 7, n, confidence), np.array(expected) / 7, rtol=1e-9)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.floats(0, 1))
def test_a_mean_over_splits_has_the_corrected_t_interval(values: list[float], share: float) -> None:
    array = np.array(values)
    mean, half = intervals.of_mean(array, share)
    assert mean == pytest.approx(array.mean(), abs=1e-9)
    expected = t.ppf(0.975, array.size - 1) * np.sqrt((1 / array.size + share) * array.var(ddof=1))
    assert half == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.integers(1, 4), st.floats(0.5, 3))
def test_groups_of_one_row_have_the_t_interval_and_copies_in_a_group_say_no_more(
    values: list[float], copies: int, weight: float
) -> None:
    array = np.array(values)
    expected = t.ppf(0.975, array.size - 1) * np.std(array, ddof=1) / np.sqrt(array.size)
    groups = np.repeat(np.arange(array.size), copies)
    found = intervals.half_of_groups(np.repeat(array, copies), np.full(groups.size, weight), groups)
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_groups_cover_their_mean() -> None:
    """Of unequal groups whose rows are alike, 95 of 100 intervals hold the mean."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        groups = np.repeat(np.arange(40), rng.integers(5, 50, 40))
        values = (rng.random(groups.size) < rng.beta(2, 8, 40)[groups]).astype(float)
        held += abs(values.mean() - 0.2) <= intervals.half_of_groups(values, np.ones(groups.size), groups)
    assert 0.91 <= held / 400 <= 0.98


def test_one_split_has_no_interval() -> None:
    assert intervals.of_mean(np.array([0.25]), 0.1) == (0.25, None)


def test_equal_weights_are_rows() -> None:
    assert intervals.effective_rows(np.full(7, 3.0)) == pytest.approx(7)
    assert intervals.effective_rows(np.array([1.0, 0.0])) == 1
