"""Which way of recalibrating gives the best probabilities, by how many labels there are to do it with.

On real tables models learn half of the rows, are recalibrated on rows of a quarter, and judged on the last quarter.
Large models (the engines' defaults) are overconfident, small ones hardly.
"""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from _measure import Report, parser, shown
from _tables import TO_JUDGE, Loader
from joblib import Parallel, delayed

from boostfocal import FocalLGBMClassifier, FocalXGBClassifier
from boostfocal.intervals import of_mean
from boostfocal.metrics.scores import expected_calibration_error, log_loss
from boostfocal.recalibration import recalibrated

ENGINES: dict[str, tuple[Any, dict[str, Any]]] = {
    "xgboost": (FocalXGBClassifier, {"enable_categorical": True}),
    "lightgbm": (FocalLGBMClassifier, {"verbosity": -1}),
}
MODELS = {"large": {}, "small": {"max_depth": 3, "learning_rate": 0.05}}
METHODS: dict[str, dict[str, Any]] = {
    "shift": {"slope": False}, "sigmoid": {}, "focal": {"method": "focal"}, "isotonic": {"method": "isotonic"},
}  # fmt: skip
POSITIVES = (10, 30, 100)  # among the labels for recalibration, where there are as many
GAMMA = 2.0
REPEATS = 4

Figures = dict[tuple[str, int, str], tuple[float, float]]


def judged(load: Loader, engine: str, seed: int) -> Figures:
    """Log loss and calibration error by model, positives and method, beside those without recalibration."""
    table = load()
    parts = [test for _, test in table.folds(4, seed)]
    train, some, test = np.concatenate(parts[:2]), parts[2], parts[3]
    some = np.random.default_rng(seed).permutation(some)
    kind, options = ENGINES[engine]
    found: Figures = {}
    for name, size in MODELS.items():
        model = kind(n_jobs=1, focal_gamma=GAMMA, **options, **size).fit(table.X.iloc[train], table.y[train])
        posterior, margins = model.posterior_, model.decision_function(table.X.iloc[np.concatenate([some, test])])
        plain = scored(table.y[test], posterior.predict_proba(margins[some.size :]))
        for positives in POSITIVES:
            reached = np.flatnonzero(np.cumsum(table.y[some]) == positives)
            if not reached.size:
                continue
            labels = table.y[some[: reached[0] + 1]]
            for method, how in METHODS.items():
                better = recalibrated(posterior, labels, margins[: labels.size], **how)
                scores = scored(table.y[test], better.predict_proba(margins[some.size :]))
                found[name, positives, method] = (scores[0] / plain[0] - 1, scores[1] - plain[1])
    return found


def scored(y: Any, proba: Any) -> tuple[float, float]:
    return log_loss(y, proba[:, 1]), expected_calibration_error(y, proba[:, 1])


def judge(report: Report, loads: Iterable[Loader], repeats: int) -> None:
    tasks = [(load, engine, seed) for load in loads for engine in ENGINES for seed in range(repeats)]
    figures = Parallel(-1, prefer="threads")(delayed(judged)(*task) for task in tasks)
    rows = []
    best: dict[tuple[str, int], tuple[float, str]] = {}
    for name in MODELS:
        for positives in POSITIVES:
            for method in METHODS:
                by_table: dict[str, list[tuple[float, float]]] = {}
                for (load, _, _), found in zip(tasks, figures, strict=True):
                    if (name, positives, method) in found:
                        by_table.setdefault(load.__name__, []).append(found[name, positives, method])
                if not by_table:
                    continue
                means = np.array([np.mean(values, axis=0) for values in by_table.values()])
                hundredths = [shown(*of_mean(100 * column, 0.0), 2) for column in means.T]
                rows.append((name, positives, method, len(by_table), *hundredths))
                best[name, positives] = min(
                    best.get((name, positives), (np.inf, "")), (float(means[:, 0].mean()), method)
                )
    columns = ("model", "positives", "method", "tables", "log loss, percent", "calibration error, hundredths")
    report.table("Change by recalibration, mean over tables with its 95 % interval", columns, rows)
    for (name, positives), (change, method) in best.items():
        report.note(f"{name} models, {positives} positives: {method} has the best log loss ({change:+.2%})")
    report.note(f"gamma {GAMMA:g}, alpha 0.5; {repeats} splits of each table and engine")


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("recalibration", options)
    judge(report, TO_JUDGE[2:3] if options.quick else TO_JUDGE, 1 if options.quick else REPEATS)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
