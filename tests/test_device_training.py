"""Training whose gradients are computed where the booster is: the model of plain training, bit for bit.

On the CPU its rows, margins and gradients are the host's, so that all of it runs without a GPU but the copies.
"""

import os
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from numba import config
from numpy.testing import assert_allclose, assert_array_equal
from test_classifiers import needs_categories

from boostfocal import FocalLoss, SoftmaxFocalLoss, TrainingOnDevice

N, K = 3000, 3
BINARY, SOFTMAX = FocalLoss(2.0, 0.25), SoftmaxFocalLoss(K, 2.0, [1.0, 2.0, 0.5])
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(loss: Any, seed: int = 0) -> Rows:
    """Rows of which some lack a value, labels, and weights."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(N, 6)).astype(np.float32)
    score = X[:, 0] + X[:, 1] * X[:, 2] + random.logistic(size=N)
    y = np.digitize(score, [0.5, 2.0]) if loss is SOFTMAX else score > 1.5
    X[random.random(X.shape) < 0.1] = np.nan
    return X, y.astype(np.float32), random.uniform(0.5, 2, N).astype(np.float32)


def parameters(loss: Any, y: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    start = np.asarray(loss.optimal_margin(y, weights)).tolist()
    several = {"num_class": K} if loss is SOFTMAX else {}
    return {"base_score": start, "disable_default_eval_metric": 1, "nthread": 2, "seed": 3, **several}


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sampling": {"subsample": 0.5, "colsample_bytree": 0.5},
    "several trees a round": {"num_parallel_tree": 3, "subsample": 0.7},
    "by leaf": {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0},
    "exact": {"tree_method": "exact"},
    "approx": {"tree_method": "approx"},
    "dart": {"booster": "dart", "rate_drop": 0.3},
    "monotone": {"monotone_constraints": (1, 0, 0, 0, 0, -1)},
}
LOSSES = pytest.mark.parametrize("loss", [BINARY, SOFTMAX], ids=["binary", "multiclass"])


def model(booster: xgb.Booster) -> bytes:
    return bytes(booster.save_raw("json"))


@pytest.mark.filterwarnings("ignore:.*dart. is deprecated")
@pytest.mark.parametrize("option", OPTIONS)
@LOSSES
def test_it_grows_the_trees_of_plain_training(loss: Any, option: str) -> None:
    X, y, weights = rows(loss)
    given = parameters(loss, y, weights) | OPTIONS[option]
    plain = xgb.train(given, xgb.DMatrix(X, y, weight=weights), 12, obj=loss)
    callback = TrainingOnDevice(loss, X, y, weights)
    assert model(xgb.train(given, xgb.DMatrix(X, y, weight=weights), 12, callbacks=[callback])) == model(plain)


@pytest.mark.parametrize("given", ["rows", "no rows"])
@LOSSES
def test_early_stopping_schedules_and_base_margins_are_those_of_plain_training(loss: Any, given: str) -> None:
    (X, y, weights), (X_valid, y_valid, _) = rows(loss), rows(loss, seed=1)
    shape = (N, K) if loss is SOFTMAX else (N,)
    margins = [np.random.default_rng(seed).normal(size=shape) for seed in (5, 6)]
    found = []
    for own in (False, True):
        data = xgb.QuantileDMatrix(X, y, weight=weights, base_margin=margins[0])
        valid = xgb.QuantileDMatrix(X_valid, y_valid, base_margin=margins[1], ref=data)
        results: dict[str, Any] = {}
        callbacks = [xgb.callback.LearningRateScheduler(lambda i: 0.5 * 0.9**i)]
        callbacks += [TrainingOnDevice(loss, X if given == "rows" else None, y, weights)] if own else []
        booster = xgb.train(
            parameters(loss, y, weights) | {"base_score": np.zeros(shape[1:]).tolist()}, data, 60, obj=loss,
            custom_metric=loss.metric, evals=[(valid, "valid")], early_stopping_rounds=3, evals_result=results,
            callbacks=callbacks, verbose_eval=False,
        )  # fmt: skip
        found.append((model(booster), booster.best_iteration, results))
    assert found[0] == found[1]


@LOSSES
def test_continued_training_begins_at_the_margins_of_the_model(loss: Any) -> None:
    X, y, weights = rows(loss)
    given = parameters(loss, y, weights)
    data = xgb.DMatrix(X, y, weight=weights)
    first = xgb.train(given, data, 5, obj=loss)
    del given["base_score"]
    plain = xgb.train(given, data, 5, obj=loss, xgb_model=first)
    own = xgb.train(given, data, 5, xgb_model=first, callbacks=[TrainingOnDevice(loss, X, y, weights)])
    assert model(own) == model(plain)


@needs_categories
@LOSSES
def test_categories_and_a_missing_value_of_ones_own(loss: Any) -> None:
    X, y, weights = rows(loss)
    frame = pd.DataFrame(np.nan_to_num(X, nan=-99.0))
    frame[5] = pd.Categorical(np.random.default_rng(2).integers(0, 8, N))
    given = parameters(loss, y, weights)

    def data() -> xgb.DMatrix:
        return xgb.DMatrix(frame, y, weight=weights, missing=-99.0, enable_categorical=True)

    plain = xgb.train(given, data(), 12, obj=loss)
    own = xgb.train(given, data(), 12, callbacks=[TrainingOnDevice(loss, frame, y, weights, missing=-99.0)])
    assert model(own) == model(plain)


@pytest.mark.filterwarnings("ignore")  # XGBoost says that it is rarely used
def test_trees_that_are_refreshed_are_those_of_plain_training() -> None:
    X, y, weights = rows(BINARY)
    given = parameters(BINARY, y, weights)
    first = xgb.train(given, xgb.DMatrix(X[:2000], y[:2000]), 5, obj=BINARY)
    del given["base_score"]
    given |= {"process_type": "update", "updater": "refresh", "refresh_leaf": True}
    data = xgb.DMatrix(X, y, weight=weights)
    plain = xgb.train(given, data, 5, obj=BINARY, xgb_model=first)
    own = xgb.train(given, data, 5, xgb_model=first, callbacks=[TrainingOnDevice(BINARY, X, y, weights)])
    assert model(own) == model(plain)


def test_bad_labels_are_refused_as_by_the_loss() -> None:
    X, y, weights = rows(BINARY)
    with pytest.raises(ValueError, match="y must be in"):
        xgb.train({}, xgb.DMatrix(X, y), 2, callbacks=[TrainingOnDevice(BINARY, X, y + 2)])
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        xgb.train({}, xgb.DMatrix(X, y), 2, callbacks=[TrainingOnDevice(BINARY, X, y, weights[1:])])


@pytest.mark.gpu
@pytest.mark.skipif(bool(config.ENABLE_CUDASIM), reason="no CUDA device: the tests above are its twins")
@pytest.mark.parametrize("where", ["rows on the device", "rows on the host"])
@LOSSES
def test_on_cuda_it_is_the_model_of_plain_training(loss: Any, where: str) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert os.path.exists("/proc/driver/nvidia")
    X, y, weights = rows(loss)
    given = parameters(loss, y, weights) | {"device": "cuda"}
    device_X = cupy.asarray(X)
    plain = xgb.train(given, xgb.QuantileDMatrix(device_X, y, weight=weights), 20, obj=loss)
    callback = TrainingOnDevice(loss, device_X if where == "rows on the device" else X, y, weights)
    own = xgb.train(given, xgb.QuantileDMatrix(device_X, y, weight=weights), 20, callbacks=[callback])
    margins = [booster.predict(xgb.DMatrix(X), output_margin=True) for booster in (plain, own)]
    # gradients differ in their last digits, so a row may change sides where two splits are as good
    assert np.mean(np.abs(margins[0] - margins[1]) > 1e-3) < 0.02
    assert_allclose(loss.mean(y, margins[1], weights), loss.mean(y, margins[0], weights), rtol=1e-3)
    assert_array_equal(np.isfinite(margins[1]), True)
