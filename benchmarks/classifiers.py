"""The classifiers with their defaults beside their parents with theirs, on real tables with 1 to 10 % positives.

The default gamma and alpha were chosen on other tables than those they are judged on: `--choose` prints that choice.
"""

import sys
from collections.abc import Iterable
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, parser, shown
from _tables import TO_CHOOSE, TO_JUDGE, Loader
from joblib import Parallel, delayed
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss

from boostfocal import FocalLGBMClassifier, FocalXGBClassifier
from boostfocal.intervals import of_mean

ENGINES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "xgboost": (xgb.XGBClassifier, FocalXGBClassifier, {"enable_categorical": True}),
    "lightgbm": (lgb.LGBMClassifier, FocalLGBMClassifier, {"verbosity": -1}),
}
GRID = [(gamma, alpha) for gamma in (0, 0.5, 1, 2) for alpha in (None, 0.5, 0.25, "balanced")]
WEIGHTS: list[Any] = [0.03, 0.25, 0.5, 0.75, 0.97, {0: 1, 1: 30}, "balanced"]
SMALL = {"max_depth": 3, "learning_rate": 0.05}  # as large as such tables bear
DEFAULT = {"focal_gamma": 0.5}
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
        theirs = setting is None or "focal_gamma" not in setting
        model = (parent if theirs else focal)(n_jobs=1, **options, **(setting or {})).fit(X, y)
        proba = model.predict_proba(held_out)[:, 1]
        figures: Figures = {
            "log_loss": log_loss(truth, proba),
            "ap": average_precision_score(truth, proba),
            "test_share": test.size / train.size,
            "rows": table.y.size,
            "rate": table.y.mean(),
            "off": (proba.mean() - truth.mean()) / np.sqrt(truth.var() / truth.size),
        }
        if not theirs:
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
    parent, default, gamma_0, rare = range(4)
    settings: list[Any] = [None, DEFAULT, {"focal_gamma": 0}, DEFAULT | {"focal_alpha": 0.03}]
    small: list[Any] = [SMALL, *(SMALL | DEFAULT | {"focal_alpha": alpha} for alpha in WEIGHTS)]
    found = run(loads, settings + small, folds)
    losses, precisions, rates, times, worse, furthest = [], [], [], [], 0, 0.0
    for (name, engine), by_fold in found.items():

        def of(setting: int, figure: str, by_fold: Any = by_fold) -> Any:
            return np.array([fold[setting].get(figure, np.nan) for fold in by_fold])

        def more(ours: int, theirs: int, figure: str, of: Any = of) -> tuple[str, bool]:
            """A mean difference with its interval, and whether it is above it."""
            middle, reach = of_mean(of(ours, figure) - of(theirs, figure), float(of(parent, "test_share").mean()))
            return shown(middle, reach), reach is not None and middle > reach

        about = f"{name}, {engine}"
        beside, is_worse = more(default, parent, "log_loss")
        worse += is_worse

        def mean(setting: int, figure: str, of: Any = of) -> float:
            return float(of(setting, figure).mean())

        times.append(mean(default, "log_loss") / mean(parent, "log_loss"))
        losses.append((
            about, mean(parent, "log_loss"), mean(default, "log_loss"), beside, mean(gamma_0, "log_loss"),
            mean(default, "sigmoid"), mean(rare, "log_loss"), mean(rare, "sigmoid"),
        ))  # fmt: skip
        precisions.append((
            f"{about} ({by_fold[0][0]['rows']} rows, {by_fold[0][0]['rate']:.1%})",
            mean(parent, "ap"), mean(default, "ap"),
            more(default, parent, "ap")[0], more(gamma_0, parent, "ap")[0], more(default, gamma_0, "ap")[0],
        ))  # fmt: skip
        off = [mean(setting, "off") for setting in range(len(settings), len(settings + small))]
        rates.append((about, mean(parent, "off"), *off))
        furthest = max(furthest, *map(abs, off[1:]))
    columns: tuple[str, ...] = (
        "log loss", "parent", "default", "default − parent", "gamma 0", "its sigmoid's", "alpha 0.03", "its sigmoid's "
    )  # fmt: skip
    report.table("Log loss of predict_proba, of two settings beside that of the margins' sigmoid", columns, losses, 4)
    columns = ("average precision", "parent", "default", "default − parent", "gamma 0 − parent", "default − gamma 0")
    report.table("Average precision, differences with their corrected 95 % interval", columns, precisions, 4)
    names = ["1 to 30" if isinstance(alpha, dict) else str(alpha) for alpha in WEIGHTS]
    columns = ("mean probability − rate", "large parent", "parent", *names)
    title = "In standard errors of the test fold's rate, of small models (depth 3, rate 0.05), by focal_alpha"
    report.table(title, columns, rates, 2)
    report.value("log loss of the default, times the parent's: least", min(times))
    report.value("log loss of the default, times the parent's: most", max(times))
    report.target("tables and engines where log loss is worse beyond its interval", worse, high=0, timing=False)
    report.target("furthest from the rate, in its standard errors", furthest, high=1, timing=False)


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
