"""Means, paired differences with their intervals, and what they say in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boostfocal.intervals import of_mean

from .contenders import CONTENDERS, FOCAL, GAMMA_0, LOG_LOSS, Engine
from .judged import SELECTION_METRICS, Metric, metrics_of
from .run import Options, Result
from .splits import Split


@dataclass(frozen=True)
class Difference:
    """Mean over splits of one contender's metric minus another's on the same split.

    `half_width` is half the width of the 95 % interval, None with a single split. The variance is
    corrected for training sets that overlap (Nadeau and Bengio 2003, *Inference for the
    Generalization Error*): (1/J + n_test/n_train) S² for J splits.
    """

    engine: Engine
    contender: str
    reference: str
    metric: str
    mean: float
    half_width: float | None

    def better(self, metric: Metric) -> bool:
        return self.half_width is not None and self._gain(metric) > self.half_width

    def worse(self, metric: Metric) -> bool:
        return self.half_width is not None and self._gain(metric) < -self.half_width

    def _gain(self, metric: Metric) -> float:
        return self.mean if metric.greater_is_better else -self.mean

    def __str__(self) -> str:
        return f"{self.mean:+.4f}" + ("" if self.half_width is None else f" ± {self.half_width:.4f}")


@dataclass(frozen=True)
class Row:
    """A contender's means over the splits."""

    engine: Engine
    contender: str
    metrics: dict[str, float]
    fit_seconds: float


@dataclass(frozen=True)
class Summary:
    """All that a comparison found. `winner` is the result whose setting the winner's code uses."""

    n_splits: int
    engines: list[Engine]
    metrics: tuple[Metric, ...]
    rows: list[Row]
    differences: list[Difference]
    verdict: list[str]
    winner: Result

    def difference(self, engine: Engine, contender: str, reference: str, metric: str) -> Difference:
        return find(self.differences, engine, contender, reference, metric)


def summarize(results: Sequence[Result], splits: Sequence[Split], options: Options, n_classes: int = 2) -> Summary:
    """Put the results of whole splits together."""
    if not results:
        raise ValueError("results must hold at least one whole split, got none")
    engines = list(dict.fromkeys(result.engine for result in results))
    table = {(r.engine, r.contender, r.split): r for r in results}
    numbers = sorted({result.split for result in results})
    test_share = float(np.mean([splits[n].test.size / splits[n].train.size for n in numbers]))
    metrics = metrics_of(options.k, n_classes, options.fpr, options.costs)

    def values(engine: Engine, contender: str, metric: str) -> NDArray[np.float64]:
        return np.array([table[engine, contender, number].metrics[metric] for number in numbers])

    rows = [
        Row(
            engine,
            contender.name,
            {metric.key: float(values(engine, contender.name, metric.key).mean()) for metric in metrics},
            float(np.mean([table[engine, contender.name, number].fit_seconds for number in numbers])),
        )
        for engine in engines
        for contender in CONTENDERS
    ]
    pairs = [(contender.name, LOG_LOSS.name) for contender in CONTENDERS if contender is not LOG_LOSS]
    pairs.append((FOCAL.name, GAMMA_0.name))
    differences = [
        Difference(engine, name, reference, metric.key, *of_mean(
            values(engine, name, metric.key) - values(engine, reference, metric.key), test_share
        ))
        for engine in engines
        for name, reference in pairs
        for metric in metrics
    ]  # fmt: skip
    judged_by = SELECTION_METRICS[options.select]
    verdict = [_on_focal_loss(engine, differences, judged_by) for engine in engines]
    verdict += [_on_probabilities(engine, rows) for engine in engines]
    if options.costs is not None:
        verdict += [_on_savings(engine, rows, differences) for engine in engines]
    winner = _winner(rows, differences, judged_by)
    at = sorted((table[winner.engine, winner.contender, n] for n in numbers), key=lambda r: r.metrics[judged_by.key])
    return Summary(len(numbers), engines, metrics, rows, differences, verdict, at[len(at) // 2])


def find(differences: Sequence[Difference], engine: Engine, contender: str, reference: str, metric: str) -> Difference:
    wanted = (engine, contender, reference, metric)
    return next(d for d in differences if (d.engine, d.contender, d.reference, d.metric) == wanted)


def _on_focal_loss(engine: Engine, differences: Sequence[Difference], metric: Metric) -> str:
    focal = find(differences, engine, FOCAL.name, LOG_LOSS.name, metric.key)
    zero = find(differences, engine, GAMMA_0.name, LOG_LOSS.name, metric.key)
    gamma = find(differences, engine, FOCAL.name, GAMMA_0.name, metric.key)
    if focal.half_width is None:
        text = "one split gives no interval, so no verdict"
    elif focal.worse(metric):
        text = "focal loss is worse than log loss here"
    elif focal.better(metric) and gamma.better(metric):
        text = "focal loss helps here, and gamma itself does"
    elif focal.better(metric) or zero.better(metric):
        harm = ", which even costs" if gamma.worse(metric) else ""
        text = f"what helps is the bounded step and alpha of our objective, not gamma{harm}"
    else:
        text = "no evidence that focal loss helps here"
    numbers = f"focal loss − log loss {focal}, gamma 0 − log loss {zero}, focal loss − gamma 0 {gamma}"
    return f"{engine}: {text} ({metric.title}: {numbers})."


def _on_probabilities(engine: Engine, rows: Sequence[Row]) -> str:
    here = [row for row in rows if row.engine == engine]
    best = min(here, key=lambda row: row.metrics["log_loss"])
    closest, furthest = (by(here, key=lambda row: row.metrics["calibration_error"]) for by in (min, max))
    return (
        f"{engine}: {best.contender} has the best log loss ({best.metrics['log_loss']:.4f}); the probabilities of "
        f"{closest.contender} are closest to the true rates (calibration error "
        f"{closest.metrics['calibration_error']:.4f}), those of {furthest.contender} furthest from them "
        f"({furthest.metrics['calibration_error']:.4f})."
    )


def _on_savings(engine: Engine, rows: Sequence[Row], differences: Sequence[Difference]) -> str:
    here = [row for row in rows if row.engine == engine]
    best = max(here, key=lambda row: row.metrics["savings"])
    text = (
        f"{engine}: at decisions of least expected cost {best.contender} saves {best.metrics['savings']:.1%} "
        "of what the best constant decision costs"
    )
    if best.contender == LOG_LOSS.name:
        return f"{text}, more than the others."
    plain = next(row for row in here if row.contender == LOG_LOSS.name)
    difference = find(differences, engine, best.contender, LOG_LOSS.name, "savings")
    return f"{text}, log loss {plain.metrics['savings']:.1%} (difference {difference})."


def _winner(rows: Sequence[Row], differences: Sequence[Difference], metric: Metric) -> Row:
    """The best mean among what is better than log loss beyond its interval, and log loss itself."""

    def proven(row: Row) -> bool:
        if row.contender == LOG_LOSS.name:
            return True
        return find(differences, row.engine, row.contender, LOG_LOSS.name, metric.key).better(metric)

    sign = 1 if metric.greater_is_better else -1
    return max(filter(proven, rows), key=lambda row: sign * row.metrics[metric.key])


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain values."""
    return {
        "n_splits": summary.n_splits,
        "means": [
            {"engine": row.engine, "contender": row.contender, **row.metrics, "fit_seconds": row.fit_seconds}
            for row in summary.rows
        ],
        "differences": [vars(difference) for difference in summary.differences],
        "verdict": summary.verdict,
        "winner": {
            "engine": summary.winner.engine,
            "contender": summary.winner.contender,
            "parameters": summary.winner.parameters,
            "hyperparameters": dict(summary.winner.hyperparameters),
            "rounds": summary.winner.rounds,
        },
    }
