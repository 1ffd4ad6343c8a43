"""From margins to probabilities, and back: beside SciPy's functions, and as a share of fitting a classifier."""

import sys
from typing import Any

import numpy as np
from _measure import Report, parser, ratio
from scipy.special import expit, softmax
from xgboost import XGBClassifier

from boostfocal import FocalLoss, FocalXGBClassifier, SoftmaxFocalLoss
from boostfocal.posterior import Posterior, center_on_base_rate

CLASSES = 10


def rows_per_call(report: Report, n: int, repeats: int) -> None:
    random = np.random.default_rng(0)
    margin, scores = 3 * random.standard_normal(n) - 2, 2 * random.standard_normal((n // 5, CLASSES))
    loss, classes = FocalLoss(2.0, 0.25), SoftmaxFocalLoss(CLASSES, 2.0)
    two, ten = Posterior(loss), Posterior(classes)
    proba = loss.predict_proba(margin)

    def expit_and_logarithms() -> Any:
        p = expit(margin)
        return p, np.log(p), np.log(1 - p)

    calls = {
        "two classes": (lambda: two.predict_proba(margin), expit_and_logarithms, "expit and two logarithms", n),
        "ten classes": (lambda: ten.predict_proba(scores), lambda: softmax(scores, axis=1), "softmax", n // 5),
        "loss.margin": (lambda: loss.margin(proba), lambda: np.log(proba / (1 - proba)), "the log odds", n),
    }
    rows, times = [], {}
    for name, (ours, theirs, rival, size) in calls.items():
        found = report.alternate({"ours": ours, "theirs": theirs}, repeats)
        times[name] = ratio(found["ours"], found["theirs"])
        rows.append((name, f"{size:,}", 1e3 * float(np.median(found["ours"])), rival, times[name]))
    report.table("Probabilities", ("call", "rows", "ms", "beside", "times"), rows, 2)
    report.target("predict_proba, times expit and two logarithms", times["two classes"], high=2.5)
    report.target("ten classes, times softmax", times["ten classes"], high=3)


def centering(report: Report, n: int, trees: int, repeats: int) -> None:
    """What the classifier does after training, so that its mean probability is the share of positives."""
    random = np.random.default_rng(0)
    X = random.standard_normal((n, 10), np.float32)
    y = (X[:, 0] + random.logistic(size=n) > 3).astype(np.intp)
    loss = FocalLoss(2.0, 0.25)
    options: dict[str, Any] = {"n_estimators": trees}
    model = FocalXGBClassifier(focal_gamma=2.0, focal_alpha=0.25, **options).fit(X, y)
    margins = model.decision_function(X)
    found = report.alternate(
        {
            "fit": lambda: FocalXGBClassifier(focal_gamma=2.0, focal_alpha=0.25, **options).fit(X, y),
            "its parent's": lambda: XGBClassifier(**options).fit(X, y),
            "centering": lambda: center_on_base_rate(loss, margins, y, None),
        },
        repeats,
        calm=True,
    )
    share = ratio(found["centering"], found["fit"])
    rows = [(name, float(np.median(values))) for name, values in found.items()]
    report.table(f"FocalXGBClassifier, {n:,} rows x 10 features, {trees} trees", ("", "seconds"), rows)
    report.target("share of fit that centers the probabilities", share, high=0.03)


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("posterior", options)
    n, trees, repeats = (20_000, 5, 2) if options.quick else (1_000_000, 100, 20)
    rows_per_call(report, n, repeats)
    centering(report, n, trees, max(2, repeats // 5))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
