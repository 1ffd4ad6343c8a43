"""Thresholds under a limit: against brute force over all thresholds, and SciPy's intervals."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binomtest, poisson

from boostfocal import constrained_threshold

LIMITS: list[dict[str, float]] = [
    {"precision": 0.3}, {"precision": 0.6}, {"recall": 0.2}, {"recall": 0.7}, {"recall": 1.0},
    {"false_positive_rate": 0.01}, {"false_positive_rate": 0.2}, {"alerts": 7.0}, {"alerts": 60.5},
]  # fmt: skip


def rows(seed: int, ties: bool) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    y = (rng.random(300) < 0.15).astype(int)
    score = rng.normal(size=300) + 1.5 * y
    return y, np.round(score, 1) if ties else score, rng.integers(0, 4, 300), rng.integers(0, 5, 300)


def rates(y: Any, alerted: Any, weight: Any, n_days: int) -> dict[str, float]:
    found, false = weight[alerted & (y == 1)].sum(), weight[alerted & (y == 0)].sum()
    return {
        "precision": found / (found + false) if found + false else np.nan,
        "recall": found / weight[y == 1].sum(),
        "false_positive_rate": false / weight[y == 0].sum(),
        "alerts": (found + false) / n_days,
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_threshold_is_the_best_of_all_that_keep_the_limit(
    limit: dict[str, Any], ties: bool, weighted: bool, seed: int
) -> None:
    y, score, weight, _ = rows(seed, ties)
    found = constrained_threshold(y, score, **limit, sample_weight=weight if weighted else None)
    weight = weight if weighted else np.ones(300)
    [(name, bound)] = limit.items()
    by_threshold = {t: rates(y, score >= t, weight, 1) for t in np.unique(score)}
    at_least = name in ("precision", "recall")
    kept = {t: r for t, r in by_threshold.items() if (r[name] >= bound if at_least else r[name] <= bound)}
    best = max(kept.values(), key=lambda r: r["recall"])["recall"]
    fewest = min(kept.values(), key=lambda r: r["alerts"])["alerts"]
    assert found.value in kept
    own = by_threshold[found.value]
    assert own["alerts"] == fewest if name == "recall" else own["recall"] == best
    for rate, value in own.items():
        assert getattr(found, rate) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_interval_is_that_of_scipy(limit: dict[str, Any]) -> None:
    y, score, _, _ = rows(0, ties=False)
    found = constrained_threshold(y, score, **limit, confidence=0.9)
    alerted, [name] = score >= found.value, limit
    counts = {
        "precision": (int(y[alerted].sum()), int(alerted.sum())),
        "recall": (int(y[alerted].sum()), int(y.sum())),
        "false_positive_rate": (int((1 - y)[alerted].sum()), int((1 - y).sum())),
    }
    if name == "alerts":
        low, high = found.interval
        assert found.rows == alerted.sum()
        # as few, or as many, alerts as these have a chance of 5 % at the ends
        assert poisson.sf(found.rows - 1, low) == pytest.approx(0.05, rel=1e-9)
        assert poisson.cdf(found.rows, high) == pytest.approx(0.05, rel=1e-9)
    else:
        expected = binomtest(*counts[name]).proportion_ci(0.9, method="wilson")
        assert found.rows == counts[name][1]
        assert_allclose(found.interval, expected, rtol=1e-9, atol=1e-15)


def test_alerts_a_day_are_a_mean_over_the_days_that_have_rows() -> None:
    y, score, _, day = rows(0, ties=False)
    found = constrained_threshold(y, score, alerts=8, day=np.datetime64("2024-01-30T22") + 24 * day)
    assert found.alerts == (score >= found.value).sum() / 5 == 8
    low, high = found.interval
    assert poisson.cdf(40, 5 * high) == pytest.approx(0.025, rel=1e-9)
    assert poisson.sf(39, 5 * low) == pytest.approx(0.025, rel=1e-9)


def test_equal_weights_leave_the_interval_and_rows_without_weight_are_none() -> None:
    y, score, _, _ = rows(1, ties=False)
    plain = constrained_threshold(y, score, recall=0.6)
    assert constrained_threshold(y, score, recall=0.6, sample_weight=np.full(300, 0.1)).interval == pytest.approx(
        plain.interval
    )
    twice = np.concatenate([y, 1 - y]), np.concatenate([score, score])
    assert constrained_threshold(*twice, recall=0.6, sample_weight=np.repeat([1, 0], 300)) == plain
    uneven = constrained_threshold(y, score, recall=0.6, sample_weight=np.random.default_rng(0).exponential(size=300))
    assert np.ptp(uneven.interval) > np.ptp(plain.interval)


def test_a_threshold_holds_on_new_rows_as_often_as_its_interval_says() -> None:
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y, score = np.repeat([0, 1], [2000, 100]), rng.normal(size=2100)
        score[2000:] += 2
        # the threshold is fixed beforehand: on rows that chose it the interval would be a little narrow
        found = constrained_threshold(y, np.where(score >= 1.5, 1.0, 0.0), false_positive_rate=0.5)
        low, high = found.interval
        inside += low <= 0.0668072 <= high
    assert 180 <= inside <= 199


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "one of precision, recall, false_positive_rate, alerts must be given, got none"),
        ({"precision": 0.5, "recall": 0.5}, ValueError, "must be given, got precision, recall"),
        ({"precision": 0.0}, ValueError, r"precision must be a number in \(0, 1\], got 0"),
        ({"recall": 1.1}, ValueError, "recall must be"),
        ({"recall": "1"}, TypeError, "recall must be"),
        ({"false_positive_rate": 1.0}, ValueError, "false_positive_rate must be"),
        ({"alerts": 0}, ValueError, "alerts must be"),
        ({"recall": 0.5, "confidence": 1.0}, ValueError, "confidence must be"),
        ({"recall": 0.5, "day": [1, 1, 1, 1]}, ValueError, "day must be left out unless alerts is the limit"),
        ({"alerts": 1, "day": [1, 2]}, ValueError, "day must have shape"),
        ({"precision": 0.9}, ValueError, "precision must be one that a threshold keeps, got 0.9: the nearest is 0.5"),
        ({"alerts": 0.5}, ValueError, "alerts must be one that a threshold keeps, got 0.5: the nearest is 2"),
        ({"recall": 0.5, "y": [0, 0, 0, 0]}, ValueError, "y must have a positive row"),
        ({"recall": 0.5, "y": [1, 1, 1, 1]}, ValueError, "y must have a negative row"),
        ({"recall": 0.5, "y": [1, 0.5, 0, 0]}, ValueError, "y must be 0 or 1"),
        ({"recall": 0.5, "probability": [1, 0.5]}, ValueError, "probability must have shape"),
        ({"recall": 0.5, "sample_weight": [-1, 1, 1, 1]}, ValueError, "sample_weight must"),
    ],
)
def test_what_is_not_accepted_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"y": [0, 1, 0, 1], "probability": [0.9, 0.9, 0.1, 0.1], **options}
    with pytest.raises(error, match=message):
        constrained_threshold(given.pop("y"), given.pop("probability"), **given)
