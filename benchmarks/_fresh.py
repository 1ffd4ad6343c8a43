"""One fresh process of `startup.py` or `scoring.py`. It does what it is asked for, and prints the seconds as JSON.

Modules are imported where they are needed, since importing is part of what is measured.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

CLASSES = 3


def seconds(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return perf_counter() - begin


def calls() -> dict[str, Any]:
    """The import, and five calls that share no kernel: the first and the second of each."""
    random = np.random.default_rng(0)
    y, z = random.integers(0, 2, 1000).astype(np.float32), random.standard_normal(1000, np.float32)
    classes, scores = random.integers(0, CLASSES, 1000).astype(np.float32), random.standard_normal((1000, CLASSES))

    def package() -> None:
        import boostfocal  # noqa: F401

    imported = seconds(package)
    from boostfocal import FocalLoss, SoftmaxFocalLoss

    loss, general, softmax = FocalLoss(2.0, 0.25), FocalLoss(1.3, 0.25), SoftmaxFocalLoss(CLASSES, 2.0)
    wide, narrow = z.astype(np.float64), scores.astype(np.float32)
    five: dict[str, Callable[[], object]] = {
        "binary": lambda: loss.gradient_hessian(y, z),
        "float64 margins": lambda: loss.gradient_hessian(y, wide),
        "any gamma": lambda: general.gradient_hessian(y, z),
        "metric": lambda: loss.mean(y, z),
        "three classes": lambda: softmax.gradient_hessian(classes, narrow),
    }
    return {"import": imported, **{name: [seconds(call), seconds(call)] for name, call in five.items()}}


def training(engine: str, kind: str, ours: bool, rows: int, rounds: int) -> dict[str, float]:
    """A small training: until its first round is done, and until all are; the package's import is part of both."""
    random = np.random.default_rng(0)
    X = random.standard_normal((rows, 10), np.float32)
    score = X[:, 0] + random.logistic(size=rows)
    y = np.digitize(score, [-1, 1]) if kind == "three classes" else (score > 1).astype(int)
    return (_xgboost if engine == "xgboost" else _lightgbm)(X, y, kind, ours, rounds)


def _loss(kind: str) -> Any:
    from boostfocal import FocalLoss, SoftmaxFocalLoss

    return SoftmaxFocalLoss(CLASSES, 2.0) if kind == "three classes" else FocalLoss(2.0, 0.25)


def _xgboost(X: Any, y: Any, kind: str, ours: bool, rounds: int) -> dict[str, float]:
    import xgboost as xgb

    done: list[float] = []

    class Clock(xgb.callback.TrainingCallback):
        def after_iteration(self, *_: Any) -> bool:
            done.append(perf_counter())
            return False

    data = xgb.DMatrix(X, y, nthread=2)
    parameters: dict[str, Any] = {"nthread": 2, "disable_default_eval_metric": kind != "with its metric" or ours}
    parameters |= {"num_class": CLASSES} if kind == "three classes" else {}
    options: dict[str, Any] = {"callbacks": [Clock()]}
    if kind == "with its metric":
        options |= {"evals": [(data, "train")], "verbose_eval": False}
    begin = perf_counter()
    if ours:
        loss = _loss(kind)
        options |= {"obj": loss} | ({"custom_metric": loss.metric} if kind == "with its metric" else {})
    else:
        parameters["objective"] = "multi:softprob" if kind == "three classes" else "binary:logistic"
    xgb.train(parameters, data, rounds, **options)
    return {"first round": done[0] - begin, "training": perf_counter() - begin}


def _lightgbm(X: Any, y: Any, kind: str, ours: bool, rounds: int) -> dict[str, float]:
    import lightgbm as lgb

    done: list[float] = []
    data = lgb.Dataset(X, y, params={"num_threads": 2, "verbosity": -1}).construct()
    parameters: dict[str, Any] = {"num_threads": 2, "verbosity": -1}
    parameters |= {"num_class": CLASSES} if kind == "three classes" else {}
    options: dict[str, Any] = {"callbacks": [lambda _: done.append(perf_counter())]}
    options |= {"valid_sets": [data]} if kind == "with its metric" else {}
    begin = perf_counter()
    if ours:
        loss = _loss(kind)
        parameters["objective"] = loss
        options |= {"feval": loss.metric} if kind == "with its metric" else {}
    else:
        parameters["objective"] = "multiclass" if kind == "three classes" else "binary"
    lgb.train(parameters, data, rounds, **options)
    return {"first round": done[0] - begin, "training": perf_counter() - begin}


def scoring(path: str, parent: str) -> dict[str, float]:
    """Until a loaded model has answered one row, and the memory that it took then. `parent` is whose model it is."""
    row = np.zeros((1, 10), np.float32)
    before, begin = _mebibytes(), perf_counter()
    model: Any
    if not parent:
        import boostfocal

        model = boostfocal.load(path)
    elif parent == "xgboost":
        import xgboost as xgb

        model = xgb.XGBClassifier()
        model.load_model(path)
    else:
        import pickle

        with open(path, "rb") as file:  # the class has no other way to be kept
            model = pickle.load(file)
    model.predict_proba(row)
    return {"seconds": perf_counter() - begin, "MiB": _mebibytes() - before}


def onnx(path: str, dtype: str) -> dict[str, float]:
    """The same with ONNX Runtime."""
    row = np.zeros((1, 10), dtype)
    before, begin = _mebibytes(), perf_counter()
    import onnxruntime

    onnxruntime.InferenceSession(path).run(["probabilities"], {"X": row})
    return {"seconds": perf_counter() - begin, "MiB": _mebibytes() - before}


def _mebibytes() -> float:
    """The most memory that the process has held. Linux only: elsewhere it is not a number."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return float(next((line.split()[1] for line in lines if line.startswith("VmHWM:")), "nan")) / 1024


if __name__ == "__main__":
    what, arguments, compiler = json.loads(sys.argv[1])
    if not compiler:
        import warnings

        warnings.simplefilter("ignore")
        sys.modules["llvmlite"] = None  # type: ignore[assignment]  # Python's way to say that it cannot be imported
    print(json.dumps(globals()[what](*arguments)))
