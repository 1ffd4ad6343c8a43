"""Time whole training with the objective at gamma 0, against the engine's own logistic loss and a replay.

The replay objective returns the gradients and Hessians that an earlier, identical run recorded: it
does no arithmetic, so it is the price of calling any Python objective; one that also asks the data set
for its labels is the price of any that looks at them, as XGBoost copies them at each call. With
``max_step=inf`` the trees are those of the engine's own loss, so that all do the same work.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, Seconds, parser, ratio
from numpy.typing import NDArray
from scipy.special import expit, logit

from boostfocal import FocalLoss

Gradients = tuple[NDArray[np.float32], NDArray[np.float32]]
Objective = Callable[[Any, Any], Gradients]
Train = Callable[[Objective | None], xgb.Booster | lgb.Booster]


def watched(loss: FocalLoss, results: list[Gradients] | None, seconds: list[float]) -> Objective:
    """The objective, noting how long it took and, if there is a list, what it returned.

    A function, because `lightgbm.train` copies its parameters in depth: an object would note in the copy.
    """

    def objective(margin: Any, data: Any) -> Gradients:
        begin = time.perf_counter()
        result = loss(margin, data)
        seconds.append(time.perf_counter() - begin)
        if results is not None:
            results.append(result)
        return result

    return objective


def rows(n: int, n_features: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, n_features)).astype(np.float32)
    margin = x[:, :5].sum(axis=1) + 2 * x[:, 5] * x[:, 6] - 4
    return x, (random.random(n) < expit(margin)).astype(np.float32)


def in_xgboost(x: NDArray[np.float32], y: NDArray[np.float32], rounds: int, threads: int) -> tuple[Train, Any]:
    data = xgb.QuantileDMatrix(x, y, nthread=threads)
    prior = float(y.mean())
    shared = {"tree_method": "hist", "nthread": threads, "disable_default_eval_metric": True}

    def train(objective: Objective | None) -> xgb.Booster:
        if objective is None:  # base_score is a probability where a link is named, else a margin
            own = {"objective": "binary:logistic", "base_score": prior}
            return xgb.train(shared | own, data, rounds)
        return xgb.train(shared | {"base_score": float(logit(prior))}, data, rounds, obj=objective)

    return train, lambda booster: booster.predict(data, output_margin=True)


def in_lightgbm(x: NDArray[np.float32], y: NDArray[np.float32], rounds: int, threads: int) -> tuple[Train, Any]:
    start = np.full(y.size, logit(float(y.mean())))
    shared = {"num_threads": threads, "force_col_wise": True, "boost_from_average": False, "verbose": -1}
    data = lgb.Dataset(x, y, init_score=start, params=shared).construct()

    def train(objective: Objective | None) -> lgb.Booster:
        return lgb.train(shared | {"objective": objective or "binary"}, data, rounds)

    return train, lambda booster: booster.predict(x, raw_score=True)


def main() -> int:
    options_parser = parser(__doc__)
    options_parser.add_argument("--threads", type=int, default=2, help="threads of the engine (default 2)")
    options = options_parser.parse_args()
    report = Report("training", options)
    n, rounds, repeats = (50_000, 10, 3) if options.quick else (1_000_000, 45, 9)
    x, y = rows(n, 30)
    loss = FocalLoss(0, max_step=np.inf)
    loss.gradient_hessian(y, y)  # compile
    report.note(f"{n:,} rows, 30 features, {y.mean():.1%} positive, {rounds} rounds, {options.threads} threads")

    table = []
    for engine, build in (("XGBoost", in_xgboost), ("LightGBM", in_lightgbm)):
        train, margins = build(x, y, rounds, options.threads)
        recorded: list[Gradients] = []
        booster = train(watched(loss, recorded, []))
        difference = float(np.abs(margins(booster) - margins(train(None))).max())

        def replay(train: Train = train, recorded: list[Gradients] = recorded) -> None:
            results = iter(recorded)
            train(lambda margin, data: next(results))

        def reading(train: Train = train, recorded: list[Gradients] = recorded) -> None:
            results = iter(recorded)
            train(lambda margin, data: (data.get_label(), data.get_weight(), next(results))[-1])

        inside: list[float] = []
        ours = watched(loss, None, inside)
        seconds = report.alternate({
            "built-in": lambda train=train: train(None),
            "ours": lambda train=train, ours=ours: train(ours),
            "replay": replay,
            "replay that reads the labels": reading,
        }, repeats, calm=True)  # fmt: skip
        built_in, own, replayed, read = seconds.values()
        table += [
            (
                engine,
                "seconds of training: built-in, ours, replay",
                *(float(np.median(s)) for s in (built_in, own, replayed)),
            ),
            (engine, "ours / built-in (quartiles)", *_quartiles(own / built_in)),
            (engine, "replay / built-in (quartiles)", *_quartiles(replayed / built_in)),
            (engine, "(ours - replay) / built-in (quartiles)", *_quartiles((own - replayed) / built_in)),
            (engine, "(replay that reads labels - replay) / built-in", *_quartiles((read - replayed) / built_in)),
            (engine, "milliseconds in the objective, a round (quartiles)", *_quartiles(1e3 * np.array(inside))),
        ]
        report.target(f"{engine}: largest difference of margins to the built-in's", difference, high=1e-5, timing=False)
        report.target(f"{engine}: above the replay, of the built-in's time", ratio(own - replayed, built_in), high=0.02)
        if engine == "LightGBM":
            report.target(f"{engine}: times the built-in objective's time", ratio(own, built_in), high=1)
    report.table("Whole training", ("engine", "figure", "1", "2", "3"), table)
    return report.finish()


def _quartiles(values: Seconds) -> list[float]:
    return [float(value) for value in np.quantile(values, [0.25, 0.5, 0.75])]


if __name__ == "__main__":
    sys.exit(main())
