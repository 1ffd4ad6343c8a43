"""FocalLoss of multilabel rows: each column as a loss of its own, alone and inside XGBoost."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from boostfocal import Brier, FocalLoss, LogLoss, MacroAveragePrecision
from boostfocal.metrics import Metric

N, L = 700, 3
GAMMA, ALPHA = np.array([2.0, 0.3, 0.7]), np.array([0.25, 0.9, 0.5])

ONE_FOR_ALL = FocalLoss(2.0, 0.25)
BY_LABEL = FocalLoss(GAMMA, ALPHA)
PAIRS = FocalLoss([(0.0, 2.0), (4.1, 0.5), (1.0, 1.3)], 0.3)
LOSSES = [ONE_FOR_ALL, BY_LABEL, PAIRS, FocalLoss(1.0, ALPHA, "exact")]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def rows(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=(n, L)) < [0.1, 0.3, 0.6]).astype(np.float32)
    return labels, rng.normal(scale=3, size=(n, L)).astype(np.float32), rng.exponential(size=n).astype(np.float32)


def column(loss: FocalLoss, k: int) -> FocalLoss:
    """The loss of one label."""
    gamma = loss.gamma[k] if isinstance(loss.gamma, tuple) and isinstance(loss.gamma[0], tuple) else loss.gamma
    alpha = loss.alpha[k] if isinstance(loss.alpha, tuple) else loss.alpha
    return FocalLoss(gamma, alpha, loss.hessian, loss.max_step)


@every_loss
@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_column_is_a_loss_of_its_own(loss: FocalLoss, order: str, dtype: Any, weighted: bool) -> None:
    labels, margins, weights = rows()
    weight = weights if weighted else None
    shaped = [
        np.repeat(array, 2, axis=1)[:, ::2] if order == "strided" else np.array(array, order=order)  # type: ignore[call-overload]
        for array in (labels.astype(dtype), margins.astype(dtype))
    ]
    gradient, hessian = loss.gradient_hessian(*shaped, weight)
    assert gradient.dtype == hessian.dtype == np.float32
    assert gradient.flags.f_contiguous == hessian.flags.f_contiguous == (order == "F")
    value, proba = loss.value(*shaped), loss.predict_proba(shaped[1])
    for k in range(L):
        single = column(loss, k)
        expected = single.gradient_hessian(labels[:, k], margins[:, k], weight)
        assert_allclose(gradient[:, k], expected[0], rtol=1e-6)
        assert_allclose(hessian[:, k], expected[1], rtol=1e-6)
        assert_allclose(value[:, k], single.value(labels[:, k], margins[:, k]), rtol=1e-12)
        assert_allclose(proba[:, k], single.predict_proba(margins[:, k]), rtol=1e-12)
    means = [column(loss, k).mean(labels[:, k], margins[:, k], weight) for k in range(L)]
    assert loss.mean(*shaped, weight) == pytest.approx(np.mean(means), rel=1e-6)


def test_several_threads_and_buffers_change_nothing(n_threads: int) -> None:
    labels, margins, weights = rows(150_001)
    for weight in (None, weights):
        whole = BY_LABEL.gradient_hessian(labels, margins, weight)
        copied = BY_LABEL.gradient_hessian(labels.astype(np.int64), np.asfortranarray(margins), weight)
        for k in range(L):
            one = column(BY_LABEL, k).gradient_hessian(labels[:, k], margins[:, k], weight)
            for left, right, single in zip(whole, copied, one, strict=True):
                assert_allclose(left[:, k], single, rtol=1e-6)
                assert_allclose(right[:, k], single, rtol=1e-6)


@every_loss
def test_starts_and_posteriors_are_those_of_the_columns(loss: FocalLoss) -> None:
    labels, _, weights = rows()
    for weight in (None, weights):
        start = loss.optimal_margin(labels, weight)
        assert isinstance(start, np.ndarray)
        assert start.shape == (L,)
        expected = [column(loss, k).optimal_margin(labels[:, k], weight) for k in range(L)]
        assert_allclose(start, expected, rtol=1e-12)
        assert_allclose(
            loss.predict_proba(start), np.average(labels.astype(np.float64), axis=0, weights=weight), rtol=1e-6
        )
    proba = np.random.default_rng(1).uniform(size=(20, L))
    assert_allclose(loss.predict_proba(loss.margin(proba)), proba, rtol=1e-9)


@pytest.mark.parametrize("beta", [None, 0.99])
def test_balanced_balances_each_label(beta: float | None) -> None:
    labels, _, weights = rows()
    for weight in (None, weights):
        loss = FocalLoss.balanced(labels, GAMMA, beta=beta, sample_weight=weight)
        singles = [FocalLoss.balanced(labels[:, k], beta=beta, sample_weight=weight).alpha for k in range(L)]
        assert loss.alpha == pytest.approx(tuple(singles), rel=1e-12)
        assert loss.gamma == ((2.0, 2.0), (0.3, 0.3), (0.7, 0.7))
    labels[:, 1] = 1
    with pytest.raises(ValueError, match=r"^y must have rows of both classes .* got 0 of 0 and 700 of 1 in column 1"):
        FocalLoss.balanced(labels)


@every_loss
def test_parameters_by_label_are_values(loss: FocalLoss) -> None:
    for duplicate in (eval(repr(loss)), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert duplicate == loss
        assert hash(duplicate) == hash(loss)
        labels, margins, _ = rows()
        for left, right in zip(
            duplicate.gradient_hessian(labels, margins), loss.gradient_hessian(labels, margins), strict=True
        ):
            assert_array_equal(left, right)


def test_a_pair_stays_a_pair() -> None:
    assert FocalLoss((1.0, 2.0)).gamma == (1.0, 2.0)
    assert FocalLoss(np.array([1.0, 2.0])).gamma == ((1.0, 1.0), (2.0, 2.0))
    assert FocalLoss(np.array([[1.0, 2.0]])).gamma == ((1.0, 2.0),)


def test_another_number_of_columns_is_refused() -> None:
    labels, margins, _ = rows()
    for call in (BY_LABEL.gradient_hessian, BY_LABEL.value, BY_LABEL.mean, BY_LABEL.log_loss):
        with pytest.raises(ValueError, match=r"^y must have 3 columns as the loss has, got shape \(700, 2\)"):
            call(labels[:, :2], margins[:, :2])
        with pytest.raises(ValueError, match=r"^y must have 3 columns as the loss has, got shape \(700,\)"):
            call(labels[:, 0], margins[:, 0])
    with pytest.raises(ValueError, match=r"^margin must have 3 columns"):
        BY_LABEL.predict_proba(margins[:, :2])
    with pytest.raises(ValueError, match=r"^proba must have 3 columns"):
        BY_LABEL.margin([0.1, 0.2])
    with pytest.raises(
        ValueError, match=r"^alpha must have one value for each label as gamma has, 3, got \(0.1, 0.2\)"
    ):
        FocalLoss(GAMMA, [0.1, 0.2])


# --- metrics ---------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_means_over_the_labels(loss: FocalLoss, weighted: bool) -> None:
    from sklearn.metrics import average_precision_score

    labels, margins, weights = rows()
    weight = weights if weighted else None
    for make in (LogLoss, Brier):
        expected = [make(column(loss, k)).score(labels[:, k], margins[:, k], weight) for k in range(L)]
        assert make(loss).score(labels, margins, weight) == pytest.approx(np.mean(expected), rel=1e-9)
    precisions = [average_precision_score(labels[:, k], margins[:, k], sample_weight=weight) for k in range(L)]
    assert MacroAveragePrecision(loss).score(labels, margins, weight) == pytest.approx(np.mean(precisions))


# --- in XGBoost ------------------------------------------------------------------------------------

XGB = {"max_depth": 3, "learning_rate": 0.3, "nthread": 1}


def data(n: int = 1500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 5))
    score = features[:, :L] + 0.5 * rng.normal(size=(n, L))
    return features, (score > [1.5, 0.5, -0.3]).astype(np.float32), rng.exponential(size=n)


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("by_class", [False, True])
def test_xgboost_one_tree_an_output_gives_the_models_of_the_columns(
    loss: FocalLoss, weighted: bool, by_class: bool
) -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels, weights = data()
    weight = weights if weighted else None
    start = loss.optimal_margin(labels, weight)
    assert isinstance(start, np.ndarray)
    if by_class:
        model = xgb.XGBRegressor(objective=loss, n_estimators=10, base_score=start.tolist(), **XGB)
        margins = model.fit(features, labels, sample_weight=weight).predict(features, output_margin=True)
    else:
        rows = xgb.DMatrix(features, labels, weight=weight)
        margins = xgb.train({**XGB, "base_score": start.tolist()}, rows, 10, obj=loss).predict(rows, output_margin=True)
    for k in range(L):
        rows = xgb.DMatrix(features, labels[:, k], weight=weight)
        single = xgb.train({**XGB, "base_score": float(start[k])}, rows, 10, obj=column(loss, k))
        assert_allclose(margins[:, k], single.predict(rows, output_margin=True), atol=1e-5)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
@every_loss
def test_xgboost_learns_every_label_under_both_strategies(loss: FocalLoss, strategy: str) -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels, _ = data()
    train, valid = xgb.DMatrix(features[:1000], labels[:1000]), xgb.DMatrix(features[1000:], labels[1000:])
    metrics: list[Metric] = [loss.metric, LogLoss(loss), MacroAveragePrecision(loss)]
    start = loss.optimal_margin(labels[:1000])
    for metric in metrics:
        history: dict[str, Any] = {}
        booster = xgb.train(
            {**XGB, "multi_strategy": strategy, "base_score": start.tolist(), "disable_default_eval_metric": 1},  # type: ignore[union-attr]
            train, 20, obj=loss, custom_metric=metric, evals=[(valid, "valid")], evals_result=history,
            verbose_eval=False,
        )  # fmt: skip
        margins = booster.predict(valid, output_margin=True)
        # XGBoost reports float32 text
        assert history["valid"][metric.name][-1] == pytest.approx(metric.score(labels[1000:], margins), abs=1e-5)
    assert MacroAveragePrecision(loss).score(labels[1000:], margins) > 0.7
    assert_allclose(loss.predict_proba(margins).mean(axis=0), labels[1000:].mean(axis=0), atol=0.05)


def test_soft_labels_of_several_columns_are_learned() -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels, _ = data()
    loss, smooth = FocalLoss(1.0), 0.8 * labels + 0.1
    rows = xgb.DMatrix(features, smooth)
    start = loss.optimal_margin(smooth)
    assert isinstance(start, np.ndarray)
    booster = xgb.train({**XGB, "base_score": start.tolist()}, rows, 30, obj=loss)
    proba = loss.predict_proba(booster.predict(rows, output_margin=True))
    assert_allclose(proba.mean(axis=0), smooth.mean(axis=0), atol=0.02)
