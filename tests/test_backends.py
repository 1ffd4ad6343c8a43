"""Training with the engines' other options, on each of their devices, and on data larger than memory.

LightGBM's OpenCL backend runs for real where there is a device, which may be a CPU (PoCL); XGBoost's CUDA backend
where there is a GPU.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import average_precision_score, log_loss
from typer.testing import CliRunner

from boostfocal import (
    FocalLGBMClassifier,
    FocalLoss,
    FocalXGBClassifier,
    MacroAveragePrecision,
    SoftmaxFocalLoss,
    devices,
)
from boostfocal.cli import app
from boostfocal.compare.training import missing_device

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

K, ROWS, ROUNDS = 4, 6000, 15
BINARY, SOFTMAX = FocalLoss(2.0, 0.25), SoftmaxFocalLoss(K, 2.0)
LOSSES = pytest.mark.parametrize("loss", [BINARY, SOFTMAX], ids=["binary", "4 classes"])

why_no_opencl = missing_device("lightgbm", {"device_type": "gpu"})
why_no_cuda = missing_device("xgboost", {"device": "cuda"})
opencl = pytest.mark.skipif(bool(why_no_opencl), reason=f"LightGBM trains on no OpenCL device: {why_no_opencl}")
cuda = [pytest.mark.gpu, pytest.mark.skipif(bool(why_no_cuda), reason=f"XGBoost trains on no GPU: {why_no_cuda}")]

LIGHTGBM_DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("gpu", marks=opencl)])
XGBOOST_DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])

Rows = tuple[np.ndarray, np.ndarray]


def rows(loss: Any, seed: int = 0, n: int = ROWS) -> Rows:
    """Four numeric features and a category of ten codes; 6 % positives, or four classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X[:, 4] = rng.integers(0, 10, n)
    score = X[:, 0] + X[:, 1] * X[:, 2] + (X[:, 4] % 3 == 0) + rng.normal(size=n)
    y = score > 2.8 if loss is BINARY else np.digitize(score, [-1, 1, 2.5])
    return X.astype(np.float32), y.astype(np.float32)


def starts(loss: Any, y: np.ndarray) -> np.ndarray:
    start = loss.optimal_margin(y)
    return np.full((len(y), *np.shape(start)), start)


def average_precision(loss: Any, y: np.ndarray, margin: np.ndarray) -> float:
    return average_precision_score(y, margin) if loss is BINARY else MacroAveragePrecision(loss).score(y, margin)


def lightgbm(loss: Any, options: dict[str, Any], X: np.ndarray, y: np.ndarray, **more: Any) -> Any:
    several = {"num_class": K} if loss is SOFTMAX else {}
    shared = {"verbosity": -1, "metric": "None", "num_threads": 1, "seed": 1, **several, **options}
    data = lgb.Dataset(X, y, init_score=starts(loss, y), params=shared, free_raw_data=False)
    return lgb.train({**shared, "objective": loss}, data, more.pop("rounds", ROUNDS), **more)


def xgboost(loss: Any, options: dict[str, Any], data: Any, y: np.ndarray, **more: Any) -> Any:
    several = {"num_class": K} if loss is SOFTMAX else {}
    start = np.asarray(loss.optimal_margin(y)).tolist()
    shared = {"base_score": start, "disable_default_eval_metric": 1, "nthread": 1, "seed": 1, **several}
    return xgb.train({**shared, **options}, data, ROUNDS, obj=loss, **more)


# --- LightGBM on OpenCL ------------------------------------------------------------------------------------


@opencl
@LOSSES
def test_opencl_learns_as_the_cpu_does(loss: Any) -> None:
    (X, y), (X_valid, y_valid) = rows(loss), rows(loss, seed=1)
    found = []
    for device in ("cpu", "gpu"):
        record: dict[str, Any] = {}
        valid = lgb.Dataset(X_valid, y_valid, init_score=starts(loss, y_valid), params={"device_type": device})
        booster = lightgbm(
            loss, {"device_type": device, "learning_rate": 0.3}, X, y, rounds=100, valid_sets=[valid],
            feval=loss.metric, callbacks=[lgb.early_stopping(5, verbose=False), lgb.record_evaluation(record)],
        )  # fmt: skip
        margin = booster.predict(X_valid) + loss.optimal_margin(y)
        found.append((booster.best_iteration, record["valid_0"]["focal"], average_precision(loss, y_valid, margin)))
    (best, curve, precision), (best_gpu, curve_gpu, precision_gpu) = found
    assert 5 < best < 90
    assert abs(best_gpu - best) <= 2
    n = min(len(curve), len(curve_gpu))
    assert_allclose(curve_gpu[:n], curve[:n], rtol=0.01)
    assert abs(precision_gpu - precision) < 0.01


@opencl
@LOSSES
def test_the_classifier_trains_on_opencl(loss: Any, tmp_path: Path) -> None:
    (X, y), (X_valid, y_valid) = rows(loss), rows(loss, seed=1)
    options = {"n_estimators": ROUNDS, "verbosity": -1, "n_jobs": 1, "early_stopping_round": 5}
    proba = []
    for device in ("cpu", "gpu"):
        model = FocalLGBMClassifier(device_type=device, **options)
        model.fit(X, y, eval_X=(X_valid,), eval_y=(y_valid,), eval_metric="average_precision")
        model.save_model(tmp_path / device)
        assert_allclose(FocalLGBMClassifier().load_model(tmp_path / device).predict_proba(X), model.predict_proba(X))
        proba.append(model.predict_proba(X))
    assert np.abs(proba[0] - proba[1]).mean() < 1e-3


@opencl
def test_compare_trains_on_opencl() -> None:
    done = CliRunner().invoke(
        app,
        ["compare", "--engine", "lightgbm", "--device", "gpu", "--folds", "2", "--repeats", "1", "--trials", "1"],
    )
    assert done.exit_code == 0, done.output
    assert "device_type='gpu'" in done.output


@pytest.mark.skipif(not why_no_cuda, reason="there is a GPU")
def test_compare_refuses_a_device_that_is_not_there() -> None:
    done = CliRunner().invoke(app, ["compare", "--engine", "xgboost", "--device", "cuda"])
    assert done.exit_code == 2
    assert "--device must be one that xgboost can use here, got cuda" in done.output


# --- LightGBM's options ------------------------------------------------------------------------------------


LIGHTGBM_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bagging": {"bagging_fraction": 0.5, "bagging_freq": 1},
    "GOSS": {"data_sample_strategy": "goss"},
    "DART": {"boosting": "dart"},
    "monotone, basic": {"monotone_constraints": [1, 0, 0, 0, 0]},
    "monotone, intermediate": {"monotone_constraints": [1, 0, 0, 0, 0], "monotone_constraints_method": "intermediate"},
    "monotone, advanced": {"monotone_constraints": [1, 0, 0, 0, 0], "monotone_constraints_method": "advanced"},
    "categorical": {"categorical_feature": [4]},
    "quantized": {"use_quantized_grad": True, "quant_train_renew_leaf": True},
    "max_delta_step": {"max_delta_step": 1.0},
    "linear trees": {"linear_tree": True, "linear_lambda": 1.0},
    "extra trees": {"extra_trees": True},
    "interactions": {"interaction_constraints": [[0, 1, 2], [3, 4]]},
    "path_smooth": {"path_smooth": 5.0},
    "float64 on the device": {"gpu_use_dp": True},
}


@LIGHTGBM_DEVICES
@pytest.mark.parametrize("option", LIGHTGBM_OPTIONS)
def test_lightgbm_learns_with_option(option: str, device: str) -> None:
    (X, y), (X_test, y_test) = rows(BINARY), rows(BINARY, seed=1)
    booster = lightgbm(BINARY, {**LIGHTGBM_OPTIONS[option], "device_type": device}, X, y)
    margin = booster.predict(X_test) + BINARY.optimal_margin(y)
    assert average_precision(BINARY, y_test, margin) > 0.45  # the share of positives is 0.06
    assert BINARY.mean(y_test, margin) < 0.75 * BINARY.mean(y_test, starts(BINARY, y_test))
    if option.startswith("monotone"):
        moved = X_test + np.array([0.5, 0, 0, 0, 0], np.float32)
        assert (booster.predict(moved) >= booster.predict(X_test) - 1e-6).all()


@pytest.mark.parametrize("option", ["plain", "bagging", "GOSS", "DART", "quantized", "categorical"])
def test_lightgbm_learns_classes_with_option(option: str) -> None:
    (X, y), (X_test, y_test) = rows(SOFTMAX), rows(SOFTMAX, seed=1)
    booster = lightgbm(SOFTMAX, LIGHTGBM_OPTIONS[option], X, y)
    margin = booster.predict(X_test) + SOFTMAX.optimal_margin(y)
    assert average_precision(SOFTMAX, y_test, margin) > 0.5
    assert SOFTMAX.mean(y_test, margin) < 0.8 * SOFTMAX.mean(y_test, starts(SOFTMAX, y_test))


@pytest.mark.parametrize("name", ["pos_bagging_fraction", "neg_bagging_fraction"])
def test_bagging_by_label_is_refused_since_lightgbm_would_ignore_it(name: str) -> None:
    X, y = rows(BINARY)
    with pytest.raises(ValueError, match=f"{name} must be left out"):
        FocalLGBMClassifier(**{name: 0.5}).fit(X, y)


# --- XGBoost's options -------------------------------------------------------------------------------------


XGBOOST_OPTIONS: dict[str, dict[str, Any]] = {
    "hist": {},
    "approx": {"tree_method": "approx"},
    "exact": {"tree_method": "exact"},
    "dart": {"booster": "dart", "rate_drop": 0.1, "skip_drop": 0.5},
    "subsample": {"subsample": 0.5},
    "monotone": {"monotone_constraints": (1, 0, 0, 0, 0)},
    "interactions": {"interaction_constraints": "[[0, 1, 2], [3, 4]]"},
    "lossguide": {"grow_policy": "lossguide", "max_leaves": 15, "max_depth": 0},
    "max_delta_step": {"max_delta_step": 1.0},
    "forest": {"num_parallel_tree": 3, "subsample": 0.7},
    "colsample": {"colsample_bynode": 0.7},
    "categorical": {"max_cat_to_onehot": 2},
}


@XGBOOST_DEVICES
@pytest.mark.parametrize("option", XGBOOST_OPTIONS)
def test_xgboost_learns_with_option(option: str, device: str) -> None:
    if device == "cuda" and option == "exact":
        pytest.skip("XGBoost has exact on the CPU alone")
    (X, y), (X_test, y_test) = rows(BINARY), rows(BINARY, seed=1)
    kinds = {"feature_types": ["q"] * 4 + ["c"], "enable_categorical": True} if option == "categorical" else {}
    booster = xgboost(BINARY, {**XGBOOST_OPTIONS[option], "device": device}, xgb.DMatrix(X, y, **kinds), y)
    margin = booster.predict(xgb.DMatrix(X_test, **kinds), output_margin=True)
    assert average_precision(BINARY, y_test, margin) > 0.45
    assert BINARY.mean(y_test, margin) < 0.75 * BINARY.mean(y_test, starts(BINARY, y_test))
    if option == "monotone":
        moved = xgb.DMatrix(X_test + np.array([0.5, 0, 0, 0, 0], np.float32))
        assert (booster.predict(moved, output_margin=True) >= margin - 1e-6).all()


@pytest.mark.parametrize("option", [{}, {"multi_strategy": "multi_output_tree"}, {"tree_method": "approx"}], ids=str)
def test_xgboost_learns_classes_with_option(option: dict[str, Any]) -> None:
    (X, y), (X_test, y_test) = rows(SOFTMAX), rows(SOFTMAX, seed=1)
    booster = xgboost(SOFTMAX, option, xgb.DMatrix(X, y), y)
    margin = booster.predict(xgb.DMatrix(X_test), output_margin=True)
    assert average_precision(SOFTMAX, y_test, margin) > 0.5
    assert SOFTMAX.mean(y_test, margin) < 0.8 * SOFTMAX.mean(y_test, starts(SOFTMAX, y_test))


@pytest.mark.gpu
@pytest.mark.skipif(bool(why_no_cuda), reason=f"XGBoost trains on no GPU: {why_no_cuda}")
@LOSSES
@pytest.mark.parametrize("where", ["host", "device"])
def test_the_classifier_trains_on_cuda(loss: Any, where: str) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    (X, y), (X_test, y_test) = rows(loss), rows(loss, seed=1)
    given = (cupy.asarray(X), cupy.asarray(y)) if where == "device" else (X, y)
    gpu = FocalXGBClassifier(n_estimators=ROUNDS, device="cuda").fit(*given)
    assert devices.compute()  # the gradients were the device's
    # XGBoost finds other bins for rows on the device: the model is that of plain training on the same rows
    several = {"num_class": K} if loss is SOFTMAX else {}
    plain = xgboost(gpu.loss_, {"device": "cuda", **several}, xgb.QuantileDMatrix(*given), y)
    margins = [gpu.predict(X, output_margin=True), plain.predict(xgb.DMatrix(X), output_margin=True)]
    assert np.mean(np.abs(margins[0] - margins[1]) > 1e-3) < 0.02
    cpu = FocalXGBClassifier(n_estimators=ROUNDS).fit(X, y)
    if where == "host":
        assert np.abs(cpu.predict_proba(X) - gpu.predict_proba(X)).mean() < 1e-2
    scores = [log_loss(y_test, model.predict_proba(X_test)) for model in (cpu, gpu)]
    assert abs(scores[1] / scores[0] - 1) < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(bool(why_no_cuda), reason=f"XGBoost trains on no GPU: {why_no_cuda}")
@LOSSES
def test_a_model_is_kept_right_with_rows_on_the_device(loss: Any) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    model = FocalXGBClassifier(n_estimators=ROUNDS, device="cuda").fit(*rows(loss))
    X, y = rows(loss, seed=1)
    there = cupy.asarray(X), cupy.asarray(y), cupy.ones(y.size)
    on_device, on_host = model.check(*there, cv=3), model.check(X, y, np.ones(y.size), cv=3)
    assert on_device.advice == on_host.advice
    for found, expected in zip(on_device.rates, on_host.rates, strict=True):
        assert_allclose((found.expected, found.low, found.high), (expected.expected, expected.low, expected.high))
    before = model.predict_proba(X)
    device_model, host_model = (copy.deepcopy(model).recalibrate(*given) for given in (there, (X, y, np.ones(y.size))))
    assert_allclose(device_model.predict_proba(there[0]), host_model.predict_proba(X), rtol=1e-5, atol=1e-7)
    assert log_loss(y, device_model.predict_proba(X)) < log_loss(y, before)


# --- larger than memory ------------------------------------------------------------------------------------


class Batches(xgb.DataIter):
    def __init__(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray, folder: Path | None) -> None:
        self.parts = list(zip(*(np.array_split(array, 3) for array in (X, y, weights)), strict=True))
        self.next_part = 0
        super().__init__(cache_prefix=None if folder is None else str(folder / "cache"))

    def next(self, input_data: Any) -> bool:
        if self.next_part == len(self.parts):
            return False
        data, label, weight = self.parts[self.next_part]
        input_data(data=data, label=label, weight=weight)
        self.next_part += 1
        return True

    def reset(self) -> None:
        self.next_part = 0


@pytest.mark.parametrize("kind", ["DMatrix", "QuantileDMatrix", "ExtMemQuantileDMatrix"])
@pytest.mark.parametrize("loss", [BINARY, SOFTMAX, FocalLoss(1.0)], ids=["binary", "4 classes", "two labels"])
def test_xgboost_from_batches_gives_the_model_of_memory(loss: Any, kind: str, tmp_path: Path) -> None:
    X, y = rows(SOFTMAX if loss is SOFTMAX else BINARY)
    if loss not in (BINARY, SOFTMAX):
        y = np.stack([y, (X[:, 0] > 1).astype(np.float32)], axis=1)
    weights = np.random.default_rng(2).uniform(0.5, 2, len(X)).astype(np.float32)
    results: list[dict[str, Any]] = [{}, {}]
    margins = []
    batches = Batches(X, y, weights, None if kind == "QuantileDMatrix" else tmp_path)  # which keeps no cache on disk
    for data, result in zip((xgb.DMatrix(X, y, weight=weights), getattr(xgb, kind)(batches)), results, strict=True):
        booster = xgboost(
            loss, {}, data, y, custom_metric=loss.metric, evals=[(data, "train")], evals_result=result,
            verbose_eval=False,
        )  # fmt: skip
        margins.append(booster.predict(data, output_margin=True))
    assert_allclose(margins[1], margins[0], atol=1e-5)
    assert_allclose(results[1]["train"]["focal"], results[0]["train"]["focal"], atol=2e-6)
    assert_allclose(results[0]["train"]["focal"][-1], loss.mean(y, margins[0], weights), atol=1e-6)


class Rows32(lgb.Sequence):
    batch_size = 700

    def __init__(self, X: np.ndarray) -> None:
        self.X = X

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.X[index].astype(np.float64)

    def __len__(self) -> int:
        return len(self.X)


@pytest.mark.parametrize("source", ["Sequence", "two sequences", "file in two rounds", "binary file"])
@LOSSES
def test_lightgbm_from_elsewhere_gives_the_model_of_memory(loss: Any, source: str, tmp_path: Path) -> None:
    X, y = rows(loss)
    X = np.round(X, 3)
    options: dict[str, Any] = {"verbosity": -1, "metric": "None", "num_threads": 1}
    several = {"num_class": K} if loss is SOFTMAX else {}

    def train(data: Any) -> np.ndarray:
        start = starts(loss, y)
        data.construct()
        assert loss.optimal_margin(data.get_label()) == pytest.approx(loss.optimal_margin(y))
        data.set_init_score(start)
        return np.asarray(lgb.train({**options, **several, "objective": loss}, data, ROUNDS).predict(X))

    if source == "Sequence":
        data = lgb.Dataset(Rows32(X), y, params=options)
    elif source == "two sequences":
        data = lgb.Dataset([Rows32(X[:1000]), Rows32(X[1000:])], y, params=options)
    elif source == "binary file":
        lgb.Dataset(X, y, params=options).save_binary(tmp_path / "rows.bin")
        data = lgb.Dataset(tmp_path / "rows.bin", params=options)
    else:
        table = np.column_stack([y, X])
        np.savetxt(tmp_path / "rows.csv", table, "%.3f", ",", header="y,a,b,c,d,e", comments="")
        of_file = {"header": True, "label_column": "name:y", "two_round": True}
        data = lgb.Dataset(tmp_path / "rows.csv", params={**options, **of_file})
    assert_allclose(train(data), train(lgb.Dataset(X.astype(np.float64), y, params=options)), atol=1e-9)
