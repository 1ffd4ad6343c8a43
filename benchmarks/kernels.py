"""Nanoseconds a row of gradient and Hessian: ours, the packages', scikit-learn's, NumPy's, and a plain copy's.

The copy moves the bytes that the task must move: labels and margins in, gradient and Hessian out.
"""

import ctypes
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, Seconds, parser, ratio
from _peers import careful_numpy, formula_in_numpy, installed, missing, numerical_differentiation, of_classes
from joblib import cpu_count
from numpy.typing import NDArray
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss

from boostfocal import FocalLoss, SoftmaxFocalLoss

Array = NDArray[Any]
Call = Callable[[], object]
CLASSES = 10


@contextmanager
def threads(count: int) -> Iterator[None]:
    """With so many threads at most; the kernels read it at every call."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


class Rows:
    """Labels, margins of both types, weights, and room for results."""

    def __init__(self, n: int) -> None:
        random = np.random.default_rng(0)
        self.n = n
        self.z = random.standard_normal(n, np.float32) * 3 - 2
        self.y = (random.random(n, np.float32) < 1 / (1 + np.exp(-self.z))).astype(np.float32)
        self.out = np.empty_like(self.z), np.empty_like(self.z)

    def ours(self, loss: FocalLoss | None = None, margins: Array | None = None, weights: Array | None = None) -> Call:
        loss = loss or FocalLoss()
        margins = self.z if margins is None else margins
        return lambda: loss.gradient_hessian(self.y, margins, weights)

    def scikit_learn(self, weights: Array | None = None) -> Call:
        logistic, (g, h) = HalfBinomialLoss(), self.out
        return lambda: logistic.gradient_hessian(
            self.y, self.z, weights, gradient_out=g, hessian_out=h, n_threads=1
        )  # fmt: skip

    def copy(self) -> Call:
        return lambda: (np.copyto(self.out[0], self.y), np.copyto(self.out[1], self.z))

    def careful(self) -> Call:
        return lambda: careful_numpy(self.y, self.z, self.out)


def quiet(call: Call) -> Call:
    def silenced() -> None:
        with np.errstate(all="ignore"):
            call()

    return silenced


def everyone(rows: Rows) -> dict[str, Call]:
    """Who is compared at gamma 2."""
    wide = rows.z.astype(np.float64)
    gradient, hessian = FocalLoss().gradient_hessian(rows.y, rows.z)
    careful_numpy(rows.y, rows.z, rows.out)
    np.testing.assert_allclose(gradient, rows.out[0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(hessian, rows.out[1], rtol=1e-4, atol=1e-7)

    calls = {
        "boostfocal": rows.ours(),
        "boostfocal, exact Hessian": rows.ours(FocalLoss(hessian="exact")),
        "boostfocal, float64 margins": rows.ours(margins=wide),
        "plain copy of the bytes": rows.copy(),
        "scikit-learn, log loss": rows.scikit_learn(),
        "NumPy with care, float32": rows.careful(),
        "the formula in NumPy, float64": lambda: formula_in_numpy(rows.y, wide, 2.0),
        "numerical differentiation, float64": lambda: numerical_differentiation(rows.y, wide, 2.0),
    }
    for name, package in installed().items():
        for engine in package.engines:
            margins = rows.z if engine == "xgboost" else wide
            label = f"{name}, {'float32, as from XGBoost' if engine == 'xgboost' else 'float64, as from LightGBM'}"
            calls[label] = lambda package=package, margins=margins: package.rows(rows.y, margins, 2.0)
    return {name: with_threads(1, quiet(call)) for name, call in calls.items()}


def beside_everyone(report: Report, rows: Rows, repeats: int, title: str) -> dict[str, Seconds]:
    seconds = report.alternate(everyone(rows), repeats)
    ours = seconds["boostfocal"]
    lines = [(name, 1e9 * float(np.median(s)) / rows.n, ratio(s, ours)) for name, s in seconds.items()]
    report.table(title, ("code", "ns a row", "times ours"), lines, 2)
    return seconds


def fastest_package(seconds: dict[str, Seconds]) -> tuple[str, float]:
    """The name, and how many times as long as ours it takes; no name if none is installed."""
    theirs = {
        name: ratio(s, seconds["boostfocal"]) for name, s in seconds.items() if name.partition(",")[0] in installed()
    }
    return min(theirs.items(), key=lambda one: one[1], default=("", np.nan))


def binary(report: Report, n: int, repeats: int) -> None:
    """Everyone at one size, gamma 2."""
    rows = Rows(n)
    begin = time.perf_counter()
    FocalLoss().gradient_hessian(rows.y, rows.z)
    report.value("seconds of the first call, with imports and compiling", time.perf_counter() - begin, "{:.2f}")
    seconds = beside_everyone(report, rows, repeats, "Binary, gamma 2, a million rows, one thread")
    ours = seconds["boostfocal"]
    report.target("times as fast as careful NumPy", ratio(seconds["NumPy with care, float32"], ours), low=6)
    report.target("times as fast as scikit-learn's log loss", ratio(seconds["scikit-learn, log loss"], ours), low=2.5)
    nearest, times = fastest_package(seconds)
    if nearest:
        report.target(f"times as fast as the fastest package ({nearest})", times, low=20)
    wide_ratio = ratio(seconds["boostfocal, float64 margins"], ours)
    report.target("float64 margins, times the float32", wide_ratio, high=2)


def with_memory_kept(report: Report, n: int, repeats: int) -> None:
    """The same where freed memory is not given back to the system: nobody waits for pages.

    glibc keeps it in a process that has freed a large array before; here it is told to, which cannot be undone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        report.note("skipped: kept memory, which is an option of glibc")
        return
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    mallopt(mmap, 2**30)
    mallopt(trim, 2**31 - 1)
    title = "Binary, gamma 2, a million rows, one thread, freed memory kept"
    seconds = beside_everyone(report, Rows(n), repeats, title)
    careful = ratio(seconds["NumPy with care, float32"], seconds["boostfocal"])
    report.value("times as fast as careful NumPy, freed memory kept", careful)
    nearest, times = fastest_package(seconds)
    if nearest:
        report.value("times as fast as the fastest package, freed memory kept", times)


def repeated(call: Call, times: int) -> Call:
    return lambda: [call() for _ in range(times)]


def with_threads(count: int, call: Call) -> Call:
    def limited() -> None:
        with threads(count):
            call()

    return limited


def variants(report: Report, n: int, repeats: int) -> None:
    rows = Rows(n)
    wide = rows.z.astype(np.float64)
    weights = np.random.default_rng(1).uniform(0.5, 2, n).astype(np.float32)
    calls = {
        "gamma 2": rows.ours(),
        "gamma 0": rows.ours(FocalLoss(0)),
        "gamma 0.5": rows.ours(FocalLoss(0.5)),
        "gamma 5": rows.ours(FocalLoss(5)),
        "gamma 0.3 (general power)": rows.ours(FocalLoss(0.3)),
        "gamma 2, exact Hessian": rows.ours(FocalLoss(hessian="exact")),
        "gamma 2, float64 margins": rows.ours(margins=wide),
        "gamma 2, weights": rows.ours(weights=weights),
        "gamma 2, float64 margins, weights": rows.ours(margins=wide, weights=weights),
    }
    lines = []
    for name, call in calls.items():
        rival = rows.scikit_learn(weights if "weights" in name else None)
        seconds = report.alternate({"ours": with_threads(1, call), "rival": rival}, repeats)
        times = [1e9 * float(np.median(s)) / n for s in seconds.values()]
        lines.append((name, *times, 1 / ratio(seconds["ours"], seconds["rival"])))
    columns = ("expected Hessian, float32 margins unless said", "ns a row", "scikit-learn", "times as fast")
    report.table("Variants beside scikit-learn's HalfBinomialLoss, one thread", columns, lines, 2)


CODES = (
    "float32", "float64", "float32, all threads", "float64, all threads", "plain copy", "scikit-learn, log loss",
    "careful NumPy", "gbdtCBL",
)  # fmt: skip


def sizes(report: Report, largest: int) -> None:
    """From the cost of a call to that of memory."""
    lines = []
    for n in (10**power for power in range(3, 9) if 10**power <= largest):
        rows = Rows(n)
        wide = rows.z.astype(np.float64)
        inner, repeats = max(1, 200_000 // n), 31 if n < 10**7 else 7

        single = {"float32": rows.ours(), "float64": rows.ours(margins=wide)}
        calls = {name: with_threads(1, repeated(call, inner)) for name, call in single.items()}
        for name, call in single.items():
            calls[f"{name}, all threads"] = with_threads(cpu_count(), repeated(call, inner))
        calls["plain copy"] = repeated(rows.copy(), inner)
        rivals = {"scikit-learn, log loss": rows.scikit_learn(), "careful NumPy": rows.careful()}
        if n <= 10**7 and "gbdtCBL" in installed():
            rivals["gbdtCBL"] = lambda rows=rows: installed()["gbdtCBL"].rows(rows.y, rows.z, 2.0)
        # apart: a virtual machine may hand out anew the memory that a rival gave back, at another's cost
        seconds = report.alternate(calls, repeats)
        seconds |= report.alternate({name: repeated(quiet(call), inner) for name, call in rivals.items()}, repeats)
        times = {name: 1e9 * float(np.median(s)) / n / inner for name, s in seconds.items()}
        from_copy = ratio(seconds["float32"], seconds["plain copy"])
        lines.append((n, *(times.get(name, np.nan) for name in CODES), from_copy))
        if n == 10**7:
            report.target("10M rows, times a plain copy of the bytes", from_copy, high=4)
    report.table(
        "Nanoseconds a row by size, gamma 2, one thread unless said",
        ("rows", *CODES, "float32, times the copy"),
        lines,
        2,
    )


def softmax(report: Report, n: int, repeats: int) -> None:
    random = np.random.default_rng(0)
    z = random.normal(scale=2, size=(n, CLASSES)).astype(np.float32)
    y = random.integers(0, CLASSES, n).astype(np.float32)
    out = np.empty_like(z), np.empty_like(z)
    rival = HalfMultinomialLoss(n_classes=CLASSES)
    by_column, wide = np.asfortranarray(z), np.asfortranarray(z.astype(np.float64))

    def ours(loss: SoftmaxFocalLoss, margins: Array = z) -> Call:
        return lambda: loss.gradient_hessian(y, margins)

    calls: dict[str, Call] = {
        "boostfocal, as XGBoost's margins": ours(SoftmaxFocalLoss(CLASSES)),
        "boostfocal, as LightGBM's margins": ours(SoftmaxFocalLoss(CLASSES), wide),
        "boostfocal, float32 by column": ours(SoftmaxFocalLoss(CLASSES), by_column),
        "boostfocal, gamma 0": ours(SoftmaxFocalLoss(CLASSES, 0)),
        "boostfocal, gamma 0.3 (general power)": ours(SoftmaxFocalLoss(CLASSES, 0.3)),
        "boostfocal, exact Hessian": ours(SoftmaxFocalLoss(CLASSES, hessian="exact")),
        "plain copy of margins, twice": lambda: (np.copyto(out[0], z), np.copyto(out[1], z)),
        "scikit-learn, log loss": lambda: rival.gradient_hessian(
            y, z, None, gradient_out=out[0], hessian_out=out[1], n_threads=1
        ),
    }
    packages = of_classes(CLASSES, 2.0)
    for name, rows in packages.items():
        margins = z if name.endswith("XGBoost") else wide
        calls[name] = lambda rows=rows, margins=margins: rows(y, margins)
    seconds = report.alternate({name: with_threads(1, quiet(call)) for name, call in calls.items()}, repeats)
    first = seconds["boostfocal, as XGBoost's margins"]
    lines = [(name, 1e9 * float(np.median(s)) / z.size, ratio(s, first)) for name, s in seconds.items()]
    columns = ("code", "ns a margin", "times ours")
    report.table("Ten classes, gamma 2, one thread", columns, lines, 2)
    report.value("rows of ten classes", n, "{:,}")
    report.target("10 classes, times as fast as scikit-learn", ratio(seconds["scikit-learn, log loss"], first), low=2)
    theirs = {
        name: ratio(seconds[name], first if name.endswith("XGBoost") else seconds["boostfocal, as LightGBM's margins"])
        for name in packages
    }
    if theirs:
        nearest = min(theirs, key=lambda name: theirs[name])
        report.target(f"10 classes, times as fast as the fastest package ({nearest})", theirs[nearest], low=10)


def inside(report: Report, n: int, repeats: int) -> None:
    """A round of one feature that is never split: what is left is the objective and the engine's own overhead."""
    rows = Rows(n)
    loss = FocalLoss(0, max_step=np.inf)
    given = loss.gradient_hessian(rows.y, rows.z)
    feature = (np.arange(n) % 2).astype(np.float32).reshape(-1, 1)
    never: dict[str, Any] = {"nthread": 1, "max_depth": 1, "min_split_loss": 1e30}
    data = xgb.DMatrix(feature, rows.y, nthread=1)
    own = xgb.Booster({**never, "objective": "binary:logistic"}, [data])
    custom = xgb.Booster(never, [data])
    rounds = iter(range(10**9))
    parameters: dict[str, Any] = {"verbose": -1, "num_threads": 1, "num_leaves": 2, "min_gain_to_split": 1e30}
    dataset = lgb.Dataset(feature, rows.y, params=parameters)
    native = lgb.Booster({**parameters, "objective": "binary", "boost_from_average": False}, dataset)
    none = lgb.Booster({**parameters, "objective": "none"}, dataset)
    calls: dict[str, tuple[Call, ...]] = {
        "XGBoost": (
            lambda: own.update(data, next(rounds)),
            lambda: custom.update(data, next(rounds), fobj=loss),
            lambda: custom.update(data, next(rounds), fobj=lambda margin, data: given),
        ),
        "LightGBM": (
            lambda: native.update(),
            lambda: none.update(fobj=loss),
            lambda: none.update(fobj=lambda margin, data: given),
        ),
    }
    lines = []
    for engine, three in calls.items():
        names = ("built-in log loss", "boostfocal, gamma 0", "gradients that are given")
        named = {name: with_threads(1, call) for name, call in zip(names, three, strict=True)}
        seconds = report.alternate(named, repeats)
        lines.append((engine, *(1e9 * float(np.median(s)) / n for s in seconds.values())))
    report.table("Nanoseconds a row of a round that grows no tree, one thread", ("engine", *names), lines, 2)


def memory(report: Report, n: int) -> None:
    rows = Rows(n)
    loss = FocalLoss()
    for name, margins in (("float32", rows.z), ("float64", rows.z.astype(np.float64))):
        loss.gradient_hessian(rows.y, margins)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        results = loss.gradient_hessian(rows.y, margins)
        beyond = tracemalloc.get_traced_memory()[1] - before - sum(array.nbytes for array in results)
        tracemalloc.stop()
        report.value(f"KiB beyond the results, {name} margins", beyond / 1024, "{:.0f}")
        del results


def two_threads(report: Report, n: int, repeats: int) -> None:
    if cpu_count() < 2:
        report.note("two threads: skipped, one CPU")
        return
    rows = Rows(n)
    ours = rows.ours()
    callers = ThreadPoolExecutor(2)

    def side_by_side() -> None:  # what the machine's second CPU adds to calls that share no work
        list(callers.map(lambda _: ours(), range(2)))

    calls = {"one": with_threads(1, ours), "two": with_threads(2, ours), "side by side": with_threads(1, side_by_side)}
    taken = report.alternate(calls, repeats, calm=True)
    limit = 2 / ratio(taken["side by side"], taken["one"])
    report.value("two separate calls side by side, times the work of one: the machine's own limit", limit, "{:.2f}")
    report.target("two threads, times as fast as one", 1 / ratio(taken["two"], taken["one"]), low=1.7)


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("kernels", options)
    if missing():
        report.note(f"not installed, left out: {', '.join(missing())}")
    quick = options.quick
    n = 100_000 if quick else 1_000_000
    binary(report, n, 5 if quick else 31)
    variants(report, n, 5 if quick else 51)
    softmax(report, n // 10, 3 if quick else 21)
    inside(report, n, 3 if quick else 31)
    memory(report, n)
    two_threads(report, n, 5 if quick else 101)
    sizes(report, 10**5 if quick else 10**8)
    with_memory_kept(report, n, 5 if quick else 31)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
