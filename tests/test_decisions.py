"""Alerts from probabilities: the threshold against brute force, the daily budget against a loop over days."""

import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from boostfocal import CardPrecision, cost_threshold, daily_alerts

costs = st.floats(0.01, 1000)


@given(costs, costs, st.floats(-100, 0), st.floats(-100, 0), st.floats(0, 1))
def test_alerting_from_the_threshold_on_costs_least(fp: float, fn: float, tp: float, tn: float, p: float) -> None:
    threshold = cost_threshold(fp, fn, true_positive=tp, true_negative=tn)
    assert 0 < threshold < 1
    alerted, passed = p * tp + (1 - p) * fp, p * fn + (1 - p) * tn
    assert abs(alerted - passed) < 1e-9 * (fp + fn - tp - tn) or (p >= threshold) == (alerted < passed)


sizes = st.floats(-1.7e308, 1.7e308)


@given(sizes, sizes, sizes, sizes)
def test_the_threshold_of_costs_of_any_size_is_the_exact_quotient_and_above_0_and_below_1(
    fp: float, fn: float, tp: float, tn: float
) -> None:
    (tn, fp), (tp, fn) = sorted((fp, tn)), sorted((fn, tp))
    assume(fp > tn and fn > tp)
    threshold = cost_threshold(fp, fn, true_positive=tp, true_negative=tn)
    alert, miss = Fraction(fp) - Fraction(tn), Fraction(fn) - Fraction(tp)
    assert 0 < threshold < 1
    scale = max(map(abs, map(Fraction, (fp, fn, tp, tn))))  # costs far below the largest one do not count
    assert abs(Fraction(threshold) * (alert + miss) - alert) <= Fraction(4e-16) * scale
    assert_array_equal(
        cost_threshold([fp, 1.0], [fn, 1.0], true_positive=[tp, 0.0], true_negative=[tn, 0.0])[0], threshold
    )


def test_costs_may_be_by_row() -> None:
    amounts = np.array([45.0, 495.0])
    assert_allclose(cost_threshold(5, amounts), [0.1, 0.01])
    assert_allclose(cost_threshold(np.array([5, 5]), amounts, true_positive=[-5, 5]), [5 / 55, 5 / 495])
    assert isinstance(cost_threshold(10, 190), float)


def by_loop(score: np.ndarray, day: np.ndarray, budget: int, card: np.ndarray) -> np.ndarray:
    alerted = np.zeros(score.size, bool)
    for today in np.unique(day):
        cards: list[Any] = []
        for row in sorted(np.flatnonzero(day == today), key=lambda row: (-score[row], row)):
            if card[row] not in cards and len(cards) < budget:
                cards.append(card[row])
        alerted |= (day == today) & np.isin(card, cards)
    return alerted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [1, 3, 1000])
@pytest.mark.parametrize("ties", [False, True])
def test_daily_alerts_match_a_loop_over_days(seed: int, budget: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    score, day, card = rng.normal(size=200), rng.integers(0, 7, 200), rng.integers(0, 20, 200)
    score = np.round(score) if ties else score
    assert_array_equal(daily_alerts(score, day, budget, card=card), by_loop(score, day, budget, card))
    assert_array_equal(daily_alerts(score, day, budget), by_loop(score, day, budget, np.arange(200)))
    names = np.array([f"card {number:02d}" for number in card])
    dates = np.datetime64("2024-01-01") + day
    assert_array_equal(daily_alerts(score, dates, budget, card=names), by_loop(score, day, budget, card))


def test_the_first_days_alerts_are_those_that_card_precision_counts() -> None:
    rng = np.random.default_rng(0)
    score, card, fraud = rng.normal(size=300), rng.integers(0, 60, 300), rng.random(300) < 0.1
    day = np.zeros(300)
    alerted = daily_alerts(score, day, 10, card=card)
    assert np.unique(card[alerted]).size == 10
    found = np.isin(np.unique(card[alerted]), card[fraud]).mean()
    assert CardPrecision(10, card, day).score(fraud, score) == pytest.approx(found)


MINUTES = pd.date_range("2024-01-30 22:00", periods=90, freq="47min")
UTC = datetime.UTC


@pytest.mark.parametrize(
    "times",
    [
        MINUTES.to_numpy(), MINUTES, pd.Series(MINUTES), MINUTES.tz_localize(UTC), list(MINUTES.to_pydatetime()),
        np.array(MINUTES.date, object), list(MINUTES.strftime("%Y-%m-%d")), MINUTES.dayofyear.to_numpy(float),
    ],
)  # fmt: skip
def test_whatever_says_the_day_the_budget_of_each_day_is_kept(times: Any) -> None:
    rng = np.random.default_rng(0)
    score, card, fraud = rng.normal(size=90), rng.integers(0, 20, 90), rng.random(90) < 0.2
    day = (MINUTES - MINUTES[0].normalize()).days.to_numpy()
    assert len(np.unique(day)) == 4
    assert_array_equal(daily_alerts(score, times, 2), by_loop(score, day, 2, np.arange(90)))
    assert_array_equal(daily_alerts(score, times, 2, card=card), by_loop(score, day, 2, card))
    assert CardPrecision(2, card, times).score(fraud, score) == CardPrecision(2, card, day).score(fraud, score)


MISSING = [
    [1.0, np.nan], ["a", None], [None, 2], np.array(["2024-01-01", "NaT"], "M8[ns]"), pd.array([1, None], "Int64"),
    pd.Series(["x", None], dtype="string"), pd.Series(pd.Categorical(["x", None])), [pd.Timestamp("2024"), pd.NaT],
]  # fmt: skip


@pytest.mark.parametrize("values", MISSING)
def test_a_missing_day_or_card_is_refused(values: Any) -> None:
    for call in (
        lambda: daily_alerts([0.1, 0.2], values, 1),
        lambda: CardPrecision(1, [1, 2], values),
        lambda: daily_alerts([0.1, 0.2], [0, 0], 1, card=values),
        lambda: CardPrecision(1, values, [1, 2]),
    ):
        with pytest.raises(ValueError, match=r"^(day|card) must not be (missing|masked), got 1 "):
            call()


@pytest.mark.parametrize("values", [[0.5, 1.0], ["2024-01-01 12:00", "2024-01-02"], ["2024-01-01T12:00:00Z", "x"]])
def test_times_of_day_that_cannot_be_cut_off_are_refused(values: Any) -> None:
    for call in (lambda: daily_alerts([0.1, 0.2], values, 1), lambda: CardPrecision(1, [1, 2], values)):
        with pytest.raises(ValueError, match=r"^day must be (whole numbers|days without a time of day)"):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cost_threshold(0, 5), ValueError, "false_positive must cost more than true_negative, got 0 and 0"),
        (
            lambda: cost_threshold(5, [3, 1], true_positive=2),
            ValueError,
            "false_negative must .* got 1 and 2 at index 1",
        ),
        (lambda: cost_threshold(np.nan, 5), ValueError, "false_positive must be a finite number"),
        (lambda: cost_threshold("5", 5), TypeError, "false_positive must be numbers"),
        (lambda: cost_threshold([1, 2], [1, 2, 3]), ValueError, r"costs by row must have one shape"),
        (lambda: daily_alerts([0.1], [0, 1], 1), ValueError, r"day must have shape \(1,\)"),
        (lambda: daily_alerts([0.1], [0], 0), ValueError, "budget must be a whole number of at least 1, got 0"),
        (lambda: daily_alerts([np.nan], [0], 1), ValueError, "margin must be numbers|score must be numbers"),
        (lambda: daily_alerts([0.1], [0], 1, card=[1, 2]), ValueError, r"card must have shape \(1,\)"),
    ],
)
def test_wrong_input_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="^" + message):
        call()
