"""Time a row of `FocalLoss.gradient_hessian`, against scikit-learn's compiled logistic loss and NumPy."""

import os
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _measure import Report, parser, ratio
from joblib import cpu_count
from numpy.typing import NDArray
from sklearn._loss.loss import HalfBinomialLoss

from boostfocal import FocalLoss

Floats = NDArray[np.float32]


def in_numpy(y: Floats, z: Floats, gradient: Floats, hessian: Floats, block: int = 16384) -> None:
    """Gamma 2, expected Hessian, steps up to 10: float32, in blocks that stay in cache, stable in the tails."""
    one, two, five = np.float32([1, 2, 5])
    for start in range(0, z.size, block):
        rows = slice(start, start + block)
        margin, label = z[rows], y[rows]
        e = np.exp(-np.abs(margin))
        likely = one / (one + e)
        unlikely = e * likely
        log_likely = -np.log1p(e)
        log_unlikely = log_likely - np.abs(margin)
        positive = margin >= 0
        s, t = np.where(positive, likely, unlikely), np.where(positive, unlikely, likely)
        s_log_s = s * np.where(positive, log_likely, log_unlikely)
        t_log_t = t * np.where(positive, log_unlikely, log_likely)
        s2, t2, st = s * s, t * t, s * t
        down = s2 * (s - two * t_log_t)
        up = t2 * (t - two * s_log_s)
        bend0 = s2 * (five * st + two * t_log_t * (s - two * t))
        bend1 = t2 * (five * st + two * s_log_s * (t - two * s))
        np.subtract((one - label) * down, label * up, out=gradient[rows])
        expected = (down * bend1 + up * bend0) / (down + up)
        np.maximum(expected, np.abs(gradient[rows]) * np.float32(0.1), out=hessian[rows])


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("kernel", options)
    n, repeats = (200_000, 15) if options.quick else (1_000_000, 101)
    random = np.random.default_rng(0)
    z = random.normal(-2, 3, n).astype(np.float32)
    z64 = z.astype(np.float64)
    y = (random.random(n) < 1 / (1 + np.exp(-z64))).astype(np.float32)
    w = random.uniform(0.5, 2, n).astype(np.float32)
    out, out2 = np.empty_like(z), np.empty_like(z)
    logistic = HalfBinomialLoss()
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel reads it at every call

    def scikit_learn(weights: Floats | None = None) -> None:
        logistic.gradient_hessian(y, z, weights, gradient_out=out, hessian_out=out2, n_threads=1)

    loss = FocalLoss()
    begin = time.perf_counter()
    gradient, hessian = loss.gradient_hessian(y, z)
    report.note(f"{n:,} rows; the first call, with imports and compiling, takes {time.perf_counter() - begin:.2f} s")
    in_numpy(y, z, out, out2)
    np.testing.assert_allclose(gradient, out, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(hessian, out2, rtol=1e-4, atol=1e-7)

    def ours(variant: FocalLoss = loss, margin: NDArray[np.floating] = z, weights: Floats | None = None) -> None:
        variant.gradient_hessian(y, margin, weights)

    variants = {
        "gamma 2": lambda: ours(),
        "gamma 0": lambda: ours(FocalLoss(0)),
        "gamma 0.5": lambda: ours(FocalLoss(0.5)),
        "gamma 5": lambda: ours(FocalLoss(5)),
        "gamma 0.3 (general power)": lambda: ours(FocalLoss(0.3)),
        "gamma 2, exact Hessian": lambda: ours(FocalLoss(hessian="exact")),
        "gamma 2, float64 margins": lambda: ours(margin=z64),
        "gamma 2, weights": lambda: ours(weights=w),
        "gamma 2, float64 margins, weights": lambda: ours(margin=z64, weights=w),
    }
    rows, speedup = [], {}
    for name, call in variants.items():
        weights = w if "weights" in name else None
        seconds = report.alternate({"ours": call, "rival": lambda weights=weights: scikit_learn(weights)}, repeats)
        speedup[name] = 1 / ratio(seconds["ours"], seconds["rival"])
        rows.append((name, *(1e9 * float(np.median(taken)) / n for taken in seconds.values()), speedup[name]))
    columns = ("one thread, float32 margins, expected Hessian unless said", "ours", "scikit-learn", "times as fast")
    report.table("Nanoseconds a row, beside HalfBinomialLoss with preallocated results", columns, rows, 2)

    rivals = {
        "ours": ours,
        "ours, float64": variants["gamma 2, float64 margins"],
        "NumPy, float32, in blocks": lambda: in_numpy(y, z, out, out2),
        "plain copy of the bytes": lambda: (np.copyto(out, y), np.copyto(out2, z)),
    }
    seconds = report.alternate(rivals, max(repeats // 2, 5))
    rows = [(name, 1e9 * float(np.median(s)) / n, ratio(s, seconds["ours"])) for name, s in seconds.items()]
    report.table("Gamma 2, one thread", ("call", "nanoseconds a row", "times ours"), rows, 2)

    def threads(count: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(count)
        ours()

    tracemalloc.start()
    for name, margin in (("float32", z), ("float64", z64)):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        results = loss.gradient_hessian(y, margin)
        beyond = tracemalloc.get_traced_memory()[1] - before - sum(array.nbytes for array in results)
        report.note(f"peak memory of a call beyond its two results, {name} margins: {beyond / 1024:.0f} KiB")
        report.figures[f"peak_bytes_{name}"] = beyond
        del results
    tracemalloc.stop()

    report.target("gamma 2, times as fast as scikit-learn", speedup["gamma 2"], low=2.5)
    report.target("float64 margins, times the float32", ratio(seconds["ours, float64"], seconds["ours"]), high=2)
    if cpu_count() > 1:
        callers = ThreadPoolExecutor(2)

        def side_by_side() -> None:  # what the machine's second CPU adds to calls that share no work
            os.environ["OMP_NUM_THREADS"] = "1"
            list(callers.map(lambda _: ours(), range(2)))

        calls = {"one": lambda: threads(1), "two": lambda: threads(2), "side by side": side_by_side}
        taken = report.alternate(calls, repeats, calm=True)
        machine = 2 / ratio(taken["side by side"], taken["one"])
        report.note(
            f"two separate calls side by side get {machine:.2f} times as much done as one: the machine's own limit"
        )
        report.target("two threads, times as fast as one", 1 / ratio(taken["two"], taken["one"]), low=1.7)
    else:
        report.note("two threads: skipped, one CPU")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
