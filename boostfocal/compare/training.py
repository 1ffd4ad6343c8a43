"""One fit on either engine: the engine's own log loss, weighted or not, or our objective."""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boostfocal.base import FocalLossBase

from .contenders import Engine

PATIENCE = 30  # rounds without a better validation score before training stops


@dataclass(frozen=True)
class Data:
    """The whole table as both engines take it."""

    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    n_classes: int
    categorical: list[int]
    amount: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Job:
    """What one fit needs besides the data; `loss` None is the engine's own log loss."""

    engine: Engine
    parameters: dict[str, Any]
    loss: FocalLossBase | None
    class_weights: NDArray[np.float64] | None
    rounds: int
    threads: int
    seed: int

    def weights(self, labels: NDArray[Any]) -> NDArray[np.float32] | None:
        return None if self.class_weights is None else self.class_weights.astype(np.float32)[labels]


@dataclass(frozen=True)
class Fitted:
    """Probabilities of rows, as users of the objective read them, and the rounds that were best."""

    predict: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    rounds: int


def train(job: Job, data: Data, rows: NDArray[Any], validation: NDArray[Any] | None = None) -> Fitted:
    """Fit on `rows`; with `validation`, stop when the loss that is trained no longer falls there.

    Each contender stops by its own loss, as its users do. Average precision of few positives is too
    rough to stop by. One metric for all contenders then judges which of their fits is best.
    """
    return {"xgboost": _xgboost, "lightgbm": _lightgbm}[job.engine](job, data, rows, validation)


def _xgboost(job: Job, data: Data, rows: NDArray[Any], validation: NDArray[Any] | None) -> Fitted:
    import xgboost

    kinds = ["c" if i in data.categorical else "q" for i in range(data.matrix.shape[1])]
    options = {"feature_types": kinds, "enable_categorical": True, "nthread": job.threads}

    def dataset(chosen: NDArray[Any], reference: Any = None) -> Any:
        labels = data.labels[chosen]
        matrix = data.matrix[chosen]
        return xgboost.QuantileDMatrix(matrix, labels, weight=job.weights(labels), ref=reference, **options)

    train_set = dataset(rows)
    parameters = {"nthread": job.threads, "seed": job.seed, **job.parameters}
    stop: dict[str, Any] = {}
    if validation is not None:
        stop = {"evals": [(dataset(validation, train_set), "validation")], "early_stopping_rounds": PATIENCE}
    if data.n_classes > 2:
        parameters["num_class"] = data.n_classes
    if job.loss is None:
        parameters["objective"] = "binary:logistic" if data.n_classes == 2 else "multi:softprob"
    else:
        start = np.asarray(job.loss.optimal_margin(data.labels[rows])).tolist()
        parameters |= {"base_score": start, "disable_default_eval_metric": 1}
        stop |= {"obj": job.loss, "custom_metric": job.loss.metric}
    booster = xgboost.train(parameters, train_set, job.rounds, verbose_eval=False, **stop)
    best = booster.best_iteration + 1 if validation is not None else job.rounds

    def predict(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = booster.predict(
            xgboost.DMatrix(matrix, **options), iteration_range=(0, best), output_margin=job.loss is not None
        )
        return np.asarray(scores, np.float64) if job.loss is None else job.loss.predict_proba(scores)

    return Fitted(predict, best)


def _lightgbm(job: Job, data: Data, rows: NDArray[Any], validation: NDArray[Any] | None) -> Fitted:
    import lightgbm

    start: Any = 0.0 if job.loss is None else job.loss.optimal_margin(data.labels[rows])
    own = {"objective": "binary"} if data.n_classes == 2 else {"objective": "multiclass"}
    classes = {} if data.n_classes == 2 else {"num_class": data.n_classes}
    parameters = {
        "num_threads": job.threads, "seed": job.seed, "verbosity": -1, "deterministic": True, "force_row_wise": True,
        **(own if job.loss is None else {"objective": job.loss}), **classes, **job.parameters,
    }  # fmt: skip

    shared = {k: v for k, v in parameters.items() if k in ("verbosity", "num_threads", "device_type")}

    def dataset(chosen: NDArray[Any], reference: Any = None) -> Any:
        labels = data.labels[chosen]
        begin = None if job.loss is None else np.full((chosen.size, *np.shape(start)), start)
        return lightgbm.Dataset(
            data.matrix[chosen], labels, weight=job.weights(labels), reference=reference, init_score=begin,
            categorical_feature=data.categorical, params=shared,
        )  # fmt: skip

    train_set = dataset(rows)
    stop: dict[str, Any] = {}
    if validation is not None:
        callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
        stop = {"valid_sets": [dataset(validation, train_set)], "callbacks": callbacks}
    if job.loss is not None:
        parameters["metric"] = "None"
        stop |= {"feval": job.loss.metric}
    booster = lightgbm.train(parameters, train_set, job.rounds, **stop)
    best = (booster.best_iteration or booster.current_iteration()) if validation is not None else job.rounds

    def predict(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = np.asarray(booster.predict(matrix, num_iteration=best, num_threads=job.threads)) + start
        return np.asarray(scores, np.float64) if job.loss is None else job.loss.predict_proba(scores)

    return Fitted(predict, best)


def missing_device(engine: Engine, parameters: dict[str, Any]) -> str:
    """Why the engine cannot train with the device in `parameters` here, or nothing if it can."""
    X, y = np.arange(200.0, dtype=np.float32).reshape(-1, 1), np.arange(200) % 2
    if engine == "xgboost":
        import xgboost

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says what the next lines find out
            try:
                booster = xgboost.train({**parameters, "verbosity": 0}, xgboost.DMatrix(X, y), 1)
            except xgboost.core.XGBoostError as error:
                return str(error)
        used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
        return "" if used.startswith(parameters["device"]) else f"it found no such device, and took {used}"
    import lightgbm

    if parameters["device_type"] == "gpu" and not os.environ.get("HOME"):
        return "HOME is not set, where LightGBM keeps compiled kernels; it would crash"
    try:
        lightgbm.train({**parameters, "verbosity": -1, "objective": "binary"}, lightgbm.Dataset(X, y), 1)
    except lightgbm.basic.LightGBMError as error:
        return str(error)
    return ""
