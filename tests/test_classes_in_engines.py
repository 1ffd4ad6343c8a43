"""The softmax loss inside XGBoost and LightGBM, in each of their calling conventions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import average_precision_score
from test_engines import fit_lightgbm_class

from boostfocal import Brier, LogLoss, MacroAveragePrecision, SoftmaxFocalLoss
from boostfocal.metrics import Metric

K = 4
ROUNDS = 15
XGB = {"max_depth": 4, "learning_rate": 0.3, "min_child_weight": 0.5, "nthread": 1, "disable_default_eval_metric": 1}
LGB = {
    "num_leaves": 15, "learning_rate": 0.3, "min_data_in_leaf": 20, "num_threads": 1, "verbose": -1, "metric": "None",
}  # fmt: skip

Model = Callable[[np.ndarray], np.ndarray]


def data(n: int = 1500, shares: tuple[float, ...] = (0.6, 0.25, 0.1, 0.05)) -> tuple[np.ndarray, np.ndarray]:
    """Features, and classes that they do not determine."""
    rng = np.random.default_rng(0)
    labels = rng.choice(len(shares), n, p=shares)
    centers = 1.5 * rng.normal(size=(len(shares), 6))
    return rng.normal(size=(n, 6)) + centers[labels], labels


def weights(n: int) -> np.ndarray:
    return np.random.default_rng(1).exponential(size=n)


def xgboost_native(
    loss: SoftmaxFocalLoss, x: np.ndarray, y: np.ndarray, weight: Any, start: np.ndarray, **more: Any
) -> Model:
    xgb = pytest.importorskip("xgboost")
    parameters = {**XGB, "num_class": K, "base_score": start.tolist(), **more}
    booster = xgb.train(parameters, xgb.DMatrix(x, y, weight=weight), ROUNDS, obj=loss)
    return lambda x: booster.predict(xgb.DMatrix(x), output_margin=True)


def xgboost_class(
    loss: SoftmaxFocalLoss, x: np.ndarray, y: np.ndarray, weight: Any, start: np.ndarray, **more: Any
) -> Model:
    xgb = pytest.importorskip("xgboost")
    model = xgb.XGBClassifier(objective=loss, n_estimators=ROUNDS, base_score=start.tolist(), **XGB, **more)
    model.fit(x, y, sample_weight=weight)
    return lambda x: model.predict(x, output_margin=True)


def lightgbm_native(
    loss: SoftmaxFocalLoss, x: np.ndarray, y: np.ndarray, weight: Any, start: np.ndarray, **more: Any
) -> Model:
    lgb = pytest.importorskip("lightgbm")
    rows = lgb.Dataset(x, y, weight=weight, init_score=np.tile(start, (y.size, 1)))
    booster = lgb.train({**LGB, "num_class": K, "objective": loss, **more}, rows, ROUNDS)
    return lambda x: booster.predict(x, raw_score=True) + start


def lightgbm_class(
    loss: SoftmaxFocalLoss, x: np.ndarray, y: np.ndarray, weight: Any, start: np.ndarray, **more: Any
) -> Model:
    lgb = pytest.importorskip("lightgbm")
    model = lgb.LGBMClassifier(objective=loss, n_estimators=ROUNDS, **LGB, **more)
    model.fit(x, y, sample_weight=weight, init_score=np.tile(start, (y.size, 1)))
    return lambda x: model.predict(x, raw_score=True) + start


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [SoftmaxFocalLoss(K), SoftmaxFocalLoss(K, 2.0, (1, 2, 3, 4), "exact")], ids=repr)
@pytest.mark.parametrize(
    ("native", "scikit_learn"), [(xgboost_native, xgboost_class), (lightgbm_native, lightgbm_class)]
)
def test_native_training_and_scikit_learn_class_give_the_same_margins(
    native: Callable[..., Model], scikit_learn: Callable[..., Model], loss: SoftmaxFocalLoss, weighted: bool
) -> None:
    x, y = data()
    weight = weights(y.size) if weighted else None
    start = loss.optimal_margin(y, weight)
    margins = native(loss, x, y, weight, start)(x)
    assert margins.shape == (y.size, K)
    assert np.ptp(margins) > 1
    assert_allclose(scikit_learn(loss, x, y, weight, start)(x), margins, atol=2e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_gamma_0_equals_xgboost_softprob(weighted: bool) -> None:
    """Its Hessian is twice the diagonal: half the rate and penalties give the same trees."""
    xgb = pytest.importorskip("xgboost")
    x, y = data()
    weight = weights(y.size) if weighted else None
    loss = SoftmaxFocalLoss(K, 0, max_step=np.inf)
    rows = xgb.DMatrix(x, y, weight=weight)
    own = xgb.train(
        {**XGB, "objective": "multi:softprob", "num_class": K, "base_score": 0.0, "gamma": 0.1}, rows, ROUNDS
    )
    halved = {"learning_rate": 0.15, "reg_lambda": 0.5, "min_child_weight": 0.25, "gamma": 0.2}
    ours = xgboost_native(loss, x, y, weight, np.zeros(K), **halved)(x)
    assert_allclose(ours, own.predict(rows, output_margin=True), atol=1e-4)
    assert_allclose(loss.predict_proba(ours), own.predict(rows), atol=1e-5)


def test_gamma_0_equals_lightgbm_multiclass() -> None:
    """Its Hessian is K / (K - 1) times the diagonal. (Without weights splits tie, and rounding chooses.)"""
    lgb = pytest.importorskip("lightgbm")
    x, y = data()
    weight = weights(y.size)
    loss = SoftmaxFocalLoss(K, 0, max_step=np.inf)
    start = np.log(np.bincount(y, weight) / weight.sum())
    rows = lgb.Dataset(x, y, weight=weight, init_score=np.tile(start, (y.size, 1)))
    own = lgb.train(
        {**LGB, "objective": "multiclass", "num_class": K, "lambda_l2": 1.0, "boost_from_average": False}, rows, ROUNDS
    )
    f = K / (K - 1)
    scaled = {"lambda_l2": 1 / f, "min_sum_hessian_in_leaf": 1e-3 / f}
    ours = lightgbm_native(loss, x, y, weight, start, **{**scaled, "learning_rate": 0.3 / f})(x)
    assert_allclose(ours, own.predict(x, raw_score=True) + start, atol=1e-4)


def test_booster_update_gives_the_margins_of_train() -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y = data()
    loss = SoftmaxFocalLoss(K)
    start = loss.optimal_margin(y)
    rows = xgb.DMatrix(x, y)
    booster = xgb.Booster({**XGB, "num_class": K, "base_score": start.tolist()}, [rows])
    for i in range(ROUNDS):
        booster.update(rows, i, fobj=loss)
    assert_allclose(booster.predict(rows, output_margin=True), xgboost_native(loss, x, y, None, start)(x), atol=1e-6)
    dataset = lgb.Dataset(x, y, init_score=np.tile(start, (y.size, 1)))
    model = lgb.Booster({**LGB, "num_class": K, "objective": "none"}, dataset)
    for _ in range(ROUNDS):
        model.update(fobj=loss)
    assert_allclose(model.predict(x, raw_score=True) + start, lightgbm_native(loss, x, y, None, start)(x), atol=1e-6)


def test_cv_reports_a_falling_focal_loss() -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y = data()
    loss = SoftmaxFocalLoss(K)
    start = loss.optimal_margin(y)
    parameters = {**XGB, "num_class": K, "base_score": start.tolist()}
    table = xgb.cv(parameters, xgb.DMatrix(x, y), ROUNDS, nfold=3, obj=loss, custom_metric=loss.metric, as_pandas=False)
    rows = lgb.Dataset(x, y, init_score=np.tile(start, (y.size, 1)))
    folds = lgb.cv({**LGB, "num_class": K, "objective": loss}, rows, ROUNDS, nfold=3, feval=loss.metric)
    at_start = loss.mean(y, np.tile(start, (y.size, 1)))
    for history in (table["test-focal-mean"], folds["valid focal-mean"]):
        assert len(history) == ROUNDS
        assert at_start > history[0] > history[5] > 0


def metrics(loss: SoftmaxFocalLoss) -> list[Metric]:
    return [loss.metric, LogLoss(loss), Brier(loss), MacroAveragePrecision(loss)]


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_convention_reports_the_score_and_stops_at_the_best_round(index: int, weighted: bool) -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y = data(900)
    x_valid, y_valid = data(1800)[0][900:], data(1800)[1][900:]
    loss = SoftmaxFocalLoss(K, 1.0, (1, 1, 2, 4))
    metric = metrics(loss)[index]
    weight = weights(900) if weighted else None
    best = np.argmax if metric.greater_is_better else np.argmin
    start = loss.optimal_margin(y)
    rate = {"learning_rate": 0.8}
    histories, stops = {}, {}

    train, valid = xgb.DMatrix(x, y), xgb.DMatrix(x_valid, y_valid, weight=weight)
    history: dict[str, Any] = {}
    booster = xgb.train(
        {**XGB, **rate, "num_class": K, "base_score": start.tolist()}, train, 60, obj=loss, custom_metric=metric,
        evals=[(valid, "v")], early_stopping_rounds=5, evals_result=history, verbose_eval=False,
    )  # fmt: skip
    histories["xgb.train"], stops["xgb.train"] = history["v"][metric.name], booster.best_iteration
    margins = booster.predict(valid, output_margin=True, iteration_range=(0, booster.best_iteration + 1))
    assert metric.score(y_valid, margins, weight) == pytest.approx(
        histories["xgb.train"][booster.best_iteration], abs=1e-5
    )

    model = xgb.XGBClassifier(
        objective=loss, n_estimators=60, base_score=start.tolist(), eval_metric=metric, early_stopping_rounds=5,
        **{**XGB, **rate},
    )  # fmt: skip
    model.fit(
        x, y, eval_set=[(x_valid, y_valid)], sample_weight_eval_set=None if weight is None else [weight], verbose=False
    )
    histories["XGBClassifier"], stops["XGBClassifier"] = (
        model.evals_result()["validation_0"][metric.name],
        model.best_iteration,
    )

    rows = lgb.Dataset(x, y, init_score=np.tile(start, (900, 1)))
    held_out = lgb.Dataset(x_valid, y_valid, weight=weight, init_score=np.tile(start, (900, 1)), reference=rows)
    record: dict[str, Any] = {}
    callbacks = [lgb.early_stopping(5, verbose=False), lgb.record_evaluation(record)]
    native = lgb.train(
        {**LGB, **rate, "num_class": K, "objective": loss}, rows, 60, valid_sets=[held_out], feval=metric,
        callbacks=callbacks,
    )  # fmt: skip
    histories["lgb.train"], stops["lgb.train"] = record["valid_0"][metric.name], native.best_iteration - 1

    classifier = fit_lightgbm_class(
        lgb.LGBMClassifier(objective=loss, n_estimators=60, **{**LGB, **rate}), (x, y), (x_valid, y_valid),
        None if weight is None else [weight], init_score=np.tile(start, (900, 1)), eval_metric=metric,
        eval_init_score=[np.tile(start, (900, 1))], callbacks=[lgb.early_stopping(5, verbose=False)],
    )  # fmt: skip
    (history,) = classifier.evals_result_.values()
    histories["LGBMClassifier"] = history[metric.name]
    stops["LGBMClassifier"] = classifier.best_iteration_ - 1

    for name, values in histories.items():
        assert len(values) < 60, name
        assert stops[name] == best(values), name
    assert_allclose(histories["XGBClassifier"], histories["xgb.train"], atol=2e-5)
    assert_allclose(histories["LGBMClassifier"], histories["lgb.train"], rtol=1e-5)


def test_engine_memory_is_not_written() -> None:
    loss = SoftmaxFocalLoss(K)
    seen = []

    def objective(margin: np.ndarray, rows: Any) -> Any:
        before = margin.copy(), np.array(rows.get_label())
        result = loss(margin, rows)
        assert all(array.flags.f_contiguous == margin.flags.f_contiguous for array in result)
        assert (margin == before[0]).all()
        assert (rows.get_label() == before[1]).all()
        seen.append(margin.dtype)
        return result

    x, y = data()
    xgboost_native(objective, x, y, None, np.zeros(K))  # type: ignore[arg-type]
    lightgbm_native(objective, x, y, None, np.zeros(K))  # type: ignore[arg-type]
    assert seen == [np.float32] * ROUNDS + [np.float64] * ROUNDS


@pytest.mark.parametrize("train", [xgboost_native, lightgbm_native], ids=lambda train: train.__name__)
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("start", ["zero", "half", "log priors", "optimum"])
def test_a_class_of_a_thousandth_is_learned_from_any_start(
    train: Callable[..., Model], gamma: float, start: str
) -> None:
    x, y = data(60_000, (0.6, 0.3, 0.099, 0.001))
    loss = SoftmaxFocalLoss(K, gamma)
    shares = np.bincount(y) / y.size
    starts = {
        "zero": np.zeros(K),
        "half": np.full(K, 0.5),
        "log priors": np.log(shares),
        "optimum": loss.optimal_margin(y),
    }
    margins = train(loss, x[::2], y[::2], None, starts[start])(x[1::2])
    proba = loss.predict_proba(margins)
    precisions = [average_precision_score(y[1::2] == k, proba[:, k]) for k in range(K)]
    assert min(precisions[:3]) > 0.9
    assert precisions[3] > 0.15, precisions  # 150 times its share


@pytest.mark.parametrize("native", [xgboost_native, lightgbm_native])
def test_labels_that_are_no_class_are_refused_in_training(native: Callable[..., Model]) -> None:
    x, y = data(300)
    with pytest.raises(ValueError, match=r"^y must be classes, whole numbers from 0 to 3, got 1.5 at index 7"):
        native(SoftmaxFocalLoss(K), x, np.where(np.arange(300) == 7, 1.5, y), None, np.zeros(K))
    with pytest.raises(ValueError, match=r"^margin must have 3 columns, one for each class, got shape \(300, 4\)"):
        native(SoftmaxFocalLoss(3), x, y, None, np.zeros(K))
