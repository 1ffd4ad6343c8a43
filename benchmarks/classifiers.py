"""The classifiers with their defaults beside their parents with theirs, on real tables with 1 to 10 % positives.

The default gamma and alpha were chosen on other tables than those they are judged on: `--choose` prints that choice.
"""

import sys
from collections.abc import Iterable
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, parser
from _tables import TO_CHOOSE, TO_JUDGE, Loader
from joblib import Parallel, delayed
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss

from boostfocal import FocalLGBMClassifier, FocalXGBClassifier
from boostfocal.compare.summary import interval

ENGINES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "xgboost": (xgb.XGBClassifier, FocalXGBClassifier, {"enable_categorical": True}),
    "lightgbm": (lgb.LGBMClassifier, FocalLGBMClassifier, {"verbosity": -1}),
}
GRID = [(gamma, alpha) for gamma in (0, 0.5, 1, 2) for alpha in (None, 0.5, 0.25, "balanced")]
WEIGHTS: list[Any] = [0.03, 0.25, 0.75, 0.97, {0: 1, 1: 30}, "balanced"]
FOLDS = 5

Figures = dict[str, Any]


def fitted(load: Loader, fold: int, engine: str, settings: Iterable[dict[str, Any] | None]) -> list[Figures]:
    """Figures of each setting on one test fold; None is the parent."""
    table = load()
    train, test = table.folds(FOLDS, 0)[fold]
    parent, focal, options = ENGINES[engine]
    X, y, held_out, truth = table.X.iloc[train], table.y[train], table.X.iloc[test], table.y[test]
    result = []
    for setting in settings:
        model = (parent if setting is None else focal)(n_jobs=1, **options, **(setting or {})).fit(X, y)
        proba = model.predict_proba(held_out)[:, 1]
        figures: Figures = {
            "log_loss": log_loss(truth, proba),
            "ap": average_precision_score(truth, proba),
            "test_share": test.size / train.size,
            "rows": table.y.size,
            "rate": table.y.mean(),
            "off": (proba.mean() - truth.mean()) / np.sqrt(truth.var() / truth.size),
        }
        if setting is not None:
            figures["sigmoid"] = log_loss(truth, expit(model.decision_function(held_out)))
        result.append(figures)
    return result


def run(loads: Iterable[Loader], settings: list[Any], folds: int) -> dict[tuple[str, str], list[list[Figures]]]:
    """Figures by table and engine: for each fold, of each setting."""
    tasks = [(load, engine) for load in loads for engine in ENGINES]
    calls = (delayed(fitted)(load, fold, engine, settings) for load, engine in tasks for fold in range(folds))
    found = Parallel(-1, prefer="threads")(calls)
    return {(load().name, engine): found[i * folds : (i + 1) * folds] for i, (load, engine) in enumerate(tasks)}


def choose(report: Report, loads: Iterable[Loader], folds: int) -> None:
    found = run(loads, [None, *({"focal_gamma": g, "focal_alpha": a} for g, a in GRID)], folds)
    rows = []
    for i, (gamma, alpha) in enumerate(GRID, start=1):
        row: list[Any] = [f"gamma {gamma:g}, alpha {alpha}"]
        for engine in ENGINES:
            tables = [folds_ for (_, e), folds_ in found.items() if e == engine]
            losses = [np.mean([f[i]["log_loss"] for f in t]) / np.mean([f[0]["log_loss"] for f in t]) for t in tables]
            gains = [np.mean([f[i]["ap"] - f[0]["ap"] for f in t]) for t in tables]
            row += [float(np.mean(losses)), float(np.mean(gains))]
        rows.append(row)
    columns = ["setting", *(f"{engine}: {what}" for engine in ENGINES for what in ("log loss, times", "AP, more"))]
    names = ", ".join(sorted({name for name, _ in found}))
    report.table(f"The choice: beside the parents' defaults, mean of {names}; {folds} folds", columns, rows, 4)


def judge(report: Report, loads: Iterable[Loader], folds: int) -> None:
    settings: list[Any] = [None, {}, {"focal_gamma": 0}, *({"focal_alpha": alpha} for alpha in WEIGHTS)]
    found = run(loads, settings, folds)
    losses, precisions, rates = [], [], []
    for (name, engine), by_fold in found.items():

        def mean(setting: int, figure: str, by_fold: Any = by_fold) -> float:
            return float(np.mean([fold[setting][figure] for fold in by_fold]))

        def more(setting: int, reference: int, by_fold: Any = by_fold) -> str:
            differences = np.array([fold[setting]["ap"] - fold[reference]["ap"] for fold in by_fold])
            middle, reach = interval(differences, by_fold[0][0]["test_share"])
            return f"{middle:+.4f}" + ("" if reach is None else f" ± {reach:.4f}")

        about = f"{name}, {engine}"
        losses.append((f"{about} ({mean(0, 'rows'):.0f} rows, {100 * mean(0, 'rate'):.1f} %)",
                       mean(0, "log_loss"), mean(1, "log_loss"), mean(2, "log_loss"), mean(1, "sigmoid"),
                       mean(3, "log_loss"), mean(3, "sigmoid")))  # fmt: skip
        precisions.append((about, mean(0, "ap"), mean(1, "ap"), more(1, 0), more(2, 0), more(1, 2)))
        rates.append((about, *(float(np.mean([fold[i]["off"] for fold in by_fold])) for i in range(len(settings)))))
        report.target(
            f"{about}: log loss beside the parent's", mean(1, "log_loss") / mean(0, "log_loss"), high=1.0, timing=False
        )
    columns = ("table", "parent", "default", "gamma 0", "sigmoid of default", "alpha 0.03", "sigmoid of it")
    report.table("Log loss of predict_proba, and of the margins' sigmoid", columns, losses, 4)
    columns = ("table", "parent", "default", "default − parent", "gamma 0 − parent", "default − gamma 0")
    report.table("Average precision, differences with corrected 95 % interval", columns, precisions, 4)
    columns = ("table", "parent", "default", "gamma 0", *(f"alpha {alpha}" for alpha in WEIGHTS))
    report.table("Mean probability minus the true rate, in its standard errors, mean of the folds", columns, rates, 2)
    worst = max(abs(value) for row in rates for value in row[2:])
    report.target("largest mean deviation of the mean probability, in standard errors", worst, high=1.0, timing=False)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--choose", action="store_true", help="also print how the defaults were chosen")
    options = arguments.parse_args()
    report = Report("classifiers", options)
    folds = 1 if options.quick else FOLDS
    if options.choose:
        choose(report, TO_CHOOSE[:1] if options.quick else TO_CHOOSE, folds)
    judge(report, TO_JUDGE[2:3] if options.quick else TO_JUDGE, folds)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
