"""What a fresh process waits for: the import, first calls, a small training, a loaded model's first answer.

Beside the engines' own objectives and classes, the first time ever, with compiled kernels kept, and without a compiler.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, parser

from boostfocal import FocalLGBMClassifier, FocalLoss, FocalXGBClassifier

OWN, FIRST, KEPT, NUMPY = "the engine's own", "first time ever", "kernels kept", "without llvmlite"
WAYS = (OWN, FIRST, KEPT, NUMPY)
ENGINES = ("xgboost", "lightgbm")
KINDS = ("binary", "with its metric", "three classes")
CALLS = ("binary", "float64 margins", "any gamma", "metric", "three classes")
REPEATS, ROWS, ROUNDS = 10, 10_000, 50


class Processes:
    """Fresh processes, one after the other. Kernels are kept in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, what: str, *arguments: Any, way: str = KEPT) -> Any:
        with TemporaryDirectory(dir=self._folder) as empty:
            kept = empty if way == FIRST else self._folder / "kept"
            asked = json.dumps([what, arguments, way != NUMPY])
            done = subprocess.run(
                [sys.executable, Path(__file__).parent / "_fresh.py", asked],
                env=os.environ | {"BOOSTFOCAL_CACHE_DIR": str(kept)}, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        return json.loads(done.stdout)


def in_turns(repeats: int, processes: dict[Any, Callable[[], Any]]) -> dict[Any, list[Any]]:
    """What each returned in each repeat; they take turns. Of several repeats the first is not counted."""
    if repeats > 1:
        for call in processes.values():
            call()
    found: dict[Any, list[Any]] = {name: [] for name in processes}
    for _ in range(repeats):
        for name, call in processes.items():
            found[name].append(call())
    return found


def median(values: Any) -> float:
    return float(np.median(list(values)))


def first_calls(report: Report, fresh: Processes, repeats: int) -> None:
    found = in_turns(repeats, {way: lambda way=way: fresh.run("calls", way=way) for way in (FIRST, KEPT, NUMPY)})
    rows = [("import boostfocal", *(median(one["import"] for one in runs) for runs in found.values()), None)]
    for name in CALLS:
        again = median(one[name][1] for one in found[KEPT])
        rows.append((name, *(median(one[name][0] for one in runs) for runs in found.values()), again))
    title = "First calls of a process, seconds: 1,000 rows"
    report.table(title, ("call", FIRST, KEPT, NUMPY, "second call"), rows, text="{:.4f}")
    extra = [sum(one[name][0] - one[name][1] for name in CALLS) for one in found[KEPT]]
    report.target("import boostfocal beyond NumPy's, seconds", rows[0][2], high=0.05)
    report.target("five first calls with kernels kept, beyond second calls, seconds", median(extra), high=0.5)
    report.target("the longest of them, seconds", max(row[2] for row in rows[1:]), high=0.15)
    report.target("first time ever, binary, seconds", rows[1][1], high=1.0)
    report.target("first time ever, three classes, seconds", rows[-1][1], high=2.0)


def trainings(report: Report, fresh: Processes, kinds: Sequence[str], repeats: int, rows: int, rounds: int) -> None:
    cases = [(engine, kind, way) for engine in ENGINES for kind in kinds for way in WAYS]
    found = in_turns(
        repeats,
        {
            (engine, kind, way): lambda e=engine, k=kind, w=way: fresh.run(
                "training", e, k, w != OWN, rows, rounds, way=w
            )
            for engine, kind, way in cases
        },
    )
    for step in ("first round", "training"):
        shown = []
        for engine in ENGINES:
            for kind in kinds:
                by_way = {way: np.array([one[step] for one in found[engine, kind, way]]) for way in WAYS}
                times = median(by_way[KEPT] / by_way[OWN])
                shown.append((f"{engine}, {kind}", *(median(by_way[way]) for way in WAYS), times))
        title = "Until the first round is done, seconds" if step == "first round" else "A whole small training, seconds"
        report.table(title, ("training", *WAYS, "kept, times own"), shown)
    report.note(
        f"{rows:,} rows x 10 features, {rounds} rounds, two threads; with `import boostfocal`, without the engine's"
    )


def scoring(report: Report, fresh: Processes, folder: Path, repeats: int, trees: int) -> None:
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
        processes[engine, "parent"] = lambda path=their_path, name=engine: fresh.run("scoring", path, name)
    found = in_turns(repeats, processes)
    for engine, pair in models.items():
        one, many = X[:1], 100

        def answer(model: Any, one: Any = one, many: int = many) -> None:
            for _ in range(many):
                model.predict_proba(one)

        times = report.alternate(
            {"ours": lambda m=pair[0]: answer(m), "parent": lambda m=pair[1]: answer(m)}, 5 * repeats
        )
        each = {name: 1e3 * values / many for name, values in times.items()}
        for name in ("ours", "parent"):
            of = found[engine, name]
            rows.append((
                f"{engine}, {'its own class' if name == 'parent' else 'boostfocal'}", median(each[name]),
                median(run["seconds"] for run in of), median(run["MiB"] for run in of),
            ))  # fmt: skip
        report.target(f"one row, {engine}, beyond its class, ms", median(each["ours"] - each["parent"]), high=0.1)
    columns = ("class", "one row, ms", "from import to the first answer, s", "MiB for it")
    report.table(f"A process that loads a model of {trees} trees and scores", columns, rows)


def price_of_a_call(report: Report, repeats: int) -> None:
    """The objective as the engine calls it, on a data set that does not change."""
    random = np.random.default_rng(0)
    n, many = 1000, 50
    y, z = random.integers(0, 2, n).astype(np.float32), random.standard_normal(n, np.float32)
    matrix, dataset = xgb.DMatrix(np.zeros((n, 1)), y), lgb.Dataset(np.zeros((n, 1)), y, params={"verbosity": -1})
    dataset.construct()
    wide, loss = z.astype(np.float64), FocalLoss(2.0, 0.25)

    def naive(margin: Any, data: Any) -> tuple[Any, Any]:
        p = 1 / (1 + np.exp(-margin))
        return p - data.get_label(), p * (1 - p)

    def times(objective: Any, margin: Any, data: Any) -> Callable[[], None]:
        def call() -> None:
            for _ in range(many):
                objective(margin, data)

        return call

    calls = {
        ("xgboost", "focal loss, boostfocal"): times(loss, z, matrix),
        ("xgboost", "log loss in NumPy"): times(naive, z, matrix),
        ("lightgbm", "focal loss, boostfocal"): times(loss, wide, dataset),
        ("lightgbm", "log loss in NumPy"): times(naive, wide, dataset),
    }
    found = report.alternate(calls, 10 * repeats)  # type: ignore[arg-type]
    rows = [(*name, 1e6 * median(values) / many) for name, values in found.items()]
    report.table("A call of the objective with 1,000 rows, microseconds", ("engine", "objective", "a call"), rows, 1)


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("startup", options)
    repeats, rows, rounds, trees = (1, 500, 3, 5) if options.quick else (REPEATS, ROWS, ROUNDS, 200)
    with TemporaryDirectory() as name:
        folder = Path(name)
        fresh = Processes(folder)
        first_calls(report, fresh, repeats)
        trainings(report, fresh, KINDS[:1] if options.quick else KINDS, repeats, rows, rounds)
        scoring(report, fresh, folder, repeats, trees)
        price_of_a_call(report, repeats)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
