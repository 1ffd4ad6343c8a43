"""What a served model takes for an answer: one row, a fresh process, many rows.

Beside the engines' own classes, ONNX Runtime, and SciPy's functions.
"""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, parser, ratio
from _processes import Processes, in_turns, median
from onnxruntime import InferenceSession
from scipy.special import expit, softmax

from boostfocal import FocalLGBMClassifier, FocalLoss, FocalXGBClassifier, SoftmaxFocalLoss
from boostfocal.posterior import Posterior
from boostfocal.recalibration import center_on_base_rate

CLASSES = 10
DTYPES = {"xgboost": "float32", "lightgbm": "float64"}  # of what ONNX models of them take


def one_row(report: Report, fresh: Processes, folder: Path, repeats: int, trees: int) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((5000, 10), np.float32)
    y = (X[:, 0] + random.logistic(size=5000) > 1).astype(int)
    classes: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "xgboost": (FocalXGBClassifier, xgb.XGBClassifier, {}),
        "lightgbm": (FocalLGBMClassifier, lgb.LGBMClassifier, {"verbosity": -1}),
    }
    rows: list[Any] = []
    processes: dict[Any, Callable[[], Any]] = {}
    models: dict[str, tuple[Any, Any]] = {}
    for engine, (ours, parent, options) in classes.items():
        models[engine] = (
            ours(n_estimators=trees, n_jobs=1, **options).fit(X, y),
            parent(n_estimators=trees, n_jobs=1, **options).fit(X, y),
        )
        our_path, their_path = str(folder / f"ours.{engine}"), str(folder / f"{engine}.ubj")
        models[engine][0].save_model(our_path)
        if engine == "xgboost":
            models[engine][1].save_model(their_path)
        else:
            Path(their_path).write_bytes(pickle.dumps(models[engine][1]))
        processes[engine, "ours"] = lambda path=our_path: fresh.run("scoring", path, "")
        onnx_path = str(folder / f"{engine}.onnx")
        Path(onnx_path).write_bytes(models[engine][0].to_onnx().SerializeToString())
        processes[engine, "onnx"] = lambda path=onnx_path, name=engine: fresh.run("onnx", path, DTYPES[name])
        processes[engine, "parent"] = lambda path=their_path, name=engine: fresh.run("scoring", path, name)
    found = in_turns(repeats, processes)
    for engine, pair in models.items():
        one, many = X[:1], 100

        def answer(model: Any, one: Any = one, many: int = many) -> None:
            for _ in range(many):
                model.predict_proba(one)

        session = InferenceSession(folder / f"{engine}.onnx")
        given = {"X": one.astype(DTYPES[engine])}

        def infer(session: Any = session, given: Any = given, many: int = many) -> None:
            for _ in range(many):
                session.run(["probabilities"], given)

        times = report.alternate(
            {"ours": lambda m=pair[0]: answer(m), "parent": lambda m=pair[1]: answer(m), "onnx": infer}, 5 * repeats
        )
        each = {name: 1e3 * values / many for name, values in times.items()}
        for name, what in (
            ("ours", "boostfocal"),
            ("parent", "its own class"),
            ("onnx", "boostfocal's in ONNX Runtime"),
        ):
            of = found[engine, name]
            rows.append((
                f"{engine}, {what}", median(each[name]),
                median(run["seconds"] for run in of), median(run["MiB"] for run in of),
            ))  # fmt: skip
        report.target(f"one row, {engine}, beyond its class, ms", median(each["ours"] - each["parent"]), high=0.1)
    columns = ("class", "one row, ms", "from import to the first answer, s", "MiB for it")
    report.table(f"A process that loads a model of {trees} trees and scores", columns, rows)


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
            "its parent's": lambda: xgb.XGBClassifier(**options).fit(X, y),
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
    report = Report("scoring", options)
    n, trees, repeats = (20_000, 5, 2) if options.quick else (1_000_000, 100, 20)
    with TemporaryDirectory() as name:
        folder = Path(name)
        one_row(report, Processes(folder), folder, repeats // 2, 2 * trees)
    rows_per_call(report, n, repeats)
    centering(report, n, trees, max(2, repeats // 5))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
