"""One fit of a contender: the engine's own classifier, rows weighted by class or not, or ours."""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contenders import Contender, Engine, Hyperparameters

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
    """What one fit needs besides the data; `parameters` are those that any classifier of the engine takes."""

    engine: Engine
    contender: Contender
    parameters: dict[str, Any]
    hyperparameters: Hyperparameters
    rounds: int
    threads: int
    seed: int


@dataclass(frozen=True)
class Fitted:
    """Probabilities of rows, and the rounds that were best."""

    predict: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    rounds: int


def train(job: Job, data: Data, rows: NDArray[Any], validation: NDArray[Any] | None = None) -> Fitted:
    """Fit on `rows`; with `validation`, stop when the loss that is trained no longer falls there.

    Each contender stops by its own loss, as its users do. Average precision of few positives is too
    rough to stop by. One metric for all contenders then judges which of their fits is best.
    """
    recipe = job.contender.recipe(job.engine, job.hyperparameters, data.labels[rows], data.n_classes)
    parameters = {"n_estimators": job.rounds, "n_jobs": job.threads, "random_state": job.seed, **job.parameters}
    metric = "focal" if recipe.focal and validation is not None else None

    def weights(chosen: NDArray[Any]) -> NDArray[np.float32] | None:
        return None if recipe.class_weights is None else recipe.class_weights.astype(np.float32)[data.labels[chosen]]

    options: dict[str, Any] = {"sample_weight": weights(rows)}
    if validation is not None:
        options["eval_set"] = [(data.matrix[validation], data.labels[validation])]
    weighted = None if validation is None or recipe.class_weights is None else [weights(validation)]
    if job.engine == "xgboost":
        kinds = ["c" if i in data.categorical else "q" for i in range(data.matrix.shape[1])]
        parameters |= {"feature_types": kinds, "enable_categorical": True, "eval_metric": metric}
        parameters |= {} if validation is None else {"early_stopping_rounds": PATIENCE}
        options |= {"sample_weight_eval_set": weighted, "verbose": False}
    else:
        from lightgbm import early_stopping

        parameters |= {"verbosity": -1, "deterministic": True, "force_row_wise": True}
        stop = [] if validation is None else [early_stopping(PATIENCE, verbose=False)]
        options |= {"eval_sample_weight": weighted, "eval_metric": metric, "callbacks": stop,
                    "categorical_feature": data.categorical}  # fmt: skip
    model = getattr(import_module(recipe.module), recipe.name)(**parameters, **recipe.parameters)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no tree of this")  # a trial may be that bad
        warnings.filterwarnings("ignore", ".*eval_set")  # LightGBM below 4.7 has no other name for it
        model.fit(data.matrix[rows], data.labels[rows], **options)
    best = job.rounds
    if validation is not None:
        best = model.best_iteration + 1 if job.engine == "xgboost" else model.best_iteration_

    def predict(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*mismatched devices")  # of a model on a GPU, and rows that are not
            proba = np.asarray(model.predict_proba(matrix), np.float64)
        return proba[:, 1] if data.n_classes == 2 else proba

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
