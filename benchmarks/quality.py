"""Does focal loss help? Log loss, our objective and the published packages on real tables, all tuned alike.

Everybody draws learning rate, L2 penalty, smallest Hessian of a child and max_delta_step from the same ranges, and
his own gamma and alpha besides; chooses by average precision on inner validation; stops early by his own loss;
and is judged on rows that nobody saw. One budget is the usual setting, the other 15 trials.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from _measure import Report, parser, shown
from _peers import installed, missing, peers, train
from _tables import STUDY, loans
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import f1_score, precision_recall_curve

from boostfocal import FocalLoss
from boostfocal.compare.contenders import (
    ALPHAS,
    FOCAL,
    GAMMA_0,
    LOG_LOSS,
    WEIGHTED,
    Contender,
    Engine,
    Recipe,
    class_weights,
)
from boostfocal.compare.run import Options, Result, compare
from boostfocal.compare.splits import Split, make_splits
from boostfocal.compare.table import Table as Compared
from boostfocal.intervals import of_mean
from boostfocal.metrics.scores import log_loss

ENGINES: tuple[Engine, ...] = ("xgboost", "lightgbm")
ROWS = 10_000  # of a table at most
FOLDS = 5
ROUNDS = 400
BUDGETS = {"defaults": 1, "tuned": 15}  # trials
NO_BOUND = "gamma 0, no bound"
PARTS = (
    ("class weights and their smaller gradients", NO_BOUND, LOG_LOSS.name),
    ("the bound on the step", GAMMA_0.name, NO_BOUND),
    ("gamma", FOCAL.name, GAMMA_0.name),
    ("all of it", FOCAL.name, LOG_LOSS.name),
)


@dataclass(frozen=True)
class Unbounded(Contender):
    """Gamma 0 without the bound on the step: logistic boosting with class weights and an optimal start."""

    def recipe(self, engine: Engine, knobs: Any, labels: NDArray[Any], n_classes: int) -> Recipe:
        found = super().recipe(engine, knobs, labels, n_classes)
        return replace(found, parameters=found.parameters | {"focal_max_step": np.inf})


def contenders(engine: Engine) -> list[Contender]:
    ours = [LOG_LOSS, WEIGHTED, Unbounded(NO_BOUND, {"alpha": ALPHAS}, True), GAMMA_0, FOCAL]
    return [
        replace(c, hyperparameters={**c.hyperparameters, "max_delta_step": (0, 1, 3)}) for c in (*ours, *peers(engine))
    ]


def f1_tuned(y: NDArray[Any], proba: NDArray[np.float64]) -> float:
    """F1 at a threshold that was chosen on one half of the rows and is judged on the other, both ways."""
    half = np.random.default_rng(0).permutation(y.size) % 2 == 0
    found = []
    for chosen, judged in ((half, ~half), (~half, half)):
        precision, recall, threshold = precision_recall_curve(y[chosen], proba[chosen])
        best = threshold[np.argmax((precision * recall / np.maximum(precision + recall, 1e-12))[:-1])]
        found.append(f1_score(y[judged], proba[judged] >= best, zero_division=0.0))
    return float(np.mean(found))


@dataclass(frozen=True)
class Row:
    """A contender on a table: its figures and the knobs it chose, by split."""

    table: str
    engine: Engine
    budget: str
    contender: str
    test_share: float
    figures: dict[str, list[float]]
    chosen: list[dict[str, Any]]

    def mean(self, figure: str) -> float:
        return float(np.mean(self.figures[figure]))

    def minus(self, other: "Row", figure: str) -> tuple[float, float | None]:
        """Mean difference and half its 95 % interval, None of a single split."""
        return of_mean(np.subtract(self.figures[figure], other.figures[figure]), self.test_share)


Extra = Callable[[Result], dict[str, float]]


def posterior(result: Result, labels: NDArray[Any]) -> NDArray[np.float64]:
    """The probabilities, had they been read by the posterior of their loss; ours are, and log loss's.

    Log loss under class weights: the weight goes out of the odds. The packages: their margins by focal loss.
    """
    if result.contender == WEIGHTED.name:
        weight = class_weights(result.hyperparameters["class_weight"], labels, 2)[1]
        return result.proba / (result.proba + weight * (1 - result.proba))
    if result.contender not in installed():
        return result.proba
    weight = result.hyperparameters.get("alpha", 1.0)  # of positives, where negatives weigh 1
    with np.errstate(divide="ignore"):
        return FocalLoss(result.hyperparameters["gamma"], weight / (1 + weight)).predict_proba(logit(result.proba))


def figures_of(result: Result, y: NDArray[Any], split: Split) -> dict[str, float]:
    truth = y[result.test]
    return {
        "average precision": result.metrics["average_precision"],
        "log loss": result.metrics["log_loss"],
        "log loss of the posterior": log_loss(truth, posterior(result, y[split.train])),
        "calibration error": result.metrics["calibration_error"],
        "AUC ROC": result.metrics["roc_auc"],
        "F1 at 0.5": float(f1_score(truth, result.proba >= 0.5, zero_division=0.0)),
        "F1 at a tuned threshold": f1_tuned(truth, result.proba),
    }


def judge(
    table: Compared, splits: list[Split], budgets: dict[str, int], rounds: int, extra: Extra = lambda result: {}
) -> Iterator[Row]:
    share = float(np.mean([split.test.size / split.train.size for split in splits]))
    for budget, trials in budgets.items():
        options = Options(trials, rounds, "average_precision", 100, seed=0)
        for engine in ENGINES:
            field = contenders(engine)
            results = compare(table, splits, (engine,), options, contenders=field, train=train)
            for contender in field:
                own = [result for result in results if result.contender == contender.name]
                folds = [figures_of(result, table.labels, splits[result.split]) | extra(result) for result in own]
                figures = {figure: [fold[figure] for fold in folds] for figure in folds[0]}
                chosen = [dict(result.hyperparameters) for result in own]
                yield Row(table.name, engine, budget, contender.name, share, figures, chosen)


def summarize(report: Report, rows: list[Row]) -> None:
    """The tables of the page: by contender over all tables, focal loss by table, and the gammas that were chosen."""
    by_key = {(row.table, row.engine, row.budget, row.contender): row for row in rows}
    tables = list(dict.fromkeys(row.table for row in rows))
    fields = list(dict.fromkeys((row.budget, row.engine, row.contender) for row in rows))

    def versus(figure: str, sign: int) -> list[tuple[Any, ...]]:
        lines = []
        for budget, engine, name in fields:
            own = [by_key[table, engine, budget, name] for table in tables]
            pairs = [row.minus(by_key[row.table, engine, budget, LOG_LOSS.name], figure) for row in own]
            better = sum(reach is not None and sign * mean > reach for mean, reach in pairs)
            worse = sum(reach is not None and -sign * mean > reach for mean, reach in pairs)
            means = [mean for mean, _ in pairs]
            level = float(np.mean([row.mean(figure) for row in own]))
            lines.append((budget, engine, name, level, over_tables(means), min(means), max(means), better, worse))
        return lines

    columns = ("budget", "engine", "contender", "mean", "minus log loss", "least", "most",
               "tables better", "tables worse")  # fmt: skip
    for figure, sign in (
        ("average precision", 1),
        ("log loss", -1),
        ("log loss of the posterior", -1),
        ("calibration error", -1),
    ):
        report.table(f"By {figure}", columns, versus(figure, sign), 4)

    parts = []
    for budget, engine in dict.fromkeys((budget, engine) for budget, engine, _ in fields):
        for part, more, less in PARTS:
            differences = [
                over_tables([
                    by_key[table, engine, budget, more].mean(figure) - by_key[table, engine, budget, less].mean(figure)
                    for table in tables
                ])
                for figure in ("average precision", "log loss")
            ]  # fmt: skip
            parts.append((budget, engine, part, f"{more} − {less}", *differences))
    columns = ("budget", "engine", "part", "difference", "average precision", "log loss")
    report.table("What each part adds", columns, parts)

    lines = []
    for table in tables:
        for engine in ENGINES:
            own = {name: by_key[table, engine, "tuned", name] for _, e, name in fields if e == engine}
            focal, gamma_0, own_log_loss = own[FOCAL.name], own[GAMMA_0.name], own[LOG_LOSS.name]
            differences = [
                shown(*ours.minus(theirs, figure))
                for ours, theirs, figure in (
                    (focal, own_log_loss, "average precision"),
                    (gamma_0, own_log_loss, "average precision"),
                    (focal, gamma_0, "average precision"),
                    (focal, own_log_loss, "log loss"),
                )
            ]
            level = [row.mean("average precision") for row in (own_log_loss, focal)]
            lines.append((table, engine, *level, *differences))
    columns = (
        "table", "engine", "AP, log loss", "AP, focal loss", "AP, focal loss − log loss", "AP, gamma 0 − log loss",
        "AP, focal loss − gamma 0", "log loss, focal loss − log loss",
    )  # fmt: skip
    report.table("Tuned, by table", columns, lines, 4)

    thresholds = []
    for budget, engine, name in fields:
        own = [by_key[table, engine, budget, name] for table in tables]
        means = [float(np.mean([row.mean(f) for row in own])) for f in ("F1 at 0.5", "F1 at a tuned threshold")]
        thresholds.append((budget, engine, name, *means))
    columns = ("budget", "engine", "contender", "F1 at 0.5", "F1 at a tuned threshold")
    report.table("A threshold of 0.5 beside a tuned one", columns, thresholds, 3)

    chosen = []
    for engine in ENGINES:
        knobs = [one for row in rows if (row.engine, row.budget, row.contender) == (engine, "tuned", FOCAL.name)
                 for one in row.chosen]  # fmt: skip
        for knob in ("gamma", "alpha", "max_delta_step"):
            counts = Counter(str(one[knob]) for one in knobs)
            chosen += [(engine, knob, value, count, count / len(knobs)) for value, count in counts.most_common()]
    report.table("What tuning of focal loss chose", ("engine", "knob", "value", "splits", "share"), chosen)


def over_tables(differences: list[float]) -> str:
    """Mean over the tables and half its 95 % interval, each table one observation."""
    return shown(*of_mean(np.asarray(differences), 0.0))


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("quality", options)
    if missing():
        report.note(f"not installed, left out: {', '.join(missing())}")
    tables, size, folds, rounds, budgets = STUDY, ROWS, FOLDS, ROUNDS, BUDGETS
    if options.quick:
        tables, size, folds, rounds, budgets = (loans,), 4_000, 2, 30, {"defaults": 1, "tuned": 2}
    rows: list[Row] = []
    sizes = []
    for loader in tables:
        table = loader().sample(size).to_compare()
        splits = make_splits(table, folds=folds, repeats=1, gap=None, seed=0)
        sizes.append((table.name, table.labels.size, float(table.labels.mean()), folds))
        rows += judge(table, splits, budgets, rounds)
        print(f"{table.name}: done", flush=True)
    report.table("Tables", ("table", "rows of training and test", "positive", "splits"), sizes, 4)
    summarize(report, rows)
    report.figures["rows"] = [asdict(row) for row in rows]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
