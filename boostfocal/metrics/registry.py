"""Metrics by name: ours, and those of both engines, which are correct here under a custom objective.

The engines compute a metric from the link of the objective that they know by name. Under a custom objective that link
is none or a wrong one. To add a metric of probabilities, add a row to `BY_PROBABILITY`; to add one whose name holds a
number, add a row to `WITH_NUMBER`. XGBoost maximizes names with certain beginnings alone: a metric asked for by
another name is recorded under its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import scores
from .base import Brier, FocalMetric, LogLoss, Loss, MacroAveragePrecision, Metric
from .ranking import AveragePrecision, PartialAUC, PrecisionAtK, RecallAtFalsePositiveRate, RecallAtPrecision

BOTH, BINARY, MULTICLASS = (True, True), (True, False), (False, True)


@dataclass(frozen=True)
class Entry:
    """A metric that is a function of probabilities.

    Parameters
    ----------
    names : tuple of str
        Ours first, then the engines'. A metric keeps the name under which it was asked for.
    greater_is_better : bool
    score : callable
        (labels, probabilities, sample weights) -> float.
    serves : (bool, bool)
        Whether it is for two classes, and for more.
    """

    names: tuple[str, ...]
    greater_is_better: bool
    score: Callable[..., float]
    serves: tuple[bool, bool] = BOTH


BY_PROBABILITY = (
    Entry(("error", "binary_error", "merror", "multi_error"), False, scores.error_rate),
    Entry(("auc",), True, scores.roc_auc_by_frequency),
    Entry(("auc_mu",), True, scores.auc_mu, MULTICLASS),
)

LOG_LOSS = (
    "posterior_logloss", "logloss", "binary_logloss", "mlogloss", "multi_logloss", "cross_entropy", "xentropy",
    "binary", "multiclass", "softmax",
)  # fmt: skip
BRIER = ("posterior_brier", "brier", "l2", "mse", "mean_squared_error")
ROOT_BRIER = ("rmse", "l2_root", "root_mean_squared_error")
AVERAGE_PRECISION = ("precision_average", "average_precision", "aucpr")


@dataclass(frozen=True)
class Numbered:
    """A metric of two classes whose name holds a number.

    Parameters
    ----------
    name : str
        A pattern with one group, which is the number.
    example : str
        Such a name, for messages.
    metric : callable
        (number, name, loss) -> Metric.
    """

    name: str
    example: str
    metric: Callable[[float, str, Loss], Metric]


WITH_NUMBER = (
    Numbered(r"error@([\d.]+)", "error@0.3", lambda n, name, loss: _of_probabilities(
        name, partial(scores.error_rate, threshold=n), False, loss)),
    Numbered(r"precision_at_(\d+)", "precision_at_100", lambda n, name, loss: PrecisionAtK(int(n))),
    Numbered(r"precision_([\d.]+)_recall", "precision_0.9_recall", lambda n, name, loss: RecallAtPrecision(n)),
    Numbered(r"(?:auc_)?recall_at_fpr_([\d.]+)", "recall_at_fpr_0.001",
             lambda n, name, loss: RecallAtFalsePositiveRate(n)),
    Numbered(r"auc_partial_([\d.]+)", "auc_partial_0.1", lambda n, name, loss: PartialAUC(n)),
)  # fmt: skip

RANKED_BY = {
    "xgboost": re.compile(r"(auc|aucpr|map|pre|ndcg)(@[\d.]+)?-?"),
    "lightgbm": re.compile(r"auc|average_precision"),
}
"""Metrics of a binary label that an engine itself computes rightly from margins."""


class Named(Metric):
    """A function (labels, margins, weights) under the name that the user gave."""

    def __init__(self, name: str, function: Callable[[Any, Any, Any], Any], greater_is_better: bool = False) -> None:
        self._name, self._function = name, function
        self.greater_is_better = greater_is_better  # type: ignore[misc]

    @property
    def name(self) -> str:
        return self._name

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return float(self._function(y, margin, sample_weight))


def by_name(name: str, loss: Loss, n_classes: int) -> Metric:
    """The metric with this name of ours or of an engine, from the loss's posterior, for rows sampled as in training.

    Raises
    ------
    ValueError
        For a name that is not known for so many classes.

    Examples
    --------
    >>> from boostfocal import FocalLoss
    >>> metric = by_name("rmse", FocalLoss(2.0), 2)
    >>> round(metric.score([0, 1, 1], [-1.0, 0.5, 2.0]), 4)
    0.1255
    """
    several = n_classes > 2
    for names, metric in ((LOG_LOSS, LogLoss(loss)), (BRIER, Brier(loss)), (("focal",), FocalMetric(loss))):
        if name in names:
            return Named(name, metric.score)
    if name in ROOT_BRIER:
        return Named(name, lambda y, margin, w: np.sqrt(Brier(loss).score(y, margin, w)))
    if name in AVERAGE_PRECISION:
        return Named(name, (MacroAveragePrecision(loss) if several else AveragePrecision()).score, True)
    for entry in BY_PROBABILITY:
        if name in entry.names and entry.serves[several]:
            return _of_probabilities(name, entry.score, entry.greater_is_better, loss)
    if name == "precision_average_macro" and several:
        return MacroAveragePrecision(loss)
    for numbered in () if several else WITH_NUMBER:
        if found := re.fullmatch(numbered.name, name):
            return numbered.metric(float(found[1]), name, loss)
    accepted = [*LOG_LOSS, *BRIER, *ROOT_BRIER, "focal", *AVERAGE_PRECISION]
    accepted += [name for entry in BY_PROBABILITY if entry.serves[several] for name in entry.names]
    if several:
        accepted.append("precision_average_macro")
    else:
        accepted += [*(numbered.example for numbered in WITH_NUMBER), "and the engine's other ranking metrics"]
    raise ValueError(
        f"eval_metric must be a callable or a name that is known for {n_classes} classes, got {name!r}; "
        f"known are {', '.join(accepted)}"
    )


def _of_probabilities(name: str, score: Callable[..., float], greater_is_better: bool, loss: Loss) -> Metric:
    return Named(name, lambda y, margin, w: score(np.asarray(y), loss.predict_proba(margin), w), greater_is_better)
