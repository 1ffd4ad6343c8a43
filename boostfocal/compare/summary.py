"""Means, paired differences with their intervals, and what they say in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contenders import CONTENDERS, FOCAL, GAMMA_0, LOG_LOSS, Engine
from .run import Options, Result
from .scores import SELECTORS, Score, scores
from .splits import Split

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean over splits of one contender's figure minus another's on the same split.

    `reach` is half the width of the 95 % interval, None with a single split. The variance is
    corrected for training sets that overlap (Nadeau and Bengio 2003, *Inference for the
    Generalization Error*): (1/J + n_test/n_train) S² for J splits.
    """

    engine: Engine
    contender: str
    reference: str
    figure: str
    mean: float
    reach: float | None

    def better(self, score: Score) -> bool:
        return self.reach is not None and (self.mean if score.greater_is_better else -self.mean) > self.reach

    def worse(self, score: Score) -> bool:
        return self.reach is not None and (self.mean if score.greater_is_better else -self.mean) < -self.reach

    def __str__(self) -> str:
        return f"{self.mean:+.4f}" + ("" if self.reach is None else f" ± {self.reach:.4f}")


@dataclass(frozen=True)
class Row:
    """A contender's means over the splits."""

    engine: Engine
    contender: str
    figures: dict[str, float]
    fit_seconds: float


@dataclass(frozen=True)
class Summary:
    """All that a comparison found. `winner` is the result whose setting the winner's code uses."""

    n_splits: int
    engines: list[Engine]
    scores: tuple[Score, ...]
    rows: list[Row]
    differences: list[Difference]
    verdict: list[str]
    winner: Result

    def difference(self, engine: Engine, contender: str, reference: str, figure: str) -> Difference:
        return find(self.differences, engine, contender, reference, figure)


def summarize(results: Sequence[Result], splits: Sequence[Split], options: Options, n_classes: int = 2) -> Summary:
    """Put the results of whole splits together."""
    if not results:
        raise ValueError("results must hold at least one whole split, got none")
    engines = list(dict.fromkeys(result.engine for result in results))
    table = {(r.engine, r.contender, r.split): r for r in results}
    numbers = sorted({result.split for result in results})
    test_share = float(np.mean([splits[n].test.size / splits[n].train.size for n in numbers]))
    figures = scores(options.k, n_classes)

    def values(engine: Engine, contender: str, figure: str) -> NDArray[np.float64]:
        return np.array([table[engine, contender, number].figures[figure] for number in numbers])

    rows = [
        Row(
            engine,
            contender.name,
            {score.key: float(values(engine, contender.name, score.key).mean()) for score in figures},
            float(np.mean([table[engine, contender.name, number].fit_seconds for number in numbers])),
        )
        for engine in engines
        for contender in CONTENDERS
    ]
    pairs = [(contender.name, LOG_LOSS.name) for contender in CONTENDERS if contender is not LOG_LOSS]
    pairs.append((FOCAL.name, GAMMA_0.name))
    differences = [
        Difference(engine, name, reference, score.key, *interval(
            values(engine, name, score.key) - values(engine, reference, score.key), test_share
        ))
        for engine in engines
        for name, reference in pairs
        for score in figures
    ]  # fmt: skip
    judged_by = SELECTORS[options.select]
    verdict = [_on_focal_loss(engine, differences, judged_by) for engine in engines]
    verdict += [_on_probabilities(engine, rows) for engine in engines]
    winner = _winner(rows, differences, judged_by)
    at = sorted((table[winner.engine, winner.contender, n] for n in numbers), key=lambda r: r.figures[judged_by.key])
    return Summary(len(numbers), engines, figures, rows, differences, verdict, at[len(at) // 2])


def interval(differences: NDArray[np.float64], test_share: float) -> tuple[float, float | None]:
    """Mean and half the corrected 95 % interval; `test_share` is test rows over training rows."""
    from scipy.stats import t

    mean, n = float(differences.mean()), differences.size
    if n < 2:
        return mean, None
    error = float(np.sqrt((1 / n + test_share) * differences.var(ddof=1)))
    return mean, error * float(t.ppf((1 + CONFIDENCE) / 2, n - 1))


def find(differences: Sequence[Difference], engine: Engine, contender: str, reference: str, figure: str) -> Difference:
    wanted = (engine, contender, reference, figure)
    return next(d for d in differences if (d.engine, d.contender, d.reference, d.figure) == wanted)


def _on_focal_loss(engine: Engine, differences: Sequence[Difference], score: Score) -> str:
    focal = find(differences, engine, FOCAL.name, LOG_LOSS.name, score.key)
    zero = find(differences, engine, GAMMA_0.name, LOG_LOSS.name, score.key)
    gamma = find(differences, engine, FOCAL.name, GAMMA_0.name, score.key)
    if focal.reach is None:
        text = "one split gives no interval, so no verdict"
    elif focal.worse(score):
        text = "focal loss is worse than log loss here"
    elif focal.better(score) and gamma.better(score):
        text = "focal loss helps here, and gamma itself does"
    elif focal.better(score) or zero.better(score):
        harm = ", which even costs" if gamma.worse(score) else ""
        text = f"what helps is the bounded step and alpha of our objective, not gamma{harm}"
    else:
        text = "no evidence that focal loss helps here"
    numbers = f"focal loss − log loss {focal}, gamma 0 − log loss {zero}, focal loss − gamma 0 {gamma}"
    return f"{engine}: {text} ({score.title}: {numbers})."


def _on_probabilities(engine: Engine, rows: Sequence[Row]) -> str:
    here = [row for row in rows if row.engine == engine]
    best = min(here, key=lambda row: row.figures["log_loss"])
    closest, furthest = (by(here, key=lambda row: row.figures["calibration_error"]) for by in (min, max))
    return (
        f"{engine}: {best.contender} has the best log loss ({best.figures['log_loss']:.4f}); the probabilities of "
        f"{closest.contender} are closest to the true rates (calibration error "
        f"{closest.figures['calibration_error']:.4f}), those of {furthest.contender} furthest from them "
        f"({furthest.figures['calibration_error']:.4f})."
    )


def _winner(rows: Sequence[Row], differences: Sequence[Difference], score: Score) -> Row:
    """The best mean among what is better than log loss beyond its interval, and log loss itself."""

    def proven(row: Row) -> bool:
        if row.contender == LOG_LOSS.name:
            return True
        return find(differences, row.engine, row.contender, LOG_LOSS.name, score.key).better(score)

    sign = 1 if score.greater_is_better else -1
    return max(filter(proven, rows), key=lambda row: sign * row.figures[score.key])


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain values."""
    return {
        "n_splits": summary.n_splits,
        "means": [
            {"engine": row.engine, "contender": row.contender, **row.figures, "fit_seconds": row.fit_seconds}
            for row in summary.rows
        ],
        "differences": [vars(difference) for difference in summary.differences],
        "verdict": summary.verdict,
        "winner": {
            "engine": summary.winner.engine,
            "contender": summary.winner.contender,
            "parameters": summary.winner.parameters,
            "knobs": dict(summary.winner.knobs),
            "rounds": summary.winner.rounds,
        },
    }
