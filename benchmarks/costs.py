"""What decisions save: true probabilities and the decision of least expected cost, beside cost-sensitive training.

On real tables with costs by row, each way of training is tuned alike: the same draws of learning rate, trees, depth and
penalties, and its own settings; the draw is chosen whose decisions save most on inner validation. A contender
is a way of training and a way of deciding: at a probability of one half, or at least expected cost.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, parser, shown
from _tables import WITH_COSTS, Loader
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.model_selection import train_test_split

from boostfocal import FocalLGBMClassifier, FocalXGBClassifier
from boostfocal.decisions import decide, savings
from boostfocal.intervals import of_mean

ROWS = 10_000  # of a table at most
FOLDS = 5
TRIALS = 12
ENGINES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "xgboost": (xgb.XGBClassifier, FocalXGBClassifier, {}),
    "lightgbm": (lgb.LGBMClassifier, FocalLGBMClassifier, {"verbosity": -1}),
}
DECISIONS: dict[str, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    "at 0.5": lambda proba, costs: (proba >= 0.5).astype(int),
    "at least cost": lambda proba, costs: decide(proba, costs),
}
OWN = ("log loss", "at least cost")  # beside which the others stand

Floats = NDArray[np.float64]
Rows = tuple[NDArray[np.float32], NDArray[np.int8], Floats]


@dataclass(frozen=True)
class Draw:
    """What every way of training takes alike, and a draw of its own settings."""

    learning_rate: float = 0.1
    n_estimators: int = 100
    max_depth: int = 3
    reg_lambda: float | None = None
    min_child_weight: float | None = None
    gamma: float = 0.5
    alpha: float = 0.5
    root: bool = False
    """Whether class weights are roots of the inverse frequencies."""

    def parameters(self, engine: str) -> dict[str, Any]:
        """By the engine's names; None is its default."""
        shared = ("learning_rate", "n_estimators", "max_depth", "reg_lambda", "min_child_weight")
        found = {name: value for name in shared if (value := getattr(self, name)) is not None}
        if engine == "lightgbm":
            found["num_leaves"] = 2**self.max_depth
        return found


def draws(n: int, seed: int) -> list[Draw]:
    """The first is the usual setting, the others are random."""
    random = np.random.default_rng(seed)
    found = [Draw()]
    while len(found) < n:
        rate, l2, hessian = np.exp(random.uniform(np.log([0.02, 0.1, 0.01]), np.log([0.3, 100.0, 10.0])))
        trees, depth = int(random.choice([50, 100, 200, 400])), int(random.integers(2, 7))
        gamma, alpha = float(random.choice([0.0, 0.5, 1.0, 2.0])), float(random.choice([0.25, 0.5, 0.75]))
        found.append(Draw(float(rate), trees, depth, float(l2), float(hessian), gamma, alpha, bool(random.integers(2))))
    return found


def log_loss(engine: str, draw: Draw, rows: Rows, X: NDArray[Any]) -> dict[str, Floats]:
    parent, _, options = ENGINES[engine]
    model = parent(n_jobs=1, **options, **draw.parameters(engine)).fit(rows[0], rows[1])
    return {"log loss": model.predict_proba(X)[:, 1]}


def weighted(engine: str, draw: Draw, rows: Rows, X: NDArray[Any]) -> dict[str, Floats]:
    """Rows weighted by class; as they are, and with the weight taken back out of the odds."""
    parent, _, options = ENGINES[engine]
    weight = (rows[1] == 0).sum() / (rows[1] == 1).sum()
    weight = np.sqrt(weight) if draw.root else weight
    model = parent(n_jobs=1, **options, **draw.parameters(engine))
    proba = model.fit(rows[0], rows[1], sample_weight=np.where(rows[1] == 1, weight, 1.0)).predict_proba(X)[:, 1]
    proba = proba.astype(np.float64)
    return {"weighted log loss": proba, "weighted, corrected": proba / (proba + weight * (1 - proba))}


def focal(engine: str, draw: Draw, rows: Rows, X: NDArray[Any]) -> dict[str, Floats]:
    _, ours, options = ENGINES[engine]
    model = ours(n_jobs=1, focal_gamma=draw.gamma, focal_alpha=draw.alpha, **options, **draw.parameters(engine))
    return {"focal loss": model.fit(rows[0], rows[1]).predict_proba(X)[:, 1]}


def cost_sensitive(engine: str, draw: Draw, rows: Rows, X: NDArray[Any]) -> dict[str, Floats]:
    """Expected cost as the loss, as empulse trains it; in units of the mean cost, so that penalties mean the same."""
    from empulse.models import CSBoostClassifier

    parent, _, options = ENGINES[engine]
    costs = rows[2] / rows[2].sum(axis=2).mean()
    named = {f"{name}_cost": costs[:, i, j] for name, i, j in (("tn", 0, 0), ("fp", 0, 1), ("fn", 1, 0), ("tp", 1, 1))}
    model = CSBoostClassifier(parent(n_jobs=1, **options, **draw.parameters(engine)))
    return {"CSBoost": model.fit(rows[0], rows[1], **named).predict_proba(X)[:, 1]}


TRAININGS = (log_loss, weighted, focal, cost_sensitive)


@cache
def numbers(load: Loader) -> Rows:
    """A table as every way of training takes it: numbers, a category by its code."""
    table = load().sample(ROWS)
    columns = [table.X[c].cat.codes if table.X[c].dtype == "category" else table.X[c] for c in table.X]
    assert table.costs is not None
    return np.column_stack(columns).astype(np.float32), table.y, table.costs


def chosen(rows: tuple[Any, ...], index: NDArray[Any]) -> Any:
    return tuple(each[index] for each in rows)


def judged(load: Loader, engine: str, fold: int, trials: int) -> dict[tuple[str, str], float]:
    """Savings on a test fold by training and decision."""
    rows = numbers(load)
    train, test = load().sample(ROWS).folds(FOLDS, 0)[fold]
    fit, validation = train_test_split(train, test_size=0.25, random_state=fold, stratify=rows[1][train])
    found = {}
    for training in TRAININGS:
        best: dict[tuple[str, str], tuple[float, Draw]] = {}
        for draw in draws(trials, fold):
            scores = saved(training(engine, draw, chosen(rows, fit), rows[0][validation]), chosen(rows, validation))
            for way, score in scores:
                best[way] = max(best.get(way, (-np.inf, draw)), (score, draw), key=lambda pair: pair[0])
        final = {
            draw: dict(saved(training(engine, draw, chosen(rows, train), rows[0][test]), chosen(rows, test)))
            for draw in {draw for _, draw in best.values()}
        }
        found |= {way: final[draw][way] for way, (_, draw) in best.items()}
    return found


def saved(probabilities: Mapping[str, Floats], rows: Rows) -> Iterator[tuple[tuple[str, str], float]]:
    _, y, costs = rows
    for name, proba in probabilities.items():
        for decision, of in DECISIONS.items():
            yield (name, decision), savings(y, of(proba, costs), costs)


def judge(report: Report, loads: Iterable[Loader], folds: int, trials: int) -> None:
    tasks = [(load, engine, fold) for load in loads for engine in ENGINES for fold in range(folds)]
    results = Parallel(-1, prefer="threads")(delayed(judged)(*task, trials) for task in tasks)
    found: dict[tuple[str, str], list[dict[tuple[str, str], float]]] = {}
    for (load, engine, _), result in zip(tasks, results, strict=True):
        found.setdefault((load().name, engine), []).append(result)
    tables = list(dict.fromkeys(name for name, _ in found))
    ways = list(results[0])

    def mean(table: str, engine: str, way: tuple[str, str]) -> float:
        return float(np.mean([fold[way] for fold in found[table, engine]]))

    sizes = []
    for load in loads:
        _, y, costs = numbers(load)
        sizes.append((load().name, y.size, float(y.mean()), float(np.median(costs[:, 1, 0] / costs[:, 0, 1].mean()))))
    report.table("Tables", ("table", "rows", "positive", "a miss in false alerts"), sizes)

    by_table = []
    for table in tables:
        for engine in ENGINES:
            for way in ways:
                more = np.array([f[way] - f[OWN] for f in found[table, engine]])
                beside = "" if way == OWN else shown(*of_mean(more, 1 / (FOLDS - 1)), 3)
                by_table.append((table, engine, *way, mean(table, engine, way), beside))
    columns = ("table", "engine", "trained by", "decided", "savings", "− log loss at least cost")
    report.table("Savings by table", columns, by_table)

    ranks = {key: dict(zip(ways, rankdata([-mean(*key, way) for way in ways]), strict=True)) for key in found}
    summary = []
    for engine in ENGINES:
        for way in ways:
            values = np.array([mean(table, engine, way) for table in tables])
            more = values - [mean(table, engine, OWN) for table in tables]
            beside = "" if way == OWN else shown(*of_mean(more, 0.0), 3)
            rank = float(np.mean([ranks[table, engine][way] for table in tables]))
            summary.append((engine, *way, float(values.mean()), float(values.min()), beside, rank))
    columns = ("engine", "trained by", "decided", "mean savings", "least", "− log loss at least cost", "mean rank")
    report.table("Savings over tables", columns, summary)
    for decision in DECISIONS:
        for engine in ENGINES:
            report.value(f"mean savings of log loss {decision}, {engine}", next(
                row[3] for row in summary if row[:3] == (engine, "log loss", decision)
            ))  # fmt: skip
    report.note(f"best of {trials} draws; {folds} test folds")


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("costs", options)
    judge(report, WITH_COSTS[:1] if options.quick else WITH_COSTS, *((1, 2) if options.quick else (FOLDS, TRIALS)))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
