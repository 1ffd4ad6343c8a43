"""Training on several workers of Dask: global counts and metrics, and models equal to those of one machine."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from boostfocal import (
    AveragePrecision,
    Brier,
    FocalLGBMClassifier,
    FocalLoss,
    FocalXGBClassifier,
    LogLoss,
    MacroAveragePrecision,
    PrecisionAtK,
    SoftmaxFocalLoss,
)

xgb = pytest.importorskip("xgboost")
pytest.importorskip("xgboost.dask", reason="Dask is not installed")
lgb = pytest.importorskip("lightgbm")
da = pytest.importorskip("dask.array", reason="Dask is not installed")
dd = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::ResourceWarning")

ROWS, ROUNDS, K = 6000, 10, 4
BINARY, SOFTMAX = FocalLoss(2.0, 0.25), SoftmaxFocalLoss(K, 1.0, [1, 2, 1, 3])


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


KEPT: list[Any] = []
"""Futures of what is on the workers: Dask forgets data that no future stands for."""


def rows(loss: Any, n: int = ROWS, seed: int = 0) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Features of few values, whose quantiles are the same wherever they are counted."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n, 6)) * 4) / 4
    score = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=n)
    y = score > 2 if loss is BINARY else np.digitize(score, [-1, 0.5, 2])
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abcdef"))
    return frame, pd.Series(y.astype(np.float32)), pd.Series(rng.uniform(0.5, 2, n).astype(np.float32))


def spread(client: Any, sizes: list[int], *tables: Any) -> list[Any]:
    """Collections whose partitions, of these sizes, are on one worker each."""
    client.wait_for_workers(2, timeout=120)  # one that was lost comes back
    workers = sorted(client.scheduler_info()["workers"])
    ends = np.cumsum(sizes)
    collections = []
    for table in tables:
        parts = [table[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        futures = [
            client.scatter(part, workers=[worker], hash=False) for part, worker in zip(parts, workers, strict=False)
        ]
        KEPT.extend(futures)
        if isinstance(table, np.ndarray):  # of which Dask drops the empty parts
            arrays = [
                da.from_delayed(future, part.shape, part.dtype)
                for future, part in zip(futures, parts, strict=True)
                if len(part)
            ]
            collections.append(da.concatenate(arrays))
        else:
            collections.append(dd.from_delayed(futures, meta=table.iloc[:0], verify_meta=False))
    return collections


def margins(booster: Any, X: Any) -> np.ndarray:
    return booster.predict(xgb.DMatrix(X), output_margin=True)


def parameters(loss: Any, start: Any) -> dict[str, Any]:
    several = {"num_class": K} if loss is SOFTMAX else {}
    return {"base_score": np.asarray(start).tolist(), "disable_default_eval_metric": 1, "nthread": 1, **several}


# --- counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("loss", [BINARY, SOFTMAX, FocalLoss(np.array([1.0, 2.0]))], ids=["binary", "K", "two labels"])
def test_counts_are_of_all_partitions(loss: Any, weighted: bool) -> None:
    _, labels, weights = rows(BINARY if isinstance(loss, FocalLoss) else loss)
    y, w = labels.to_numpy(), weights.to_numpy() if weighted else None
    if loss not in (BINARY, SOFTMAX):
        y = np.stack([y, y[::-1]], axis=1)
    chunks = (3000, 2900, 100)
    array = da.from_array(y, chunks=(chunks, *y.shape[1:]))
    collections = [(array, None if w is None else da.from_array(w, chunks=(chunks,)))]
    if y.ndim == 1:
        parts = [pd.Series(part) for part in np.split(y, [3000, 3000])]  # the second is empty
        split = None if w is None else [pd.Series(part) for part in np.split(w, [3000, 3000])]
        collections.append((of_parts(parts), None if split is None else of_parts(split)))
    for y_dask, w_dask in collections:
        assert_allclose(loss.optimal_margin(y_dask, w_dask), loss.optimal_margin(y, w), rtol=1e-6)
        balanced = type(loss).balanced(y_dask, 2.0, sample_weight=w_dask)
        assert_allclose(balanced.alpha, type(loss).balanced(y, 2.0, sample_weight=w).alpha, rtol=1e-6)


def of_parts(parts: list[pd.Series]) -> Any:
    import dask

    return dd.from_delayed([dask.delayed(part) for part in parts], meta=parts[0].iloc[:0], verify_meta=False)


def test_partitions_that_do_not_fit_are_refused() -> None:
    y = da.from_array(np.array([0.0, 1.0, 1.0, 0.0]), chunks=2)
    with pytest.raises(ValueError, match="sample_weight must have the partitions of y, 2, got 1"):
        BINARY.optimal_margin(y, da.ones(4, chunks=4))
    with pytest.raises(TypeError, match="y and sample_weight must be Dask arrays or Series, got ndarray"):
        BINARY.optimal_margin(y, np.ones(4))
    with pytest.raises(ValueError, match=r"y must be in \[0, 1\], got 7"):
        BINARY.optimal_margin(y * 7)
    with pytest.raises(ValueError, match="y must have at least one row"):
        BINARY.optimal_margin(y[:0])
    with pytest.raises(ValueError, match="y must have 3 columns"):
        FocalLoss(np.ones(3)).optimal_margin(y)


# --- XGBoost ---------------------------------------------------------------------------------------------


class Several:
    """Metrics of one training, which XGBoost takes as a list."""

    def __init__(self, metrics: list[Any]) -> None:
        self.metrics = metrics

    def __call__(self, margin: Any, data: Any) -> list[tuple[str, float]]:
        return [metric(margin, data) for metric in self.metrics]


@pytest.mark.parametrize(
    ("loss", "sizes"),
    [(BINARY, [5900, 100]), (BINARY, [0, 6000]), (SOFTMAX, [5500, 500]), (SOFTMAX, [6000, 0])],
    ids=["binary", "binary, one without rows", "4 classes", "4 classes, one without rows"],
)
def test_xgboost_gives_the_model_and_metrics_of_one_machine(client: Any, loss: Any, sizes: list[int]) -> None:
    X, y, w = rows(loss)
    of_two = [LogLoss(loss), Brier(loss), AveragePrecision(), PrecisionAtK(100)]
    metrics = [loss.metric, *(of_two if loss is BINARY else [MacroAveragePrecision(loss)])]
    X_dask, y_dask, w_dask = spread(client, sizes, X, y, w)
    kind = xgb.dask.DaskQuantileDMatrix if all(sizes) else xgb.dask.DaskDMatrix
    data = kind(client, X_dask, y_dask, weight=w_dask)
    start = loss.optimal_margin(y_dask, w_dask)
    assert_allclose(start, loss.optimal_margin(y, w), rtol=1e-6)
    alone = xgb.QuantileDMatrix(X, y, weight=w)

    own = {"objective": "multi:softprob", "num_class": K} if loss is SOFTMAX else {"objective": "binary:logistic"}
    own |= {"base_score": 0.5, "nthread": 1}
    built_in = xgb.dask.train(client, own, data, ROUNDS)["booster"]
    gap_of_the_engine = np.abs(margins(built_in, X) - margins(xgb.train(own, alone, ROUNDS), X)).max()
    assert gap_of_the_engine < 1e-4

    single = margins(xgb.train(parameters(loss, start), alone, ROUNDS, obj=loss), X)
    trained = xgb.dask.train(
        client, parameters(loss, start), data, ROUNDS, obj=loss, custom_metric=Several(metrics),
        evals=[(data, "train")], verbose_eval=False,
    )  # fmt: skip
    found = margins(trained["booster"], X)
    assert_allclose(found, single, atol=1e-4)
    for metric in metrics:
        value = trained["history"]["train"][metric.name][-1]
        assert_allclose(value, metric.score(y, found, w), atol=1e-6)  # XGBoost passes six decimals on

    model = FocalXGBClassifier.from_booster(trained["booster"], loss)
    proba = loss.predict_proba(found)
    assert_allclose(model.predict_proba(X)[:, 1], proba if loss is BINARY else proba[:, 1], atol=1e-6)


def test_validation_rows_of_some_workers_stop_training_on_all(client: Any) -> None:
    X, y, _ = rows(BINARY)
    X_valid, y_valid, w_valid = rows(BINARY, 900, seed=1)
    train = xgb.dask.DaskDMatrix(client, *spread(client, [0, 6000], X.to_numpy(), y.to_numpy()))
    held_out = [table.to_numpy() for table in (X_valid, y_valid, w_valid)]
    parts = spread(client, [850, 50], *held_out)
    valid = xgb.dask.DaskDMatrix(client, *parts[:2], weight=parts[2])
    start = BINARY.optimal_margin(y)
    trained = xgb.dask.train(
        client, {**parameters(BINARY, start), "learning_rate": 1.0}, train, 100, obj=BINARY,
        custom_metric=BINARY.metric, evals=[(valid, "valid")], early_stopping_rounds=3, verbose_eval=False,
    )  # fmt: skip
    booster, values = trained["booster"], trained["history"]["valid"]["focal"]
    assert booster.best_iteration == int(np.argmin(values)) < len(values) - 1 < 99
    best = booster.predict(
        xgb.DMatrix(X_valid.to_numpy()), output_margin=True, iteration_range=(0, booster.best_iteration + 1)
    )
    assert_allclose(min(values), BINARY.mean(y_valid, best, w_valid), atol=1e-6)


def test_the_scikit_learn_class_of_xgboost(client: Any) -> None:
    loss = BINARY
    X, y, w = rows(loss)
    X_dask, y_dask, w_dask = spread(client, [5900, 100], X, y, w)
    model = xgb.dask.DaskXGBClassifier(
        n_estimators=5, objective=loss, eval_metric=loss.metric, base_score=0.5, n_jobs=1
    )
    model.client = client
    model.fit(
        X_dask,
        y_dask,
        sample_weight=w_dask,
        eval_set=[(X_dask, y_dask)],
        sample_weight_eval_set=[w_dask],
        verbose=False,
    )
    found = margins(model.get_booster(), X)
    assert_allclose(model.evals_result()["validation_0"]["focal"][-1], loss.mean(y, found, w), atol=1e-6)
    alone = xgb.XGBClassifier(n_estimators=5, objective=loss, base_score=0.5, n_jobs=1).fit(X, y, sample_weight=w)
    assert_allclose(found, alone.predict(X, output_margin=True), atol=1e-4)


@pytest.mark.parametrize("seen_by", ["the objective", "the metric"])
def test_a_label_that_one_worker_refuses_is_an_error_on_all(client: Any, seen_by: str) -> None:
    X, y, _ = rows(BINARY)
    bad = y.copy()
    bad[5900] = 3.0
    tables = [xgb.dask.DaskDMatrix(client, *spread(client, [3000, 3000], X, labels)) for labels in (y, bad)]
    train, valid = tables if seen_by == "the metric" else tables[::-1]
    for _ in range(2):  # the workers can go on
        with pytest.raises(ValueError, match=r"y must be in \[0, 1\], got 3"):
            xgb.dask.train(
                client, parameters(BINARY, 0.0), train, 50, obj=BINARY, custom_metric=BINARY.metric,
                evals=[(valid, "valid")], verbose_eval=False,
            )  # fmt: skip


# --- LightGBM --------------------------------------------------------------------------------------------


def test_lightgbm_trains_as_well_as_on_one_machine(client: Any) -> None:
    """Not the same trees: LightGBM's differ between two runs, with its own objective, too."""
    loss = BINARY
    X, y, w = rows(loss)
    X_test, y_test, _ = rows(loss, seed=1)
    sizes = [5000, 1000]
    start = loss.optimal_margin(y, w)
    starts = pd.Series(np.full(len(y), start))
    X_dask, y_dask, w_dask, starts_dask = spread(client, sizes, X, y, w, starts)
    options = {"n_estimators": 20, "verbosity": -1, "metric": "None", "n_jobs": 1}
    model = lgb.DaskLGBMClassifier(objective=loss, client=client, **options)
    model.fit(
        X_dask, y_dask, sample_weight=w_dask, init_score=starts_dask, eval_set=[(X_dask, y_dask)],
        eval_sample_weight=[w_dask], eval_init_score=[starts_dask], eval_metric=loss.metric,
    )  # fmt: skip
    (values,) = (record["focal"] for record in model.evals_result_.values())
    assert len(values) == 20
    assert values[-1] < 0.8 * values[0]
    here = FocalLGBMClassifier.from_booster(model.booster_, loss, start=start)
    alone = lgb.LGBMClassifier(objective=loss, **options).fit(X, y, sample_weight=w, init_score=starts.to_numpy())
    alone = FocalLGBMClassifier.from_booster(alone.booster_, loss, start=start)
    scores = [loss.mean(y_test, model.decision_function(X_test)) for model in (here, alone)]
    assert_allclose(scores[0], scores[1], rtol=0.03)


# --- last, since a worker dies ----------------------------------------------------------------------------


class Deadly:
    """A loss that kills its worker in one round."""

    def __init__(self, loss: Any, round: int) -> None:
        self.loss, self.round, self.calls = loss, round, 0

    def __call__(self, margin: Any, data: Any) -> Any:
        self.calls += 1
        if self.calls > self.round and xgb.collective.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.loss(margin, data)


def test_a_killed_worker_ends_training_with_an_error_and_leaves_the_loss_usable(client: Any) -> None:
    X, y, _ = rows(BINARY)
    data = xgb.dask.DaskQuantileDMatrix(client, *spread(client, [3000, 3000], X, y))
    with pytest.raises(Exception, match=r"cancelled|Killed|lost|src/collective/|[Aa]llreduce"):  # or what the other saw
        xgb.dask.train(client, parameters(BINARY, 0.0), data, 50, obj=Deadly(BINARY, 3))
    client.wait_for_workers(2, timeout=60)
    again = xgb.dask.DaskQuantileDMatrix(client, *spread(client, [3000, 3000], X, y))
    trained = xgb.dask.train(client, parameters(BINARY, 0.0), again, 3, obj=BINARY)
    alone = xgb.train(parameters(BINARY, 0.0), xgb.QuantileDMatrix(X, y), 3, obj=BINARY)
    assert_allclose(margins(trained["booster"], X), margins(alone, X), atol=1e-4)
