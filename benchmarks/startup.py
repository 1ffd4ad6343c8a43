"""What a fresh process waits for: the import, first calls, a small training; and the price of a call.

Beside the engines' own objectives, the first time ever, with compiled kernels kept, and without a compiler.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, parser
from _processes import FIRST, KEPT, NUMPY, OWN, Processes, in_turns, median

from boostfocal import FocalLoss

WAYS = (OWN, FIRST, KEPT, NUMPY)
ENGINES = ("xgboost", "lightgbm")
KINDS = ("binary", "with its metric", "three classes")
CALLS = ("binary", "float64 margins", "any gamma", "metric", "three classes")
REPEATS, ROWS, ROUNDS = 10, 10_000, 50


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
    repeats, rows, rounds = (1, 500, 3) if options.quick else (REPEATS, ROWS, ROUNDS)
    with TemporaryDirectory() as name:
        folder = Path(name)
        fresh = Processes(folder)
        first_calls(report, fresh, repeats)
        trainings(report, fresh, KINDS[:1] if options.quick else KINDS, repeats, rows, rounds)
        price_of_a_call(report, repeats)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
