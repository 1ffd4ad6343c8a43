"""The loss and the metrics inside XGBoost and LightGBM, in each of their calling conventions."""

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

import boostfocal
from boostfocal import (
    AveragePrecision,
    Brier,
    CardPrecision,
    ExpectedSavings,
    FocalLoss,
    LogLoss,
    PartialAUC,
    PrecisionAtK,
    RecallAtFalsePositiveRate,
    RecallAtPrecision,
    cost_matrix,
    engines,
)
from boostfocal.metrics import Metric, by_name

LOSS = FocalLoss(2.0, 0.25)
ROUNDS = 15

# Leaves of several rows: among the splits of a tiny node many gain the same, and rounding would choose.
XGB = {"max_depth": 4, "learning_rate": 0.3, "min_child_weight": 0.5, "nthread": 1, "seed": 0}
LGB = {"num_leaves": 15, "learning_rate": 0.3, "min_data_in_leaf": 20, "num_threads": 1, "seed": 0, "verbose": -1}

Model = Callable[[np.ndarray], np.ndarray]
"""What gives the margins of rows of features."""


def data(n: int = 1500, positives: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which three matter, and labels that they do not determine."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 6))
    score = features[:, 0] + 0.7 * features[:, 1] * features[:, 2] + rng.normal(scale=0.7, size=n)
    return features, (score > np.quantile(score, 1 - positives)).astype(np.int64)


def weights(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=n)


# --- the four ways to train ------------------------------------------------------------------------


def xgboost_native(
    loss: FocalLoss,
    features: np.ndarray,
    labels: np.ndarray,
    weight: Any = None,
    start: float = 0.0,
    rounds: int = ROUNDS,
) -> Model:
    xgb = pytest.importorskip("xgboost")
    rows = xgb.DMatrix(features, labels, weight=weight)
    booster = xgb.train({**XGB, "base_score": start}, rows, rounds, obj=loss)
    return lambda x: booster.predict(xgb.DMatrix(x), output_margin=True)


def xgboost_class(
    loss: FocalLoss,
    features: np.ndarray,
    labels: np.ndarray,
    weight: Any = None,
    start: float = 0.0,
    rounds: int = ROUNDS,
) -> Model:
    xgb = pytest.importorskip("xgboost")
    # the class trains under the name binary:logistic, whose base_score is a probability
    classifier = xgb.XGBClassifier(objective=loss, n_estimators=rounds, base_score=float(expit(start)), **XGB)
    classifier.fit(features, labels, sample_weight=weight)
    return lambda x: classifier.predict(x, output_margin=True)


def lightgbm_native(
    loss: FocalLoss,
    features: np.ndarray,
    labels: np.ndarray,
    weight: Any = None,
    start: float = 0.0,
    rounds: int = ROUNDS,
) -> Model:
    lgb = pytest.importorskip("lightgbm")
    rows = lgb.Dataset(features, labels, weight=weight, init_score=np.full(labels.size, start))
    booster = lgb.train({**LGB, "objective": loss}, rows, rounds)
    return lambda x: booster.predict(x, raw_score=True) + start


def lightgbm_class(
    loss: FocalLoss,
    features: np.ndarray,
    labels: np.ndarray,
    weight: Any = None,
    start: float = 0.0,
    rounds: int = ROUNDS,
) -> Model:
    lgb = pytest.importorskip("lightgbm")
    classifier = lgb.LGBMClassifier(objective=loss, n_estimators=rounds, **LGB)
    classifier.fit(features, labels, sample_weight=weight, init_score=np.full(labels.size, start))
    return lambda x: classifier.predict(x, raw_score=True) + start


TRAINERS = [xgboost_native, xgboost_class, lightgbm_native, lightgbm_class]
every_trainer = pytest.mark.parametrize("train", TRAINERS, ids=lambda train: train.__name__)


# --- conventions agree -----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [LOSS, FocalLoss((1.0, 3.0), hessian="exact", max_step=np.inf)], ids=repr)
@pytest.mark.parametrize(
    ("native", "scikit_learn"), [(xgboost_native, xgboost_class), (lightgbm_native, lightgbm_class)]
)
def test_native_training_and_scikit_learn_class_give_the_same_margins(
    native: Callable[..., Model], scikit_learn: Callable[..., Model], loss: FocalLoss, weighted: bool
) -> None:
    features, labels = data()
    weight = weights(labels.size) if weighted else None
    start = loss.optimal_margin(labels, weight)
    margins = native(loss, features, labels, weight, start)(features)
    assert np.ptp(margins) > 1
    assert_allclose(scikit_learn(loss, features, labels, weight, start)(features), margins, atol=1e-5)


@every_trainer
def test_integer_weights_count_as_repeated_rows(train: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    # few distinct values, all of which become bins, and no limit that counts rows instead of weights
    monkeypatch.setitem(LGB, "min_data_in_leaf", 1)
    monkeypatch.setitem(LGB, "min_data_in_bin", 1)
    monkeypatch.setitem(LGB, "min_sum_hessian_in_leaf", 1.0)
    features, labels = data()
    features = np.round(features * 2)
    weight = np.random.default_rng(0).integers(1, 4, labels.size)
    weighted = train(LOSS, features, labels, weight)(features)
    repeated = train(LOSS, np.repeat(features, weight, axis=0), np.repeat(labels, weight))(features)
    assert np.ptp(weighted) > 1
    assert np.abs(weighted - train(LOSS, features, labels)(features)).max() > 0.01
    assert_allclose(weighted, repeated, atol=1e-4)


def test_xgboost_booster_update_and_quantile_matrix_give_the_margins_of_train() -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels = data()
    expected = xgboost_native(LOSS, features, labels, start=-0.5)(features)
    parameters = {**XGB, "base_score": -0.5}
    rows = xgb.DMatrix(features, labels)
    booster = xgb.Booster(parameters, [rows])
    for iteration in range(ROUNDS):
        booster.update(rows, iteration, fobj=LOSS)
    assert_allclose(booster.predict(rows, output_margin=True), expected, atol=1e-6)
    quantiles = xgb.train(parameters, xgb.QuantileDMatrix(features, labels), ROUNDS, obj=LOSS)
    assert_allclose(quantiles.predict(rows, output_margin=True), expected, atol=1e-5)


def test_lightgbm_booster_update_gives_the_margins_of_train() -> None:
    lgb = pytest.importorskip("lightgbm")
    features, labels = data()
    booster = lgb.Booster({**LGB, "objective": "none"}, lgb.Dataset(features, labels))
    for _ in range(ROUNDS):
        booster.update(fobj=LOSS)
    assert_allclose(booster.predict(features), lightgbm_native(LOSS, features, labels)(features), atol=1e-6)


def folds(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    test = np.array_split(np.random.default_rng(0).permutation(n), 3)
    return [(np.setdiff1d(np.arange(n), rows), rows) for rows in test]


def test_xgboost_cv_reports_the_mean_over_its_folds() -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels = data()
    splits = folds(labels.size)
    parameters = {**XGB, "base_score": 0.0, "disable_default_eval_metric": True}
    history = xgb.cv(
        parameters,
        xgb.DMatrix(features, labels),
        ROUNDS,
        folds=splits,
        obj=LOSS,
        custom_metric=LOSS.metric,
        as_pandas=False,
    )
    expected = [
        LOSS.mean(labels[test], xgboost_native(LOSS, features[train], labels[train])(features[test]))
        for train, test in splits
    ]
    assert history["test-focal-mean"][-1] == pytest.approx(np.mean(expected), rel=1e-3)  # it prints 5 digits


def test_lightgbm_cv_reports_the_mean_over_its_folds() -> None:
    lgb = pytest.importorskip("lightgbm")
    features, labels = data()
    splits = folds(labels.size)
    history = lgb.cv(
        {**LGB, "objective": LOSS},
        lgb.Dataset(features, labels),
        ROUNDS,
        folds=splits,
        feval=[LOSS.metric, AveragePrecision()],
    )
    expected = []
    for train, test in splits:
        # folds of cv share the bins of the whole table
        rows = lgb.Dataset(features, labels).construct()
        booster = lgb.train({**LGB, "objective": LOSS}, rows.subset(sorted(train)), ROUNDS)
        expected.append(LOSS.mean(labels[test], booster.predict(features[test])))
    assert history["valid focal-mean"][-1] == pytest.approx(np.mean(expected), rel=1e-6)
    assert history["valid precision_average-mean"][-1] > 0.5


# --- gamma 0 is logistic boosting ------------------------------------------------------------------

LOGISTIC = FocalLoss(0.0, max_step=np.inf)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("train", [xgboost_native, xgboost_class])
def test_gamma_0_equals_xgboost_binary_logistic(train: Callable[..., Model], weighted: bool) -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels = data()
    weight = weights(labels.size) if weighted else None
    rows = xgb.DMatrix(features, labels, weight=weight)
    built_in = xgb.train({**XGB, "objective": "binary:logistic", "base_score": 0.2}, rows, 50)
    expected = built_in.predict(rows, output_margin=True)
    margins = train(LOGISTIC, features, labels, weight, logit(0.2), 50)(features)
    assert_allclose(margins, expected, atol=1e-5)
    assert_allclose(LOGISTIC.predict_proba(margins), built_in.predict(rows), atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("train", [lightgbm_native, lightgbm_class])
def test_gamma_0_equals_lightgbm_binary(train: Callable[..., Model], weighted: bool) -> None:
    lgb = pytest.importorskip("lightgbm")
    features, labels = data()
    weight = weights(labels.size) if weighted else None
    start = logit(0.2)
    rows = lgb.Dataset(features, labels, weight=weight, init_score=np.full(labels.size, start))
    built_in = lgb.train({**LGB, "objective": "binary", "boost_from_average": False}, rows, 50)
    expected = built_in.predict(features, raw_score=True) + start
    assert_allclose(train(LOGISTIC, features, labels, weight, start, 50)(features), expected, atol=1e-5)


# --- the engine's memory ---------------------------------------------------------------------------


def untouched(rows: Any, margin: np.ndarray, call: Callable[[], Any]) -> Any:
    """What `call` returns, if it left labels, weights and margins as they were."""
    arrays = [margin, rows.get_label(), rows.get_weight()]
    before = [array.tobytes() for array in arrays]
    result = call()
    after = [margin, rows.get_label(), rows.get_weight()]
    assert [array.tobytes() for array in arrays] == before == [array.tobytes() for array in after]
    return result


def test_xgboost_memory_is_not_written() -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels = data()
    weight = weights(labels.size)
    rows = xgb.DMatrix(features, labels, weight=weight)
    xgb.train(
        {**XGB, "disable_default_eval_metric": True},
        rows,
        3,
        evals=[(rows, "train")],
        obj=lambda margin, rows: untouched(rows, margin, lambda: LOSS(margin, rows)),
        custom_metric=lambda margin, rows: untouched(rows, margin, lambda: LOSS.metric(margin, rows)),
        verbose_eval=False,
    )
    assert_array_equal(rows.get_label(), labels.astype(np.float32))
    assert_array_equal(rows.get_weight(), weight.astype(np.float32))


def test_lightgbm_memory_is_not_written() -> None:
    lgb = pytest.importorskip("lightgbm")
    features, labels = data()
    weight = weights(labels.size)
    rows = lgb.Dataset(features, labels, weight=weight)
    lgb.train(
        {**LGB, "objective": lambda margin, rows: untouched(rows, margin, lambda: LOSS(margin, rows))},
        rows,
        3,
        valid_sets=[rows],
        feval=lambda margin, rows: untouched(rows, margin, lambda: LOSS.metric(margin, rows)),
    )
    assert_array_equal(rows.get_label(), labels.astype(np.float32))
    assert_array_equal(rows.get_weight(), weight.astype(np.float32))


def test_xgboost_labels_and_weights_are_read_where_they_are() -> None:
    xgb = pytest.importorskip("xgboost", "3.2")
    features, labels = data()
    weight = weights(labels.size)
    rows = xgb.DMatrix(features, labels, weight=weight)
    margin = np.zeros(labels.size, np.float32)
    first, again = engines.read_batch(margin, rows, None), engines.read_batch(margin, rows, None)
    for field, read, other in (
        ("label", first.labels, again.labels),
        ("weight", first.sample_weight, again.sample_weight),
    ):
        assert_array_equal(read, getattr(rows, f"get_{field}")())
        assert np.shares_memory(read, other)
    expected = LOSS.gradient_hessian(1 - labels, margin)
    rows.set_info(label=1 - labels, weight=np.ones(labels.size))  # what was read before is no longer
    assert_array_equal(LOSS(margin, rows), expected)
    without = xgb.DMatrix(features, np.column_stack([labels, 1 - labels]))
    read = engines.read_batch(np.zeros((labels.size, 2), np.float32), without, None)
    assert read.sample_weight is None
    assert_array_equal(read.labels, np.column_stack([labels, 1 - labels]))


def test_labels_that_change_between_rounds_are_never_stale() -> None:
    xgb = pytest.importorskip("xgboost")
    random = np.random.default_rng(0)
    rows, margin = xgb.DMatrix(*data(50)), random.normal(size=50).astype(np.float32)
    for turn in range(20):
        labels = random.integers(0, 2, 50).astype(np.float32)
        weight = random.uniform(size=50).astype(np.float32) if turn % 3 == 0 else None
        rows.set_label(labels)
        rows.set_weight([] if weight is None else weight)
        assert_array_equal(LOSS(margin, rows), LOSS.gradient_hessian(labels, margin, weight))


# --- metrics and early stopping --------------------------------------------------------------------

PATIENCE = 15
LIMIT = 150


def overfitted_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Few rows to train on, and many to see by that the model has learned noise."""
    return *data(250, 0.1, seed=3), *data(1500, 0.1, seed=4)


def card_precision(n: int) -> CardPrecision:
    rng = np.random.default_rng(0)
    return CardPrecision(10, card=rng.integers(0, n // 3, n), day=rng.integers(0, 8, n))


def metrics(n: int) -> dict[str, tuple[Metric, Callable[[Any], Any]]]:
    """Each metric with the function that finds its best round."""
    return {
        "focal": (LOSS.metric, np.argmin),
        "log loss": (LogLoss(LOSS), np.argmin),
        "Brier": (Brier(LOSS), np.argmin),
        "average precision": (AveragePrecision(), np.argmax),
        "precision at k": (PrecisionAtK(100), np.argmax),
        "recall at precision": (RecallAtPrecision(0.5), np.argmax),
        "recall at a false-positive rate": (RecallAtFalsePositiveRate(0.05), np.argmax),
        "partial AUC": (PartialAUC(0.1), np.argmax),
        "expected savings": (ExpectedSavings(LOSS, cost_matrix(8, np.linspace(20, 200, n))), np.argmax),
        "card precision": (card_precision(n), np.argmax),
    }


every_metric = pytest.mark.parametrize("metric_name", list(metrics(1500)))


def check_best(best: int, history: list[float], find_best: Callable[[Any], Any]) -> None:
    assert len(history) == min(best + 1 + PATIENCE, LIMIT)
    assert 0 < best == find_best(history)  # the other way round the first round would be the best, or a later one


@every_metric
def test_xgboost_train_stops_at_the_best_round(metric_name: str) -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels, other_features, other_labels = overfitted_data()
    metric, find_best = metrics(other_labels.size)[metric_name]
    history: dict[str, Any] = {}
    booster = xgb.train(
        {**XGB, "disable_default_eval_metric": True},
        xgb.DMatrix(features, labels),
        LIMIT,
        obj=LOSS,
        custom_metric=metric,
        evals=[(xgb.DMatrix(other_features, other_labels), "valid")],
        evals_result=history,
        early_stopping_rounds=PATIENCE,
        verbose_eval=False,
    )
    assert list(history["valid"]) == [metric.name]
    check_best(booster.best_iteration, history["valid"][metric.name], find_best)


@every_metric
def test_xgboost_class_stops_at_the_best_round(metric_name: str) -> None:
    xgb = pytest.importorskip("xgboost")
    features, labels, other_features, other_labels = overfitted_data()
    metric, find_best = metrics(other_labels.size)[metric_name]
    classifier = xgb.XGBClassifier(
        objective=LOSS, eval_metric=metric, n_estimators=LIMIT, early_stopping_rounds=PATIENCE, **XGB
    )
    classifier.fit(features, labels, eval_set=[(other_features, other_labels)], verbose=False)
    check_best(classifier.best_iteration, classifier.evals_result()["validation_0"][metric.name], find_best)


@every_metric
def test_lightgbm_train_stops_at_the_best_round(metric_name: str) -> None:
    lgb = pytest.importorskip("lightgbm")
    features, labels, other_features, other_labels = overfitted_data()
    metric, find_best = metrics(other_labels.size)[metric_name]
    history: dict[str, Any] = {}
    rows = lgb.Dataset(features, labels)
    booster = lgb.train(
        {**LGB, "objective": LOSS},
        rows,
        LIMIT,
        valid_sets=[rows.create_valid(other_features, other_labels)],
        valid_names=["valid"],
        feval=metric,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False), lgb.record_evaluation(history)],
    )
    assert list(history["valid"]) == [metric.name]
    check_best(booster.best_iteration - 1, history["valid"][metric.name], find_best)  # it counts from 1


def fit_lightgbm_class(classifier: Any, train: Any, valid: Any, weight: Any = None, **arguments: Any) -> Any:
    """Fit with a validation set, under the argument names of the version installed (eval_set is deprecated in 4.7)."""
    if "eval_X" in inspect.signature(classifier.fit).parameters:
        names = {"eval_X": (valid[0],), "eval_y": (valid[1],)}
    else:
        names = {"eval_set": [valid]}
    return classifier.fit(*train, eval_sample_weight=weight, **names, **arguments)


@every_metric
def test_lightgbm_class_stops_at_the_best_round(metric_name: str) -> None:
    lgb = pytest.importorskip("lightgbm")
    features, labels, other_features, other_labels = overfitted_data()
    metric, find_best = metrics(other_labels.size)[metric_name]
    # without metric="None" the class adds binary_logloss, and stops by either
    classifier = fit_lightgbm_class(
        lgb.LGBMClassifier(objective=LOSS, metric="None", n_estimators=LIMIT, **LGB),
        (features, labels),
        (other_features, other_labels),
        eval_metric=metric,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    (history,) = classifier.evals_result_.values()
    assert list(history) == [metric.name]
    check_best(classifier.best_iteration_ - 1, history[metric.name], find_best)


def test_every_public_metric_is_tested_and_described_here() -> None:
    objects = {name: getattr(boostfocal, name) for name in boostfocal.__all__ if hasattr(boostfocal.metrics, name)}
    public = {name for name, kind in objects.items() if issubclass(kind, Metric)}
    tested = {type(metric).__name__ for metric, _ in metrics(100).values()}
    assert public - tested == {"MacroAveragePrecision"}  # of several classes: see test_classes_in_engines
    page = (Path(__file__).parents[1] / "docs" / "pages" / "reference" / "metrics.md").read_text(encoding="utf-8")
    for name in public:
        assert f"::: boostfocal.{name}\n" in page
        assert f"| `{name}(" in page


def test_xgboost_maximizes_what_is_better_when_greater() -> None:
    prefixes = ("auc", "pre", "map", "ndcg")
    found = [metric for metric, _ in metrics(100).values()]
    # names that the classifiers take, as XGBoost's callbacks see them
    names = ["recall_at_fpr_0.1", "auc_partial_0.2", "precision_0.5_recall", "precision_at_10", "precision_average"]
    found += [by_name(name, LOSS, 2) for name in [*names, "brier", "error@0.3", "rmse", "logloss"]]
    for metric in found:
        assert metric.name.startswith(prefixes) == metric.greater_is_better, metric.name


def test_metric_names_hold_nothing_that_engines_split_at() -> None:
    names = [metric.name for metric, _ in metrics(100).values()]
    for limit in (0.9, 1 / 3, 1e-3, 1e-5):
        names += [kind(limit).name for kind in (RecallAtPrecision, RecallAtFalsePositiveRate, PartialAUC)]
    names += [RecallAtPrecision(1).name]
    names += [PrecisionAtK(10**7).name]
    for name in names:
        assert name.strip()
        assert not any(character.isspace() or character in ":-" for character in name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "metric", [LOSS.metric, Brier(LOSS), AveragePrecision(), PrecisionAtK(100)], ids=lambda metric: metric.name
)
def test_every_convention_reports_the_score_of_the_validation_rows(metric: Metric, weighted: bool) -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    train, valid = data(), data(700, seed=5)
    weight = weights(700) if weighted else None
    weight_list = [weight] if weighted else None
    rows = xgb.DMatrix(*valid, weight=weight)
    history: dict[str, Any] = {}
    booster = xgb.train(
        {**XGB, "base_score": 0.0, "disable_default_eval_metric": True},
        xgb.DMatrix(*train), 5, obj=LOSS, custom_metric=metric,
        evals=[(rows, "valid")], evals_result=history, verbose_eval=False,
    )  # fmt: skip
    expected = metric.score(valid[1], booster.predict(rows, output_margin=True), weight)
    assert history["valid"][metric.name][-1] == pytest.approx(expected, rel=1e-3)  # it prints 5 digits

    classifier = xgb.XGBClassifier(objective=LOSS, eval_metric=metric, n_estimators=5, base_score=0.5, **XGB)
    classifier.fit(*train, eval_set=[valid], sample_weight_eval_set=weight_list, verbose=False)
    assert classifier.evals_result()["validation_0"][metric.name][-1] == pytest.approx(expected, rel=1e-3)

    light = lgb.Dataset(*train)
    lgb_booster = lgb.train(
        {**LGB, "objective": LOSS}, light, 5, feval=[metric, RecallAtPrecision(0.5)],
        valid_sets=[light.create_valid(*valid, weight=weight)], valid_names=["valid"],
        callbacks=[lgb.record_evaluation(history)],
    )  # fmt: skip
    expected = metric.score(valid[1], lgb_booster.predict(valid[0]), weight)
    assert history["valid"][metric.name][-1] == pytest.approx(expected, rel=1e-6)

    light_classifier = lgb.LGBMClassifier(objective=LOSS, n_estimators=5, **LGB)
    fit_lightgbm_class(light_classifier, train, valid, weight_list, eval_metric=[metric])
    (scores,) = light_classifier.evals_result_.values()
    assert scores[metric.name][-1] == pytest.approx(expected, rel=1e-6)


# --- learning --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0, 1, 2, 3])
@pytest.mark.parametrize("start", ["0", "0.5", "logit of the prior", "optimum"])
@pytest.mark.parametrize("train", [xgboost_native, lightgbm_native])
def test_rare_positives_are_learned_from_any_start(train: Callable[..., Model], start: str, gamma: float) -> None:
    features, labels = data(6000, positives=0.01)
    prior = labels.mean()
    loss = FocalLoss(gamma)
    starts = {"0": 0.0, "0.5": 0.5, "logit of the prior": logit(prior), "optimum": loss.optimal_margin(labels)}
    half = labels.size // 2
    margins = train(loss, features[:half], labels[:half], start=starts[start], rounds=30)(features[half:])
    assert average_precision_score(labels[half:], margins) > 20 * prior


@pytest.mark.parametrize("train", [xgboost_class, lightgbm_class])
def test_fitted_class_survives_pickling(train: Callable[..., Model]) -> None:
    features, labels = data()
    engine = {"xgboost_class": "xgboost", "lightgbm_class": "lightgbm"}[train.__name__]
    module = pytest.importorskip(engine)
    kind = module.XGBClassifier if engine == "xgboost" else module.LGBMClassifier
    classifier = kind(objective=LOSS, n_estimators=3, **(XGB if engine == "xgboost" else LGB)).fit(features, labels)
    raw = {"output_margin": True} if engine == "xgboost" else {"raw_score": True}
    copy = pickle.loads(pickle.dumps(classifier))
    assert copy.get_params()["objective"] == LOSS
    assert_array_equal(copy.predict(features, **raw), classifier.predict(features, **raw))


def test_soft_labels_are_learned() -> None:
    features, labels = data()
    soft = 0.9 * labels + 0.05
    margins = xgboost_native(LOSS, features, soft, start=LOSS.optimal_margin(soft))(features)
    assert average_precision_score(labels, margins) > 0.8


def test_xgboost_data_without_labels_is_refused() -> None:
    xgb = pytest.importorskip("xgboost")
    features, _ = data()
    rows = xgb.DMatrix(features)
    with pytest.raises(ValueError, match="y must be given: the data set has no labels"):
        xgb.train(XGB, rows, 2, obj=LOSS)
    with pytest.raises(ValueError, match="y must be given: the data set has no labels"):
        LOSS.metric(np.zeros(rows.num_row()), rows)


def test_labels_that_are_not_binary_are_refused_in_training() -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    features, labels = data()
    with pytest.raises(ValueError, match=r"y must be in \[0, 1\], got 2.0"):
        xgb.train(XGB, xgb.DMatrix(features, labels * 2), 2, obj=LOSS)
    with pytest.raises(ValueError, match=r"y must be in \[0, 1\], got 2.0"):
        lgb.train({**LGB, "objective": LOSS}, lgb.Dataset(features, labels * 2), 2)
