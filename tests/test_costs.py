"""Decisions by cost: against brute force in exact fractions, scikit-learn's confusion matrix, and another package."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from boostfocal import (
    ExpectedSavings,
    FocalLGBMClassifier,
    FocalLoss,
    SoftmaxFocalLoss,
    cost_matrix,
    cost_threshold,
    decide,
    expected_savings,
    mean_cost,
    savings,
)

sizes = st.floats(-1.7e308, 1.7e308)


def rows(n: int = 400, n_classes: int = 2, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Labels, probabilities, costs by row, and weights of which some are 0."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(n_classes, 0.5), n)
    costs = rng.exponential(50, size=(n, n_classes, n_classes))
    costs[:, range(n_classes), range(n_classes)] = rng.exponential(2, size=(n, n_classes))
    return rng.integers(0, n_classes, n), proba, costs, rng.integers(0, 3, n)


# --- the matrix and the decision -------------------------------------------------------------------


def test_matrix_has_the_order_of_the_confusion_matrix() -> None:
    from sklearn.metrics import confusion_matrix

    y, decision = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 0, 0, 0, 1])
    costs = cost_matrix(false_positive=10, false_negative=100, true_positive=1, true_negative=0.1)
    assert costs.tolist() == [[0.1, 10], [100, 1]]
    assert mean_cost(y, decision, costs) == pytest.approx((confusion_matrix(y, decision) * costs).sum() / 7)


def test_matrix_by_row_has_one_matrix_for_each() -> None:
    costs = cost_matrix(8, [100, 0, 30], true_positive=[1, 2, 3])
    assert costs.shape == (3, 2, 2)
    assert_array_equal(costs[:, 1, 0], [100, 0, 30])
    assert_array_equal(costs[:, 0, 1], [8, 8, 8])
    assert_array_equal(costs[:, 1, 1], [1, 2, 3])


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("by_row", [False, True])
def test_decision_costs_least(n_classes: int, by_row: bool) -> None:
    _, proba, costs, _ = rows(200, n_classes)
    costs = costs if by_row else costs[0]
    found = decide(proba, costs)
    for i in range(200):
        matrix = costs[i] if by_row else costs
        expected = [
            sum(Fraction(p) * Fraction(c) for p, c in zip(proba[i], matrix[:, j], strict=True))
            for j in range(n_classes)
        ]
        assert float(expected[found[i]]) == pytest.approx(float(min(expected)), rel=1e-12)


@given(sizes, sizes, sizes, sizes, st.floats(0, 1))
def test_costs_of_any_size_and_sign_are_decided_right(fp: float, fn: float, tp: float, tn: float, p: float) -> None:
    costs = cost_matrix(fp, fn, true_positive=tp, true_negative=tn)
    [found] = decide([p], costs)
    q = Fraction(1 - p)
    alerted, passed = Fraction(p) * Fraction(tp) + q * Fraction(fp), Fraction(p) * Fraction(fn) + q * Fraction(tn)
    scale = max(map(abs, map(Fraction, (fp, fn, tp, tn))))
    assert abs(alerted - passed) <= Fraction(1e-15) * scale or found == (alerted < passed)
    assert_array_equal(decide([[1 - p, p]], costs), [found])


@given(st.floats(0.01, 1000), st.floats(0.01, 1000), st.floats(0, 1))
def test_decision_is_that_of_the_threshold(fp: float, fn: float, p: float) -> None:
    threshold = cost_threshold(fp, fn)
    if abs(p - threshold) > 1e-15:
        assert decide([p], cost_matrix(fp, fn))[0] == (p >= threshold)


def test_any_amount_is_taken_and_ties_are_alerts() -> None:
    amount = np.array([0.0, 0.0, 8.0, 8.0, 16.0, 1e300])
    probability = np.array([0.0, 1.0, 0.999, 1.0, 0.5, 1e-290])
    costs = cost_matrix(8, amount, true_positive=8)
    assert_array_equal(decide(probability, costs), [0, 0, 0, 1, 1, 1])
    assert_array_equal(decide([0.2, 0.7], np.zeros((2, 2))), [1, 1])


# --- what decisions save ---------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_savings_compare_with_the_best_constant_decision(n_classes: int, weighted: bool) -> None:
    y, proba, costs, weight = rows(n_classes=n_classes)
    weights = weight if weighted else None
    decision = proba.argmax(axis=1)
    repeats = weight if weighted else np.ones(400, int)

    def spent(decided: np.ndarray) -> float:
        each = [costs[i, y[i], decided[i]] for i in range(400)]
        return float(np.repeat(each, repeats).mean())

    trivial = min(spent(np.full(400, k)) for k in range(n_classes))
    assert mean_cost(y, decision, costs, weights) == pytest.approx(spent(decision), rel=1e-12)
    assert savings(y, decision, costs, weights) == pytest.approx(1 - spent(decision) / trivial, rel=1e-12)
    assert savings(y, y, np.where(np.eye(n_classes, dtype=bool), 0.0, costs), weights) == 1
    one_hot = np.eye(n_classes)[decision]
    assert expected_savings(y, one_hot, costs, weights) == pytest.approx(savings(y, decision, costs, weights))


@pytest.mark.parametrize("by_row", [False, True])
def test_savings_are_those_of_another_package(by_row: bool) -> None:
    empulse = pytest.importorskip("empulse.metrics")
    if not hasattr(empulse, "savings_score"):
        pytest.skip("the empulse that takes the oldest scikit-learn has no savings")
    y, proba, costs, _ = rows(1000)
    costs = costs if by_row else costs[3]
    names = {"tn_cost": (0, 0), "fp_cost": (0, 1), "fn_cost": (1, 0), "tp_cost": (1, 1)}
    theirs = {name: costs[..., i, j] for name, (i, j) in names.items()}
    theirs = theirs if by_row else {name: float(cost) for name, cost in theirs.items()}
    alert = proba[:, 1] >= 0.4
    assert savings(y, alert, costs) == pytest.approx(empulse.savings_score(y, alert, **theirs), rel=1e-9)
    expected = empulse.expected_savings_score(y, proba[:, 1], **theirs)
    assert expected_savings(y, proba[:, 1], costs) == pytest.approx(expected, rel=1e-9)
    assert expected_savings(y, proba, costs) == pytest.approx(expected, rel=1e-9)


def test_least_cost_decisions_of_true_probabilities_save_most() -> None:
    rng = np.random.default_rng(0)
    probability, amount = rng.beta(0.3, 6, 20_000), rng.lognormal(4, 1, 20_000)
    y, costs = rng.random(20_000) < probability, cost_matrix(8, amount, true_positive=8)
    best = savings(y, decide(probability, costs), costs)
    assert best > 0.1
    for threshold in (0.01, 0.05, 0.1, 0.3, 0.5):
        assert best > savings(y, probability >= threshold, costs)


# --- where scikit-learn and the engines take them --------------------------------------------------


def test_savings_are_a_scorer_that_tunes_a_threshold() -> None:
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import cross_val_score

    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3))
    y = (rng.random(1500) < 1 / (1 + np.exp(3 - 1.5 * X[:, 0]))).astype(int)
    costs = cost_matrix(1, 12)
    model = FocalLGBMClassifier(n_estimators=20, max_depth=2, verbosity=-1, n_jobs=1)
    scorer = make_scorer(savings, costs=costs)
    at_half = cross_val_score(model, X, y, scoring=scorer, cv=3).mean()
    selection = pytest.importorskip("sklearn.model_selection")
    if not hasattr(selection, "TunedThresholdClassifierCV"):
        pytest.skip("scikit-learn has it from 1.5 on")
    tuned = selection.TunedThresholdClassifierCV(model, scoring=scorer, cv=3).fit(X, y)
    assert scorer(tuned, X, y) > at_half
    fixed = selection.FixedThresholdClassifier(model.fit(X, y), threshold=cost_threshold(1, 12))
    fixed.fit(X, y)
    assert_array_equal(fixed.predict(X), decide(model.predict_proba(X), costs))


def test_the_metric_is_that_of_the_posterior() -> None:
    rng = np.random.default_rng(0)
    y, margins, amount = rng.integers(0, 2, 300), rng.normal(size=300), rng.exponential(100, 300)
    loss, costs = FocalLoss(2.0, 0.2), cost_matrix(8, amount)
    metric = ExpectedSavings(loss, costs)
    assert metric.name == "predicted_savings"  # XGBoost maximizes what begins with "pre"
    assert metric.score(y, margins) == expected_savings(y, loss.predict_proba(margins), costs)
    weights = rng.integers(0, 3, 300)
    assert metric.score(y, margins, weights) == expected_savings(y, loss.predict_proba(margins), costs, weights)
    classes, several = rng.integers(0, 3, 300), rng.normal(size=(300, 3))
    softmax, matrix = SoftmaxFocalLoss(3), 1 - np.eye(3)
    found = ExpectedSavings(softmax, matrix).score(classes, several)
    assert found == expected_savings(classes, softmax.predict_proba(several), matrix)
    with pytest.raises(ValueError, match=r"costs must have shape .*\(299, 2, 2\), got shape \(300, 2, 2\)"):
        metric.score(y[1:], margins[1:])


# --- refusals --------------------------------------------------------------------------------------

MATRIX = cost_matrix(1, 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decide([0.5, 1.1], MATRIX), r"probability must be in \[0, 1\]"),
        (
            lambda: decide([[0.5, 0.4]], MATRIX),
            "probability must sum to 1 over the classes, got a row that sums to 0.9",
        ),
        (lambda: decide([[[0.5]]], MATRIX), r"probability must have shape \(n,\) or \(n, K\)"),
        (lambda: decide([0.5], [1.0, 10.0]), r"costs must have shape \(2, 2\) or \(1, 2, 2\), got shape \(2,\)"),
        (lambda: decide([0.5], np.zeros((3, 3))), r"costs must have shape \(2, 2\)"),
        (lambda: decide([0.5], [[0, np.nan], [1, 0]]), "costs must be finite numbers, got nan"),
        (lambda: cost_matrix(np.inf, 1), "false_positive must be a finite number"),
        (lambda: cost_matrix([1, 2], [1, 2, 3]), r"costs by row must have one shape \(n,\)"),
        (lambda: mean_cost([0, 2], [0, 1], MATRIX), "y must be classes, whole numbers from 0 to 1"),
        (lambda: mean_cost([0, 1], [0, 2], MATRIX), "decision must be classes, whole numbers from 0 to 1, got 2"),
        (lambda: mean_cost([0, 1], [0], MATRIX), r"decision must have shape \(2,\)"),
        (lambda: mean_cost([0, 1], [0, 1], MATRIX, [0, 0]), "sample_weight must"),
        (lambda: mean_cost([0, 1], [0, 1], MATRIX, [0, -1]), "sample_weight must"),
        (lambda: savings([0, 0], [0, 1], MATRIX), "costs must make the best trivial policy cost something, got 0"),
        (lambda: savings([0, 1], [0, 1], cost_matrix(1, 1, true_positive=-9)), "got -4 a row"),
        (lambda: expected_savings([0, 1], [0.5], MATRIX), r"probability must have shape \(2, 2\)"),
        (lambda: ExpectedSavings(FocalLoss(), [1.0]), "costs must be finite, of shape"),  # type: ignore[arg-type]
    ],
)
def test_what_is_not_accepted_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
