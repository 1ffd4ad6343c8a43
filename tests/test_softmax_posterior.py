"""SoftmaxFocalLoss: posterior and margins, the inverse of each other. They run on NumPy with a compiler or without."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_softmax import GAMMAS, rows, uneven

from boostfocal import SoftmaxFocalLoss
from boostfocal.base import BLOCK


@pytest.mark.parametrize("n_classes", [2, 3, 5, 20])
@pytest.mark.parametrize("gamma", [*GAMMAS, 1e-3, 100.0])
@pytest.mark.parametrize("kind", ["none", "uneven", "extreme"])
def test_predict_proba_undoes_margin(gamma: float, n_classes: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    extreme = tuple(10 ** rng.uniform(-6, 0, n_classes))
    alpha = {"none": None, "uneven": uneven(n_classes), "extreme": extreme}[kind]
    loss = SoftmaxFocalLoss(n_classes, gamma, alpha)
    proba = rng.dirichlet(np.full(n_classes, 0.3), 30)
    margins = loss.margin(proba)
    assert_allclose(margins.mean(axis=1), 0, atol=1e-9 * np.abs(margins).max())
    assert_allclose(loss.predict_proba(margins), proba, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 2.0, 300.0, 1000.0])
@pytest.mark.parametrize("order", ["C", "F"])
def test_posterior_of_many_rows_is_that_of_each(gamma: float, order: Any) -> None:
    loss = SoftmaxFocalLoss(3, gamma, (1.0, 5.0, 0.2))
    n = 2 * BLOCK // 3
    margins = np.array(np.random.default_rng(0).normal(scale=8, size=(n, 3)), order=order)
    margins[:4] = [[0, 0, 0], [800, 0, -800], [np.inf, 0, 0], [-np.inf, 0, 1e-3]]
    proba = loss.predict_proba(margins)
    some = np.r_[0:40, n // 2 - 20 : n // 2 + 20, n - 20 : n]
    assert_allclose(proba[some], [loss.predict_proba(row) for row in margins[some]], rtol=1e-13, atol=1e-300)
    logs = loss._log_eta(margins)  # the definition, from logarithms
    logs = np.exp(logs - logs.max(axis=1, keepdims=True))
    assert_allclose(proba, logs / logs.sum(axis=1, keepdims=True), rtol=1e-11, atol=1e-250)
    rates = np.array([0.1, 1.0, 2.0])
    expected = proba / rates
    assert_allclose(
        loss.predict_proba(margins, sampling_rates=rates), expected / expected.sum(axis=1, keepdims=True), rtol=1e-11
    )


@pytest.mark.parametrize("gamma", [5e-324, 1e-300, 1e-17, 1e-16, 1e-14, 1e-12, 1.1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize("alpha", [None, (1e-3, 1.0, 1e3)])
def test_margins_of_gammas_near_zero_are_those_of_gamma_0(gamma: float, alpha: Any) -> None:
    rng = np.random.default_rng(0)
    rows = [[0.98, 0.01, 0.01], [1, 0, 0], [0.5, 0.5, 0], [1e-300, 1e-300, 1], [1 - 2e-12, 1e-12, 1e-12]]
    proba = np.concatenate([rng.dirichlet([1, 1, 1], 5), rng.dirichlet([0.05] * 3, 20), rows])
    margins = SoftmaxFocalLoss(3, gamma, alpha).margin(proba)
    assert_allclose(SoftmaxFocalLoss(3, gamma, alpha).predict_proba(margins), proba, rtol=1e-11, atol=1e-320)
    assert_allclose(margins, SoftmaxFocalLoss(3, 0.0, alpha).margin(proba), rtol=1e-12, atol=1e3 * gamma + 1e-12)


def test_margins_of_certainty_are_infinite_and_map_back() -> None:
    loss = SoftmaxFocalLoss(3, 2.0, (1.0, 2.0, 3.0))
    proba = np.array([[0.2, 0.0, 0.8], [0.0, 0.0, 1.0]])
    margins = loss.margin(proba)
    assert_array_equal(np.isinf(margins), proba == 0)
    assert margins[0, 0] == pytest.approx(-margins[0, 2])
    assert margins[1, 2] == 0
    assert_allclose(loss.predict_proba(margins), proba, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 8.0, 20.0, 200.0])
def test_impossible_classes_leave_the_others_their_margins(gamma: float) -> None:
    loss, fewer = SoftmaxFocalLoss(4, gamma, (1, 2, 3, 4)), SoftmaxFocalLoss(2, gamma, (1, 3))
    margins = loss.margin([0.9, 0.0, 0.1, 0.0])
    assert_allclose(margins[[0, 2]], fewer.margin([0.9, 0.1]), rtol=1e-9)
    assert_array_equal(margins[[1, 3]], -np.inf)


def test_posterior_is_the_softmax_at_gamma_0_without_alpha() -> None:
    _, margins, _ = rows()
    e = np.exp(margins.astype(np.float64))
    assert_allclose(SoftmaxFocalLoss(4, 0).predict_proba(margins), e / e.sum(axis=1, keepdims=True), rtol=1e-12)
    assert SoftmaxFocalLoss(4, 0).predict_proba(margins.reshape(5, 100, 4)).shape == (5, 100, 4)


def test_sampling_rates_divide_the_posterior() -> None:
    _, margins, _ = rows()
    loss, kept = SoftmaxFocalLoss(4, 2.0), np.array([1.0, 0.1, 0.5, 1.0])
    expected = loss.predict_proba(margins) / kept
    assert_allclose(
        loss.predict_proba(margins, sampling_rates=kept), expected / expected.sum(axis=1, keepdims=True), rtol=1e-9
    )


def test_absent_class_has_no_finite_start() -> None:
    start = SoftmaxFocalLoss(3).optimal_margin([0, 0, 2])
    assert_array_equal(np.isinf(start), [False, True, False])
