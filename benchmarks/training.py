"""Time and peak memory of whole training at gamma 0, against the engine's own logistic loss and a replay.

With ``max_step=inf`` the trees are those of the engine's own loss, so that all do the same work. The replay
objective returns the gradients and Hessians that an earlier, identical run recorded: it does no arithmetic, so it
is the price of calling any Python objective; one that also asks the data set for its labels is the price of any
that looks at them, as XGBoost copies them at each call. What an objective takes above the replay is small beside what
a machine does to two trainings, so there the two take turns from round to round of one training.

Memory is that of a process of its own, which holds nothing but the engine's data set.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from _measure import Report, Seconds, parser, ratio
from joblib import cpu_count
from numpy.typing import NDArray
from scipy.special import expit, logit

from boostfocal import FocalLoss, SoftmaxFocalLoss

Array = NDArray[Any]
Gradients = tuple[NDArray[np.float32], NDArray[np.float32]]
Objective = Callable[[Any, Any], Gradients]
Train = Callable[[Objective | None, int], xgb.Booster | lgb.Booster]
FEATURES = 30


def watched(loss: FocalLoss, results: list[Gradients] | None, seconds: list[float]) -> Objective:
    """The objective, noting how long it took and, if there is a list, what it returned.

    A function, because `lightgbm.train` copies its parameters in depth: an object would note in the copy.
    """

    def objective(margin: Any, data: Any) -> Gradients:
        begin = time.perf_counter()
        result = loss(margin, data)
        seconds.append(time.perf_counter() - begin)
        if results is not None:
            results.append(result)
        return result

    return objective


def table(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    x = random.standard_normal((n, FEATURES), np.float32)
    margin = x[:, :5].sum(axis=1) + 2 * x[:, 5] * x[:, 6] - 4
    return x, (random.random(n, np.float32) < expit(margin)).astype(np.float32)


def in_xgboost(x: Array, y: Array, threads: int) -> tuple[Train, Callable[[Any], Array]]:
    data = xgb.QuantileDMatrix(x, y, nthread=threads)
    prior = float(y.mean())
    shared = {"tree_method": "hist", "nthread": threads, "disable_default_eval_metric": True}

    def train(objective: Objective | None, rounds: int) -> xgb.Booster:
        if objective is None:  # base_score is a probability where a link is named, else a margin
            own = {"objective": "binary:logistic", "base_score": prior}
            return xgb.train(shared | own, data, rounds)
        return xgb.train(shared | {"base_score": float(logit(prior))}, data, rounds, obj=objective)

    return train, lambda booster: booster.predict(data, output_margin=True)


def in_lightgbm(x: Array, y: Array, threads: int) -> tuple[Train, Callable[[Any], Array]]:
    start = np.full(y.size, logit(float(y.mean())))
    shared = {"num_threads": threads, "force_col_wise": True, "boost_from_average": False, "verbose": -1}
    data = lgb.Dataset(x, y, init_score=start, params=shared).construct()

    def train(objective: Objective | None, rounds: int) -> lgb.Booster:
        return lgb.train(shared | {"objective": objective or "binary"}, data, rounds)

    sample = x[:100_000].copy()
    return train, lambda booster: booster.predict(sample, raw_score=True)


ENGINES = {"XGBoost": in_xgboost, "LightGBM": in_lightgbm}


def above_replay(train: Train, loss: FocalLoss, recorded: list[Gradients], repeats: int) -> float:
    """Seconds that a round with the loss takes above one of a replay, the median over rounds.

    Of two trainings one computes the even rounds and replays the odd ones, and the other the other way round, so that
    each round is had both ways, with the same tree. Both are timed from one call of the objective to the next.
    """
    differences = []
    for _ in range(repeats):
        rounds = {}
        for parity in (0, 1):
            calls: list[float] = []

            def objective(margin: Any, data: Any, calls: list[float] = calls, parity: int = parity) -> Gradients:
                calls.append(time.perf_counter())
                number = len(calls) - 1
                return loss(margin, data) if number % 2 == parity else recorded[number]

            train(objective, len(recorded))
            rounds[parity] = np.diff(calls)
        signs = np.where(np.arange(len(recorded) - 1) % 2 == 0, 1, -1)
        differences.append(signs * (rounds[0] - rounds[1]))
    return float(np.median(differences))


def whole(report: Report, sizes: dict[int, tuple[int, int]], thread_counts: list[int]) -> list[tuple[Any, ...]]:
    """One line for each size, engine and number of threads."""
    loss = FocalLoss(0, max_step=np.inf)
    lines = []
    for n, (rounds, repeats) in sizes.items():
        x, y = table(n)
        for engine, build in ENGINES.items():
            for threads in thread_counts:
                train, margins = build(x, y, threads)
                recorded: list[Gradients] = []
                booster = train(watched(loss, recorded, []), rounds)
                difference = float(np.abs(margins(booster) - margins(train(None, rounds))).max())

                def replay(train: Train = train, recorded: list[Gradients] = recorded, rounds: int = rounds) -> None:
                    results = iter(recorded)
                    train(lambda margin, data: next(results), rounds)

                def reading(train: Train = train, recorded: list[Gradients] = recorded, rounds: int = rounds) -> None:
                    results = iter(recorded)
                    train(lambda margin, data: (data.get_label(), data.get_weight(), next(results))[-1], rounds)

                inside: list[float] = []
                ours = watched(loss, None, inside)
                seconds = report.alternate({
                    "built-in": lambda train=train, rounds=rounds: train(None, rounds),
                    "ours": lambda train=train, ours=ours, rounds=rounds: train(ours, rounds),
                    "replay": replay,
                    "replay that reads the labels": reading,
                }, repeats, calm=True)  # fmt: skip
                built_in, own, replayed, read = seconds.values()
                lower, median, upper = _quartiles(own / built_in)
                above = above_replay(train, loss, recorded, repeats) * rounds / float(np.median(built_in))
                lines.append((
                    n, engine, threads, 1e3 * float(np.median(built_in)) / rounds, median, lower, upper,
                    ratio(replayed, built_in), above, ratio(read - replayed, built_in),
                    1e9 * float(np.median(inside)) / n, rounds * float(np.median(inside)) / float(np.median(built_in)),
                ))  # fmt: skip
                where = f"{engine}, {n:,} rows, {threads} threads"
                name = f"{where}: largest difference of margins to the built-in's"
                report.target(name, difference, high=1e-5, timing=False)
                if n == 1_000_000 and threads == max(thread_counts):
                    report.target(f"{where}: our call's share of the built-in's round", lines[-1][11], high=0.02)
                    report.target(f"{where}: above the replay, of the built-in's time", lines[-1][8], high=0.02)
                    if engine == "LightGBM":
                        report.target(f"{where}: times the built-in objective's time", median, high=1)
                del recorded, booster, train, margins
    return lines


def several(report: Report, n: int, k: int, rounds: int, repeats: int) -> None:
    """Softmax focal loss with the penalties and the learning rate that make its trees the engine's own.

    The Hessian has another factor than the engines': XGBoost doubles it, LightGBM multiplies it by k / (k - 1).
    """
    random = np.random.default_rng(0)
    x = random.standard_normal((n, FEATURES), np.float32)
    y = (x[:, :k] + random.gumbel(size=(n, k))).argmax(axis=1)
    loss = SoftmaxFocalLoss(k, 0, max_step=np.inf)
    shared = {"num_class": k, "nthread": cpu_count(), "base_score": 0.0, "disable_default_eval_metric": True}
    data = xgb.QuantileDMatrix(x, y)

    def xgboost(own: bool) -> Array:
        if own:
            booster = xgb.train({**shared, "objective": "multi:softprob"}, data, rounds)
        else:
            halves = {"learning_rate": 0.15, "reg_lambda": 0.5, "min_child_weight": 0.5}
            booster = xgb.train({**shared, **halves}, data, rounds, obj=loss)
        return np.asarray(booster.predict(data, output_margin=True))

    common = {"num_threads": cpu_count(), "verbose": -1, "force_col_wise": True, "boost_from_average": False}
    rows = lgb.Dataset(x, y, init_score=np.zeros((n, k)), params=common).construct()

    def lightgbm(own: bool) -> Array:
        if own:
            booster = lgb.train({**common, "num_class": k, "objective": "multiclass"}, rows, rounds)
        else:
            factor = k / (k - 1)
            scaled = {"learning_rate": 0.1 / factor, "min_sum_hessian_in_leaf": 1e-3 / factor}
            booster = lgb.train({**common, **scaled, "num_class": k, "objective": loss}, rows, rounds)
        return np.asarray(booster.predict(x[:1000], raw_score=True))

    lines = []
    for engine, train in (("XGBoost", xgboost), ("LightGBM", lightgbm)):
        difference = float(np.abs(train(True)[:1000] - train(False)[:1000]).max())
        seconds = report.alternate(
            {"own": lambda train=train: train(True), "ours": lambda train=train: train(False)}, repeats, calm=True
        )
        lower, median, upper = _quartiles(seconds["ours"] / seconds["own"])
        lines.append((engine, *(float(np.median(s)) for s in seconds.values()), median, lower, upper))
        report.target(f"{engine}, {k} classes: largest difference of margins", difference, high=1e-3, timing=False)
        report.target(f"{engine}, {k} classes: times its own objective's training time", median, high=1.05)
    columns = ("engine", "built-in, s", "ours, s", "ours / built-in", "lower quartile", "upper quartile")
    report.table("Training of several classes, equal trees", columns, lines)
    report.note(f"several classes: {k}, {n:,} rows, {rounds} rounds")


# --- memory ------------------------------------------------------------------------------------------


def status(field: str) -> int:
    """KiB of this process, by the kernel's name."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def peak(engine: str, n: int, own: bool, rounds: int = 3) -> dict[str, int]:
    """KiB before training, and at its peak, of this process."""
    loss = FocalLoss(0, max_step=np.inf)
    loss.gradient_hessian(np.zeros(8, np.float32), np.zeros(8, np.float32))  # compile
    x, y = table(n)
    train, _ = ENGINES[engine](x, y, cpu_count())
    del x, y
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    train(None if own else loss, rounds)
    return {"before": before, "peak": status("VmHWM")}


def memory(report: Report, sizes: list[int]) -> None:
    if not Path("/proc/self/clear_refs").exists():
        report.note("skipped: peak memory, which is read from Linux's /proc")
        return
    lines = []
    for n in sizes:
        for engine in ENGINES:
            found = {}
            for own in (True, False):
                command = [sys.executable, __file__, "--peak", engine, str(n), str(int(own))]
                found[own] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            megabytes = [found[own]["peak"] / 1024 for own in (True, False)]
            more = [(found[own]["peak"] - found[own]["before"]) / 1024 for own in (True, False)]
            lines.append((n, engine, *megabytes, megabytes[1] / megabytes[0], *more))
    columns = ("rows", "engine", "built-in, MiB", "ours, MiB", "ours / built-in", "of which training: built-in", "ours")
    report.table("Peak memory of the process", columns, lines, 2)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--peak", nargs=3, metavar=("ENGINE", "ROWS", "OWN"), help="print one process's memory")
    options = arguments.parse_args()
    if options.peak:
        engine, n, own = options.peak
        print(json.dumps(peak(engine, int(n), own == "1")))
        return 0
    report = Report("training", options)
    sizes = {100_000: (60, 9), 1_000_000: (30, 9), 10_000_000: (5, 3)}  # rounds, repeats
    if options.quick:
        sizes = {20_000: (10, 3)}
    lines = whole(report, sizes, sorted({1, min(2, cpu_count())}))
    columns = (
        "rows", "engine", "threads", "built-in, ms a round", "ours / built-in", "lower quartile", "upper quartile",
        "replay / built-in", "(ours − replay) / built-in", "reading labels / built-in", "in the objective, ns a row",
        "objective / built-in",
    )  # fmt: skip
    report.table("Whole training, equal trees", columns, lines)
    memory(report, [20_000] if options.quick else list(sizes))
    several(report, *((20_000, 5, 5, 3) if options.quick else (200_000, 5, 30, 9)))
    return report.finish()


def _quartiles(values: Seconds) -> list[float]:
    return [float(value) for value in np.quantile(values, [0.25, 0.5, 0.75])]


if __name__ == "__main__":
    sys.exit(main())
