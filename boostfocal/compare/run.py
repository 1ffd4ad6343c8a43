"""The comparison: every contender on every split and engine, tuned on inner validation only."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from .contenders import CONTENDERS, Contender, Device, Engine, Hyperparameters, Trial, draw_trials, shared_parameters
from .costs import Costs
from .judged import SELECTION_METRICS, SelectionMetric, metrics_of
from .splits import Split
from .table import Table
from .training import Data, Fitted, Job, train

ENGINES: tuple[Engine, ...] = ("xgboost", "lightgbm")

ROWS_PER_PROCESS = 1_000_000  # above, parallel fits may lack memory, and an engine's own threads take over


@dataclass(frozen=True)
class Options:
    """How much to compute, and by which metric to choose."""

    trials: int
    rounds: int
    select: SelectionMetric
    k: int
    seed: int
    device: Device = "cpu"
    fpr: float | None = None
    costs: Costs | None = None


@dataclass(frozen=True)
class Result:
    """The result of one contender on one split with one engine."""

    split: int
    engine: Engine
    contender: str
    metrics: dict[str, float]
    parameters: dict[str, Any]
    hyperparameters: Hyperparameters
    rounds: int
    fit_seconds: float
    tuning_seconds: float
    test: NDArray[np.int64]
    proba: NDArray[np.float64]


def installed_engines() -> tuple[Engine, ...]:
    return tuple(engine for engine in ENGINES if find_spec(engine) is not None)


def compare(
    table: Table,
    splits: list[Split],
    engines: tuple[Engine, ...],
    options: Options,
    on_result: Callable[[Result], None] = lambda result: None,
    contenders: Sequence[Contender] = CONTENDERS,
    train: Callable[..., Fitted] = train,
) -> list[Result]:
    """Run every contender and return the results of whole splits, in order.

    `train` may be another function of the same signature, for contenders that are no classifiers.

    On KeyboardInterrupt it drops what is running and returns what is finished, which may be nothing.
    """
    data = Data(table.matrix(), table.labels, len(table.values), table.categorical, table.amount)
    fitting = [contender.for_classes(data.n_classes) for contender in contenders]
    tasks = [
        (number, engine, contender) for number in range(len(splits)) for engine in engines for contender in fitting
    ]
    cpus = joblib.cpu_count()
    side_by_side = table.labels.size <= ROWS_PER_PROCESS and options.device == "cpu"
    processes = min(cpus, len(tasks)) if side_by_side else 1
    threads = max(1, cpus // processes)
    calls = (
        joblib.delayed(_contend)(data, splits[number], number, engine, contender, options, threads, train)
        for number, engine, contender in tasks
    )
    results: list[Result] = []
    running: Iterator[Result] = joblib.Parallel(processes, return_as="generator_unordered")(calls)
    with suppress(KeyboardInterrupt):
        for result in running:
            results.append(result)
            on_result(result)
    in_split = len(engines) * len(fitting)
    whole = [number for number in range(len(splits)) if sum(result.split == number for result in results) == in_split]
    order = {(engine, contender.name): i for i, (_, engine, contender) in enumerate(tasks[:in_split])}
    kept = [result for result in results if result.split in whole]
    return sorted(kept, key=lambda result: (result.split, order[result.engine, result.contender]))


def _contend(
    data: Data, split: Split, number: int, engine: Engine, contender: Contender, options: Options, threads: int,
    train: Callable[..., Fitted],
) -> Result:  # fmt: skip
    """Tune on the split's inner validation, train on all its training rows, and test."""
    seed = options.seed + number

    def job(trial: Trial, rounds: int) -> Job:
        parameters = shared_parameters(engine, trial, options.device)
        return Job(engine, contender, parameters, trial.hyperparameters, rounds, threads, seed)

    began = time.perf_counter()
    best_score, best_rounds, best = -np.inf, 0, draw_trials(contender, 1, seed)[0]
    selector = SELECTION_METRICS[options.select]
    held_out = data.matrix[split.validation], data.labels[split.validation]
    for trial in draw_trials(contender, options.trials, seed):
        fitted = train(job(trial, options.rounds), data, split.fit, split.validation)
        score = selector.score(held_out[1], fitted.predict(held_out[0])) * (1 if selector.greater_is_better else -1)
        if score > best_score:
            best_score, best_rounds, best = score, fitted.rounds, trial
    tuned = time.perf_counter()
    final = train(job(best, best_rounds), data, split.train)
    fitted_at = time.perf_counter()
    proba = final.predict(data.matrix[split.test])
    labels = data.labels[split.test]
    amounts = None if data.amount is None else data.amount[split.test]
    judged = metrics_of(options.k, data.n_classes, options.fpr, options.costs, amounts)
    return Result(
        split=number,
        engine=engine,
        contender=contender.name,
        metrics={metric.key: metric.score(labels, proba) for metric in judged},
        parameters=shared_parameters(engine, best, options.device),
        hyperparameters=best.hyperparameters,
        rounds=best_rounds,
        fit_seconds=fitted_at - tuned,
        tuning_seconds=tuned - began,
        test=split.test,
        proba=proba,
    )
