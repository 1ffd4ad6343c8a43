"""The classifiers of both engines: drop-in use, true probabilities, metrics by name, errors. With the real engines."""

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve, zero_one_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_checks

from boostfocal import (
    AveragePrecision,
    FocalLGBMClassifier,
    FocalLoss,
    FocalXGBClassifier,
    PrecisionAtK,
    SoftmaxFocalLoss,
)

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

N_TRAIN = 1500
XGB, LGBM = FocalXGBClassifier, FocalLGBMClassifier
BOTH = pytest.mark.parametrize("kind", [XGB, LGBM])
XGBOOST_3_1_0 = tuple(map(int, xgb.__version__.split(".")[:3])) < (3, 1, 1)
needs_categories = pytest.mark.skipif(XGBOOST_3_1_0, reason="XGBoost 3.1.0 crashes when it predicts categories")


def make(kind: type, **parameters: Any) -> Any:
    quiet = {"verbosity": -1} if kind is LGBM else {}
    return kind(**{"n_estimators": 15, "max_depth": 3, "n_jobs": 1, **quiet, **parameters})


def fit(model: Any, X: Any, y: Any, *, eval_set: Any = None, metric: Any = None, **options: Any) -> Any:
    """The engines' scikit-learn classes want metrics in different places."""
    if isinstance(model, LGBM):
        return model.fit(X, y, eval_set=eval_set, eval_metric=metric, **options)
    return model.set_params(eval_metric=metric).fit(X, y, eval_set=eval_set, verbose=False, **options)


def history(model: Any, name: str) -> list[float]:
    if isinstance(model, XGB) and name == "average_precision":
        name = "precision_average"  # XGBoost maximizes names that begin with pre
    results = model.evals_result_ if isinstance(model, LGBM) else model.evals_result()
    return list(next(iter(results.values()))[name])


def rounds(model: Any) -> int:
    return int(
        model.booster_.current_iteration() if isinstance(model, LGBM) else model.get_booster().num_boosted_rounds()
    )


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Features, and a score of which the labels are made."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2500, 5))
    return X, X[:, 0] + 0.5 * X[:, 1] ** 2 + rng.normal(size=2500)


def labels(score: np.ndarray, n_classes: int) -> np.ndarray:
    return np.digitize(score, [2.2] if n_classes == 2 else [0.5, 2.2])


# --- probabilities ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "parameters",
    [
        *({"focal_alpha": alpha} for alpha in (0.03, 0.25, 0.5, 0.75, 0.97)),
        {"focal_alpha": None}, {"focal_alpha": "balanced"}, {"focal_alpha": {0: 1, 1: 30}}, {"focal_gamma": (2, 0.5)},
        {"scale_pos_weight": 1.5}, {"scale_pos_weight": 30}, {"focal_gamma": 3}, {"focal_hessian": "exact"},
    ],
    ids=str,
)  # fmt: skip
def test_mean_probability_is_the_true_rate_whatever_the_weights(
    kind: type, parameters: dict[str, Any], rows: Any
) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(kind, **parameters).fit(X[:N_TRAIN], y[:N_TRAIN])
    proba = model.predict_proba(X[N_TRAIN:])[:, 1]
    truth = y[N_TRAIN:]
    assert abs(proba.mean() - truth.mean()) < 3 * np.sqrt(truth.var() / truth.size)
    assert log_loss(truth, proba) < 0.9 * log_loss(truth, np.full(truth.size, y[:N_TRAIN].mean()))


@BOTH
@pytest.mark.parametrize("weights", [None, "balanced", [1, 3, 30], {0: 30, 1: 1, 2: 3}], ids=str)
def test_of_several_classes_too(kind: type, weights: Any, rows: Any) -> None:
    X, score = rows
    y = labels(score, 3)
    model = make(kind, focal_alpha=weights).fit(X[:N_TRAIN], y[:N_TRAIN])
    proba, truth = model.predict_proba(X[N_TRAIN:]), y[N_TRAIN:, np.newaxis] == range(3)
    assert isinstance(model.loss_, SoftmaxFocalLoss)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert (np.abs(proba.mean(axis=0) - truth.mean(axis=0)) < 3.5 * np.sqrt(truth.var(axis=0) / len(truth))).all()
    np.testing.assert_array_equal(model.predict(X), np.argmax(model.predict_proba(X), axis=1))


@pytest.mark.parametrize(
    "parameters", [{"class_weight": {0: 1, 1: 30}}, {"class_weight": "balanced"}, {"is_unbalance": True}], ids=str
)
def test_lightgbms_class_weights_leave_probabilities_true_and_are_the_costs_of_predict(
    parameters: Any, rows: Any
) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(LGBM, **parameters).fit(X[:N_TRAIN], y[:N_TRAIN])
    proba = model.predict_proba(X[N_TRAIN:])[:, 1]
    assert abs(proba.mean() - y[N_TRAIN:].mean()) < 3 * np.sqrt(y[N_TRAIN:].var() / proba.size)
    odds = model.loss_.alpha / (1 - model.loss_.alpha)
    np.testing.assert_array_equal(model.predict(X[N_TRAIN:]), proba * odds > 1 - proba)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_sampling_rates_give_the_probabilities_of_the_population(kind: type, n_classes: int, rows: Any) -> None:
    X, score = rows
    y = labels(score, n_classes)
    rng = np.random.default_rng(1)
    kept = (y > 0) | (rng.random(y.size) < 0.2)
    kept[N_TRAIN:] = False
    share: Any = 0.2 if n_classes == 2 else {0: 0.2}
    model = make(kind, sampling_rates=share).fit(X[kept], y[kept])
    truth = y[N_TRAIN:, np.newaxis] == range(n_classes)
    error = model.predict_proba(X[N_TRAIN:]).mean(axis=0) - truth.mean(axis=0)
    assert (np.abs(error) < 3.5 * np.sqrt(truth.var(axis=0) / len(truth))).all()
    assert (
        abs(make(kind).fit(X[kept], y[kept]).predict_proba(X[N_TRAIN:]).mean(axis=0)[0] - truth.mean(axis=0)[0]) > 0.1
    )


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_named_metrics_are_of_the_rows_as_they_were_sampled(kind: type, n_classes: int, rows: Any) -> None:
    """Of the sample's probabilities, whatever the metric; `predict_proba` has the population's."""
    X, score = rows
    y = labels(score, n_classes)
    kept = (y > 0) | (np.random.default_rng(1).random(y.size) < 0.1)
    X, y = X[kept], y[kept]
    metrics = ["binary_logloss", "binary_error"] if n_classes == 2 else ["multi_logloss", "multi_error", "auc"]
    if kind is XGB:
        metrics = ["logloss", "error"] if n_classes == 2 else ["mlogloss", "merror", "auc"]
    model = fit(make(kind, sampling_rates={0: 0.1}), X, y, eval_set=[(X, y)], metric=metrics)
    proba = model.loss_.predict_proba(model.decision_function(X))
    proba = np.stack([1 - proba, proba], axis=1) if n_classes == 2 else proba
    expected = [log_loss(y, proba), np.mean(np.argmax(proba, axis=1) != y)]
    if n_classes == 3:
        expected.append(np.average(roc_auc_score(y, proba, multi_class="ovr", average=None), weights=np.bincount(y)))
    assert [history(model, name)[-1] for name in metrics] == pytest.approx(expected, rel=1e-5)
    assert np.mean(model.predict(X) != y) > expected[1] + 0.02


@BOTH
def test_it_is_the_objective_of_the_package_with_its_start(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    weight = np.random.default_rng(2).uniform(0.5, 2, y.size)
    model = make(kind, focal_gamma=2.0, focal_alpha=None).fit(X, y, sample_weight=weight)
    loss = FocalLoss(2.0)
    start = loss.optimal_margin(y, weight)
    assert (model.loss_, model.start_) == (loss, start)
    if kind is XGB:
        parameters = {"max_depth": 3, "base_score": start, "disable_default_eval_metric": 1}
        booster = xgb.train(parameters, xgb.QuantileDMatrix(X, y, weight=weight), 15, obj=loss)
        expected = booster.predict(xgb.DMatrix(X))
    else:
        data = lgb.Dataset(X, y, weight=weight, init_score=np.full(y.size, start))
        booster = lgb.train({"max_depth": 3, "objective": loss, "verbosity": -1}, data, 15)
        expected = booster.predict(X) + start
    np.testing.assert_allclose(model.decision_function(X), expected, rtol=1e-6, atol=1e-6)
    expected = loss.predict_proba(model.decision_function(X))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expected, rtol=1e-12)


# --- labels, data, options ---------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "names",
    [["ok", "fraud"], [False, True], [-1, 1], [2.0, 7.0], ["a", "b", "c"], np.array(["b", "a"], object)],
    ids=str,
)
def test_labels_of_any_kind_come_back(kind: type, names: Any, rows: Any) -> None:
    X, score = rows
    y = np.asarray(names)[labels(score, len(names))]
    model = make(kind).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    found = model.predict(X)
    assert found.dtype == model.classes_.dtype
    assert (found == y).mean() > 0.65
    assert model.score(X, y) == (found == y).mean()


@BOTH
def test_labels_and_weights_in_pandas_own_types(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    reference = make(kind).fit(X, y, sample_weight=np.ones(y.size))
    for target in (
        pd.Series(y, dtype="Int64"), pd.Series(y == 1, dtype="boolean"), pd.Series(y.astype(object)),
        pd.Series(pd.Categorical(y)), y.astype(object), pd.Series(np.array(["n", "y"])[y], dtype="string"),
    ):  # fmt: skip
        model = make(kind).fit(X, target, sample_weight=pd.Series(np.ones(y.size), dtype=object))
        np.testing.assert_array_equal(model.predict_proba(X), reference.predict_proba(X))
        assert model.classes_.dtype.kind in "ibUO"
    for target in (
        pd.Series([1, None] * 50, dtype="Int64"),
        pd.Series(["a", None] * 50),
        np.array(["a", np.nan] * 50, object),
    ):
        with pytest.raises(ValueError, match=r"NaN|classes of one kind|Unknown label type"):
            make(kind).fit(X[:100], target)


@BOTH
@needs_categories
def test_pandas_with_names_categories_and_missing_values(kind: type, rows: Any) -> None:
    X, score = rows
    frame = pd.DataFrame(X.copy(), columns=["amount", "b", "c", "d", "e"])
    frame.loc[::7, "amount"] = np.nan
    frame["country"] = pd.Categorical(np.where(score > 1, "far", "near"))
    y = pd.Series(labels(score, 2), index=np.arange(score.size) + 17)
    model = make(kind, **({"enable_categorical": True} if kind is XGB else {})).fit(frame, y)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.n_features_in_ == 6
    assert (model.feature_importances_[[0, 1, 5]] > 0).all()
    with pytest.raises((ValueError, lgb.basic.LightGBMError), match=r"amount|feature"):
        model.predict_proba(frame.drop(columns="amount"))


@BOTH
def test_sparse_and_dense_agree(kind: type, rows: Any) -> None:
    X, score = rows
    thin = np.where(np.abs(X) < 1, np.nan if kind is XGB else 0.0, X)
    y = labels(score, 2)
    sparse = sp.csr_matrix(np.nan_to_num(thin))
    dense, other = make(kind).fit(thin, y), make(kind).fit(sparse, y)
    np.testing.assert_allclose(dense.predict_proba(thin), other.predict_proba(sparse), atol=2e-3)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_contributions_sum_to_the_margin(kind: type, n_classes: int, rows: Any) -> None:
    X, score = rows
    if kind is XGB and n_classes > 2 and XGBOOST_3_1_0:
        pytest.skip("XGBoost 3.1.0 adds the first class's start to the contributions of all")
    model = make(kind).fit(X, labels(score, n_classes))
    if kind is XGB:
        found = model.get_booster().predict(xgb.DMatrix(X), pred_contribs=True)
    else:
        found = np.reshape(model.predict(X, pred_contrib=True), (X.shape[0], -1, X.shape[1] + 1))
    np.testing.assert_allclose(np.squeeze(found.sum(axis=-1)), model.decision_function(X), atol=1e-5)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_start_by_row_is_used_in_training_validation_and_prediction(kind: type, n_classes: int, rows: Any) -> None:
    X, score = rows
    y = labels(score, n_classes)
    first = make(kind).fit(X[:, :2], y)
    start = first.decision_function(X[:, :2])
    name, its = ("base_margin", "base_margin_eval_set") if kind is XGB else ("init_score", "eval_init_score")
    model = fit(make(kind), X, y, eval_set=[(X, y)], metric="focal", **{name: start, its: [start]})
    margin = model.decision_function(X, **{name: start})
    assert history(model, "focal")[-1] == pytest.approx(model.loss_.mean(y, margin), rel=1e-5)
    assert history(model, "focal")[0] < first.loss_.mean(y, start)
    assert model.predict_proba(X, **{name: start}).shape == (y.size, n_classes)
    for call in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(ValueError, match=f"{name} must be given"):
            call(X)


@BOTH
def test_nothing_of_the_users_is_modified(kind: type, rows: Any) -> None:
    X, score = rows
    y, weight = np.array(["b", "a"])[labels(score, 2)], np.ones(score.size)
    copies = X.copy(), y.copy(), weight.copy()
    for array in (X, y, weight):
        array.flags.writeable = False
    try:
        model = make(kind, focal_alpha=0.25)
        before = model.get_params()
        model.fit(X, y, sample_weight=weight)
        assert str(model.get_params()) == str(before)
        for array, copy in zip((X, y, weight), copies, strict=True):
            np.testing.assert_array_equal(array, copy)
    finally:
        X.flags.writeable = True


# --- metrics and early stopping ------------------------------------------------------------------------

BINARY: dict[str, Any] = {
    "logloss": log_loss, "binary_logloss": log_loss, "posterior_logloss": log_loss,
    "brier": brier_score_loss, "error": lambda y, p: zero_one_loss(y, p > 0.5), "auc": roc_auc_score,
    "average_precision": average_precision_score,
}  # fmt: skip


@BOTH
def test_metrics_by_name_are_of_the_true_probabilities(kind: type, rows: Any) -> None:
    X, score = rows
    y = np.array(["ok", "xx"])[labels(score, 2)]
    held_out = X[N_TRAIN:], y[N_TRAIN:]
    asked = [*BINARY, "precision_at_100", "precision_0.5_recall", "recall_at_fpr_0.1", "auc_partial_0.2", "focal"]
    asked.append("error@0.2")
    model = fit(make(kind, focal_gamma=2.0), X[:N_TRAIN], y[:N_TRAIN], eval_set=[held_out], metric=asked)
    truth, proba = held_out[1] == "xx", model.predict_proba(held_out[0])[:, 1]
    for name, function in BINARY.items():
        assert history(model, name)[-1] == pytest.approx(function(truth, proba), rel=1e-5), name
    assert history(model, "error@0.2")[-1] == pytest.approx(np.mean((proba > 0.2) != truth), abs=1e-9)
    partial = roc_auc_score(truth, proba, max_fpr=0.2)
    assert history(model, "auc_partial_0.2")[-1] == pytest.approx(partial, rel=1e-5)
    false, found, _ = roc_curve(truth, proba)
    assert history(model, "auc_recall_at_fpr_0.1")[-1] == pytest.approx(found[false <= 0.1].max(), rel=1e-5)
    top = np.argsort(-proba)[:100]
    assert history(model, "precision_at_100")[-1] == pytest.approx(truth[top].mean(), abs=0.02)  # ties


@BOTH
def test_metrics_of_several_classes_by_name(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 3)
    held_out = X[N_TRAIN:], y[N_TRAIN:]
    weight = np.random.default_rng(3).uniform(0.5, 2, y.size)
    options = {"sample_weight_eval_set" if kind is XGB else "eval_sample_weight": [weight[N_TRAIN:]]}
    asked = ["multi_logloss", "merror", "auc", "auc_mu", "average_precision", "brier"]
    model = fit(make(kind, focal_gamma=2), X[:N_TRAIN], y[:N_TRAIN], eval_set=[held_out], metric=asked, **options)
    truth, proba, w = held_out[1], model.predict_proba(held_out[0]), weight[N_TRAIN:]
    assert history(model, "multi_logloss")[-1] == pytest.approx(log_loss(truth, proba, sample_weight=w), rel=1e-5)
    wrong = zero_one_loss(truth, proba.argmax(axis=1), sample_weight=w)
    assert history(model, "merror")[-1] == pytest.approx(wrong, rel=1e-5)
    areas = [roc_auc_score(truth == k, proba[:, k], sample_weight=w) for k in range(3)]
    shares = np.bincount(truth, w)
    assert history(model, "auc")[-1] == pytest.approx(np.average(areas, weights=shares), rel=1e-5)
    pairs = []
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = (truth == one) | (truth == other)
        odds = np.log(proba[both, one] / proba[both, other])
        pairs.append(roc_auc_score(truth[both] == one, odds, sample_weight=w[both]))
    assert history(model, "auc_mu")[-1] == pytest.approx(np.mean(pairs), rel=1e-5)
    found = [average_precision_score(truth == k, proba[:, k], sample_weight=w) for k in range(3)]
    assert history(model, "average_precision")[-1] == pytest.approx(np.mean(found), rel=1e-5)


@BOTH
@pytest.mark.parametrize(
    ("metric", "best"),
    [("logloss", "argmin"), ("auc", "argmax"), ("average_precision", "argmax"), (AveragePrecision(), "argmax"),
     (PrecisionAtK(50), "argmax"), ("error", "argmin"), (None, "argmin")],
    ids=str,
)  # fmt: skip
def test_early_stopping_goes_the_right_way(kind: type, metric: Any, best: str, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    stop: dict[str, Any] = {"early_stopping_rounds": 5}
    model = make(kind, n_estimators=200, learning_rate=0.5, **stop)
    fit(model, X[:N_TRAIN], y[:N_TRAIN], eval_set=[(X[N_TRAIN:], y[N_TRAIN:])], metric=metric)
    name = getattr(metric, "name", metric) or ("logloss" if kind is XGB else "binary_logloss")
    values = history(model, name)
    found = model.best_iteration if kind is XGB else model.best_iteration_ - 1
    assert found == getattr(np, best)(values)
    assert len(values) < 200
    held_out = model.predict_proba(X[N_TRAIN:])[:, 1]  # up to the best iteration
    if name in ("logloss", "binary_logloss"):
        assert log_loss(y[N_TRAIN:], held_out) == pytest.approx(values[found], rel=1e-5)


@BOTH
def test_of_several_metrics_xgboost_stops_by_the_last_and_lightgbm_by_any(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(kind, n_estimators=200, learning_rate=0.5, early_stopping_rounds=5)
    fit(model, X[:N_TRAIN], y[:N_TRAIN], eval_set=[(X[N_TRAIN:], y[N_TRAIN:])], metric=["logloss", "auc"])
    if kind is XGB:
        assert model.best_iteration == np.argmax(history(model, "auc"))
    else:
        assert model.best_iteration_ - 1 in (np.argmax(history(model, "auc")), np.argmin(history(model, "logloss")))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_users_own_metric_is_given_probabilities(n_classes: int, rows: Any) -> None:
    X, score = rows
    y = labels(score, n_classes)
    seen: dict[str, Any] = {}

    def mine(y_true: Any, y_pred: Any) -> float:
        seen["labels"], seen["proba"] = y_true, y_pred
        return 1.0

    model = fit(make(XGB), X, y, eval_set=[(X, y)], metric=mine)
    expected = model.predict_proba(X)
    np.testing.assert_allclose(seen["proba"], expected if n_classes == 3 else expected[:, 1], atol=1e-6)
    np.testing.assert_array_equal(seen["labels"], y)

    def with_weights(y_true: Any, y_pred: Any, weight: Any) -> list[tuple[str, float, bool]]:
        seen["proba"], seen["weight"] = y_pred, weight
        return [("one", 1.0, True), ("two", 2.0, False)]

    other = fit(make(LGBM), X, y, eval_set=[(X, y)], metric=[with_weights, "auc" if n_classes == 2 else "merror"])
    expected = other.predict_proba(X)
    np.testing.assert_allclose(seen["proba"], expected if n_classes == 3 else expected[:, 1], atol=1e-12)
    assert history(other, "two") == [2.0] * 15


def test_metrics_named_in_lightgbms_parameters(rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(LGBM, metric="auc,binary_logloss").fit(X, y, eval_set=[(X, y)])
    proba = model.predict_proba(X)[:, 1]
    assert history(model, "binary_logloss")[-1] == pytest.approx(log_loss(y, proba))
    assert history(model, "auc")[-1] == pytest.approx(roc_auc_score(y, proba))
    assert make(LGBM, metric="None").fit(X, y, eval_set=[(X, y)]).evals_result_ == {}


@BOTH
def test_values_are_exact_and_in_the_order_asked_for(kind: type, rows: Any) -> None:
    X, score = rows
    y = (score > 4.2).astype(int)  # few positives: the Brier score moves by millionths
    model = make(kind, n_estimators=40, learning_rate=0.02)
    fit(model, X, y, eval_set=[(X, y)], metric=["brier", "auc", "logloss"])
    values = history(model, "brier")
    assert len(set(values)) > 30
    assert values[-1] == pytest.approx(brier_score_loss(y, model.predict_proba(X)[:, 1]), rel=1e-7)
    results = model.evals_result_ if kind is LGBM else model.evals_result()
    assert list(next(iter(results.values()))) == ["brier", "auc", "logloss"]


def test_an_early_stopping_of_the_users_own_watches_the_last_metric_and_the_right_way(rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    for metric in ("auc", "average_precision", "logloss"):
        stop = xgb.callback.EarlyStopping(rounds=5)
        asked = [name for name in ("logloss", "auc") if name != metric] + [metric]
        model = make(XGB, n_estimators=200, learning_rate=0.5, callbacks=[stop], eval_metric=asked)
        model.fit(X[:N_TRAIN], y[:N_TRAIN], eval_set=[(X[N_TRAIN:], y[N_TRAIN:])], verbose=False)
        best = np.argmin if metric == "logloss" else np.argmax
        assert model.best_iteration == best(history(model, metric))


def test_lightgbms_first_metric_only_is_the_first(rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(LGBM, n_estimators=200, learning_rate=0.5, early_stopping_round=5, first_metric_only=True)
    fit(model, X[:N_TRAIN], y[:N_TRAIN], eval_set=[(X[N_TRAIN:], y[N_TRAIN:])], metric=["binary_logloss", "auc"])
    assert model.best_iteration_ - 1 == np.argmin(history(model, "binary_logloss"))
    with pytest.raises(ValueError, match="multi_error_top_k must be left out"):
        make(LGBM, multi_error_top_k=2).fit(X, y)
    with pytest.raises(TypeError, match=r"eval_metric must take .* got 'log_loss' with \d parameters"):
        make(LGBM).fit(X, y, eval_set=[(X, y)], eval_metric=log_loss)


# --- with scikit-learn ---------------------------------------------------------------------------------

EXPECTED_FAILURES = {
    XGB: {
        # its splits are between quantiles, which count rows and not their weights
        "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data",
    },
    LGBM: {
        "check_no_attributes_set_in_init",  # parameters in **kwargs are attributes
        "check_classifiers_classes",  # LightGBM's 20 rows a leaf are too many for the data of older scikit-learns
        # min_data_in_leaf counts rows and not their weights
        "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data",
    },
}  # fmt: skip
"""The parents fail these, too, and others that ours pass."""


def failed_checks(estimator: Any) -> set[str]:
    if hasattr(estimator_checks, "estimator_checks_generator"):
        results = estimator_checks.check_estimator(estimator, on_fail=None, on_skip=None)
        return {result["check_name"] for result in results if result["status"] in ("failed", "xfail")}
    failed = set()
    for one, check in estimator_checks.check_estimator(estimator, generate_only=True):
        try:
            check(one)
        except Exception as error:
            if "Skip" not in type(error).__name__:
                failed.add(check.func.__name__)
    return failed


@BOTH
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"focal_gamma": 2.0, "focal_alpha": "balanced"}], ids=["default", "balanced"])
def test_scikit_learns_checks_pass_but_for_those_that_the_parents_fail(kind: type, options: Any) -> None:
    ours = failed_checks(make(kind, n_estimators=5, **options))
    if options:  # both of them weigh the classes: one alone may be given
        ours -= {"check_class_weight_classifiers"}
    assert ours <= EXPECTED_FAILURES[kind]
    if ours:
        quiet = {"verbosity": -1} if kind is LGBM else {}
        assert ours <= failed_checks(kind.__bases__[1](n_estimators=20, n_jobs=1, **quiet))


@BOTH
def test_clone_parameters_and_repr(kind: type) -> None:
    model = make(kind, focal_gamma=(1, 2), focal_alpha="balanced", sampling_rates={0: 0.5}, reg_lambda=3.0)
    assert clone(model).get_params() == model.get_params() or str(clone(model).get_params()) == str(model.get_params())
    assert {"focal_gamma", "focal_alpha", "focal_hessian", "focal_max_step", "sampling_rates"} <= set(
        model.get_params()
    )
    assert model.set_params(focal_gamma=0.0, max_depth=2).focal_gamma == 0.0
    assert "focal_alpha='balanced'" in repr(model)
    parent = kind.__bases__[1]
    assert set(parent().get_params()) <= set(kind().get_params())
    assert kind(**parent(n_estimators=3).get_params()).get_params()["n_estimators"] == 3


@BOTH
def test_an_array_of_two_gammas_is_the_pair(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    pair = make(kind, focal_gamma=(1.0, 2.0)).fit(X, y)
    array = make(kind, focal_gamma=np.array([1.0, 2.0])).fit(X, y)
    assert array.loss_ == pair.loss_
    with pytest.raises(ValueError, match=r"gamma must be .* got \(1\.0, 2\.0, 3\.0\)"):
        make(kind, focal_gamma=np.array([1.0, 2.0, 3.0])).fit(X, y)


@BOTH
def test_what_is_set_after_fit_is_of_the_next_fit(kind: type, rows: Any, tmp_path: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(kind, focal_alpha=0.3, sampling_rates=0.5).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(focal_alpha=[1, 2, 3], sampling_rates=[0.1, 0.2, 0.3])
    model.refit_leaves(X, y, decay=1.0)
    np.testing.assert_allclose(model.predict_proba(X), before, rtol=1e-6)
    model.save_model(tmp_path / "model.txt")
    loaded = kind().load_model(tmp_path / "model.txt")
    assert (loaded.focal_alpha, loaded.sampling_rates) == (0.3, 0.5)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    model.recalibrate(X, y)
    assert model.fit(X, labels(score, 3)).predict_proba(X).shape == (len(X), 3)


@BOTH
def test_pipeline_search_cross_validation_calibration_and_pickle(kind: type, rows: Any) -> None:
    X, score = rows
    frame = pd.DataFrame(X, columns=list("abcde")).assign(kind=np.where(score > 0, "u", "v"))
    y = np.array(["ok", "zfraud"])[labels(score, 2)]
    columns = ColumnTransformer([("n", StandardScaler(), list("abcde")), ("c", OneHotEncoder(), ["kind"])])
    pipeline = Pipeline([("columns", columns), ("model", make(kind))])
    search = GridSearchCV(pipeline, {"model__focal_gamma": [0, 2], "model__focal_alpha": [0.25, "balanced"]}, cv=2,
                          scoring="neg_log_loss").fit(frame, y)  # fmt: skip
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    proba = cross_val_predict(pipeline, frame, y, cv=2, method="predict_proba")[:, 1]
    assert proba.mean() == pytest.approx((y == "zfraud").mean(), abs=0.02)
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(frame, y)
    assert calibrated.predict_proba(frame).shape == (y.size, 2)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(frame), search.best_estimator_.predict_proba(frame))


@BOTH
def test_threshold_tuned_for_costs(kind: type, rows: Any) -> None:
    if not hasattr(sklearn.model_selection, "TunedThresholdClassifierCV"):
        pytest.skip("scikit-learn has TunedThresholdClassifierCV from 1.5 on")
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import TunedThresholdClassifierCV

    X, score = rows
    y = labels(score, 2)
    cost = make_scorer(lambda y, p: -np.mean(np.where(y == 1, 9 * (p == 0), p == 1)))
    tuned = TunedThresholdClassifierCV(make(kind, focal_alpha=0.75), scoring=cost, cv=3).fit(X, y)
    assert tuned.best_threshold_ == pytest.approx(0.1, abs=0.06)  # 1 / (1 + 9), as the probabilities are true


@BOTH
def test_optunas_pruning_callback_sees_the_metric(kind: type, rows: Any) -> None:
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")
    X, score = rows
    y = labels(score, 2)

    def objective(trial: Any) -> float:
        if kind is XGB:
            callback = integration.XGBoostPruningCallback(trial, "validation_0-logloss")
            model = make(kind, callbacks=[callback], eval_metric="logloss").fit(X, y, eval_set=[(X, y)], verbose=False)
        else:
            callback = integration.LightGBMPruningCallback(trial, "binary_logloss")
            model = make(kind).fit(X[:N_TRAIN], y[:N_TRAIN], eval_set=[(X, y)], callbacks=[callback])
        return float(log_loss(y, model.predict_proba(X)))

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    reported = study.trials[0].intermediate_values
    assert len(reported) == 15
    assert reported[max(reported)] == pytest.approx(study.best_value, rel=1e-5)


# --- continuing, recent labels ---------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("alpha", [0.5, "balanced"])
def test_a_fit_that_is_continued_has_the_start_once(
    kind: type, n_classes: int, alpha: Any, rows: Any, tmp_path: Any
) -> None:
    X, score = rows
    y = labels(score, n_classes)
    options = {"focal_alpha": alpha, **({"colsample_bytree": 1.0} if kind is XGB else {"boost_from_average": False})}
    whole = make(kind, n_estimators=20, **options).fit(X, y)
    first = make(kind, n_estimators=10, **options).fit(X, y)
    file = tmp_path / ("m.ubj" if kind is XGB else "m.txt")
    first.save_model(file)
    name = "xgb_model" if kind is XGB else "init_model"
    for previous in (first, file, str(file), *([first.get_booster()] if kind is XGB else [])):
        more = make(kind, n_estimators=10, **options).fit(X, y, **{name: previous})
        assert rounds(more) == 20
        np.testing.assert_allclose(more.decision_function(X), whole.decision_function(X), atol=2e-5)
    with pytest.raises(ValueError, match="was trained with"):
        make(kind, focal_gamma=3.0).fit(X, y, **{name: first})
    with pytest.raises(ValueError, match="y must be labels of the classes"):
        make(kind, **options).fit(X, y + 1, **{name: first})
    with pytest.raises(ValueError, match=f"{name} must be"):
        make(kind, **options).fit(X, y, **{name: 3})


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_recent_labels_recalibrate_and_refit(kind: type, n_classes: int, rows: Any) -> None:
    X, score = rows
    y, recent = labels(score, n_classes), labels(score - 0.7, n_classes)
    old, new, held_out = slice(0, 1000), slice(1000, 1750), slice(1750, 2500)
    model = make(kind).fit(X[old], y[old])
    margins = model.decision_function(X)
    before = log_loss(recent[held_out], model.predict_proba(X[held_out]))
    assert model.refit_leaves(X[old], y[old], decay=0.0) is model
    np.testing.assert_allclose(model.decision_function(X), margins, atol=1e-5)  # the same rows: the same leaves
    model.recalibrate(X[new], recent[new])
    np.testing.assert_allclose(model.predict_proba(X[new]).mean(axis=0), np.bincount(recent[new]) / 750, atol=1e-6)
    np.testing.assert_allclose(model.decision_function(X), margins, atol=1e-5)
    shifted = log_loss(recent[held_out], model.predict_proba(X[held_out]))
    assert shifted < before
    model.refit_leaves(X[new], recent[new], decay=0.5)
    assert rounds(model) == 15
    assert log_loss(recent[held_out], model.predict_proba(X[held_out])) < before


@BOTH
@pytest.mark.parametrize("alpha", [0.9, "balanced", {0: 1, 1: 30}], ids=str)
def test_refitted_leaves_of_weighted_classes_have_the_rate_of_the_new_labels(kind: type, alpha: Any, rows: Any) -> None:
    X, score = rows
    model = make(kind, focal_alpha=alpha).fit(X[:1000], labels(score, 2)[:1000])
    recent = labels(score - 0.7, 2)
    model.refit_leaves(X[1000:], recent[1000:], decay=0.0)
    assert model.predict_proba(X[1000:])[:, 1].mean() == pytest.approx(recent[1000:].mean(), rel=1e-5)


@BOTH
def test_a_fit_that_fails_leaves_the_model_as_it_was(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    model = make(kind, focal_gamma=2.0).fit(X, y)
    before = model.predict_proba(X)
    for rows_, target, options in ((X[:100], y, {}), (X, np.array(["a", "b"])[y], {"sample_weight": -np.ones(y.size)})):
        with pytest.raises(ValueError, match=r"X must have a row for each label|sample_weight must be"):
            model.set_params(focal_gamma=0.0).fit(rows_, target, **options)
        np.testing.assert_array_equal(model.predict_proba(X), before)
        assert model.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match="X must have a row for each label"):
        model.refit_leaves(X[:100], y)
    with pytest.raises(ValueError, match=r"eval_set\[0\]\[0\] must have a row for each label"):
        fit(model, X, y, eval_set=[(X[:100], y)])
    fresh = make(kind)
    with pytest.raises(ValueError, match="X must have a row"):
        fresh.fit(X[:100], y)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        fresh.predict(X)


@BOTH
def test_trees_without_a_split_are_warned_of(kind: type, rows: Any) -> None:
    X, score = rows
    with pytest.warns(UserWarning, match=r"no tree of this Focal.* has a split"):
        model = make(kind, min_child_weight=1e6).fit(X, labels(score, 2))
    np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), np.bincount(labels(score, 2)) / 2500, rtol=1e-6)


@BOTH
def test_class_weights_meet_the_penalties_as_in_the_parent(kind: type, rows: Any) -> None:
    X, score = rows
    y = labels(score, 2)
    common: dict[str, Any] = {"focal_gamma": 0.0, "focal_hessian": "exact", "min_child_weight": 20.0}
    if kind is XGB:
        common["tree_method"] = "exact"  # quantiles depend on weights
    model = make(kind, scale_pos_weight=7.0, **common).fit(X, y)
    weighted = make(kind, focal_alpha=None, **common)
    weighted.fit(X, y, sample_weight=np.where(y == 1, 7.0, 1.0))
    difference = model.decision_function(X) - weighted.decision_function(X)
    np.testing.assert_allclose(difference, difference[0], atol=1e-5)  # the same trees, levelled


# --- boosters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_booster_of_xgboost(booster: str, n_classes: int, rows: Any) -> None:
    X, score = rows
    y = labels(score, n_classes)
    model = make(XGB, booster=booster).fit(X, y)
    plain = model.get_booster().predict(xgb.DMatrix(X), output_margin=True)
    np.testing.assert_allclose(model.decision_function(X), plain, rtol=1e-6, atol=1e-6)
    assert model.predict_proba(X).mean(axis=0)[0] == pytest.approx((y == 0).mean(), abs=0.02)


@pytest.mark.parametrize(
    "options", [{"boosting_type": "dart"}, {"linear_tree": True}, {"data_sample_strategy": "goss"}], ids=str
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_boosters_of_lightgbm(options: Any, n_classes: int, rows: Any) -> None:
    X, score = rows
    y = labels(score, n_classes)
    model = make(LGBM, **options).fit(X, y)
    inside = 0.0 if "linear_tree" not in options else model.start_
    np.testing.assert_allclose(
        model.decision_function(X), model.booster_.predict(X, raw_score=True) + inside, rtol=1e-12
    )
    assert model.predict_proba(X).mean(axis=0)[0] == pytest.approx((y == 0).mean(), abs=0.03)


def test_lightgbm_without_a_split_predicts_the_rate(rows: Any) -> None:
    X, score = rows
    for n_classes in (2, 3):
        y = labels(score, n_classes)
        for options in ({"min_child_samples": 5000}, {"min_split_gain": 1e9}):
            model = make(LGBM, **options).fit(X, y)
            expected = np.tile(np.bincount(y) / y.size, (y.size, 1))
            np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-9)


# --- errors --------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"focal_gamma": -1}, "gamma must be"),
        ({"focal_alpha": 1.5}, "focal_alpha must be"),
        ({"focal_alpha": "other"}, "focal_alpha must be"),
        ({"focal_alpha": [1, 2, 3]}, "focal_alpha must be one positive number for each of [0, 1]"),
        ({"focal_alpha": {0: 1}}, "focal_alpha must have the classes [0, 1] as keys"),
        ({"focal_hessian": "none"}, "hessian must be"),
        ({"sampling_rates": {2: 0.5}}, "sampling_rates must have the classes"),
        ({"sampling_rates": -0.5}, "sampling_rates must be one positive number"),
        ({"objective": "reg:squarederror"}, "objective must be left out"),
        ({"scale_pos_weight": 3, "focal_alpha": 0.25}, "only one of focal_alpha, scale_pos_weight"),
    ],
    ids=str,
)
def test_parameters_that_cannot_be_are_refused(kind: type, parameters: Any, message: str, rows: Any) -> None:
    X, score = rows
    with pytest.raises(ValueError, match=re.escape(message)):
        make(kind, **parameters).fit(X, labels(score, 2))


@BOTH
@pytest.mark.parametrize(
    "parameters",
    [{"focal_alpha": 0.25}, {"scale_pos_weight": 3}, {"sampling_rates": 0.1}, {"focal_gamma": (1, 2)}],
    ids=str,
)
def test_what_is_of_two_classes_is_refused_for_more(kind: type, parameters: Any, rows: Any) -> None:
    X, score = rows
    with pytest.raises(
        (ValueError, TypeError),
        match=r"focal_alpha must be|left out for 3 classes|sampling_rates must be|gamma must be",
    ):
        make(kind, **parameters).fit(X, labels(score, 3))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"base_score": 0.5}, "base_score must be left out"),
        ({"multi_strategy": "multi_output_tree"}, "multi_strategy must be"),
        (
            {"class_weight": "balanced"},
            "class_weight is not a parameter of XGBoost, give it as focal_alpha, got 'balanced'",
        ),
    ],
)
def test_what_xgboost_cannot_combine_is_refused(parameters: Any, message: str, rows: Any) -> None:
    with pytest.raises(ValueError, match=message):
        make(XGB, **parameters).fit(rows[0], labels(rows[1], 2))


def test_what_lightgbm_cannot_combine_is_refused(rows: Any) -> None:
    X, y = rows[0], labels(rows[1], 2)
    for alias in ("boosting_type", "boosting"):
        with pytest.raises(ValueError, match="random forests refuse"):
            make(LGBM, **{alias: "rf"}, subsample=0.5, subsample_freq=1).fit(X, y)
    with pytest.raises(ValueError, match="eval_class_weight must be left out"):
        make(LGBM).fit(X, y, eval_class_weight=[1])
    with pytest.raises(ValueError, match="eval_init_score must be given"):
        make(LGBM).fit(X, y, init_score=np.zeros(y.size), eval_set=[(X, y)])
    linear = make(LGBM, linear_tree=True).fit(X, y)
    with pytest.raises(ValueError, match="linear trees"):
        make(LGBM).fit(X, y, init_model=linear)
    with pytest.raises(ValueError, match="linear_tree off"):
        linear.refit_leaves(X, y)


@BOTH
def test_data_that_cannot_be_are_refused(kind: type, rows: Any) -> None:
    X, y = rows[0], labels(rows[1], 2)
    model = make(kind)
    for call in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(sklearn.exceptions.NotFittedError, match="not fitted yet"):
            call(X)
    for call in (model.recalibrate, model.refit_leaves):
        with pytest.raises(sklearn.exceptions.NotFittedError, match="not fitted yet"):
            call(X, y)
    with pytest.raises(AttributeError, match="no classes before fit"):
        _ = model.classes_
    for target, message in (
        (np.zeros(y.size), "two classes or more, got one class"), (None, "requires y"), (y[:5] * np.nan, "NaN"),
        (rows[1], "Unknown label type"), ([], "at least one row"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make(kind).fit(X, target)
    with pytest.raises(ValueError, match=r"eval_set\[1\] must be labels of the classes \[0, 1\], got 2"):
        fit(make(kind), X, y, eval_set=[(X, y), (X, y + 1)])
    with pytest.raises(ValueError, match="sample_weight must be above 0 for a row of every class"):
        make(kind).fit(X, y, sample_weight=1 - y)
    for name in ("loglos", "ndcg_x", "auc_mu", "precision_average_macro"):
        with pytest.raises(ValueError, match=f"eval_metric must be a callable or a name .* got '{name}'; known are"):
            fit(make(kind), X, y, eval_set=[(X, y)], metric=name)
    fitted = make(kind).fit(X, y)
    with pytest.raises((ValueError, lgb.basic.LightGBMError), match=r"[Ff]eature"):
        fitted.predict_proba(X[:, :3])
    with pytest.raises(ValueError, match="y must be labels of the classes"):
        fitted.recalibrate(X, y + 3)
    with pytest.raises(ValueError, match="rows of every class"):
        fitted.recalibrate(X, np.zeros(y.size))
    with pytest.raises(ValueError, match="worse than chance"):
        fitted.recalibrate(X, 1 - y)
    with pytest.raises(ValueError, match="without error"):
        fitted.recalibrate(X, fitted.predict_proba(X)[:, 1] > 0.3)
    with pytest.raises(ValueError, match=r"decay must be a number in \[0, 1\]"):
        fitted.refit_leaves(X, y, decay=2)


def test_parameters_are_those_that_lightgbm_finds() -> None:
    class Own(FocalLGBMClassifier):
        def __init__(self, extra: int = 3, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.extra = extra

    for kind in (FocalLGBMClassifier, Own):
        for model in (kind(), kind(n_estimators=5, lambda_l1=3), kind().set_params(num_leaves=7, max_bin=9)):
            assert list(model.get_params().items()) == list(lgb.LGBMModel.get_params(model).items())
