"""Evaluation metrics by the engines' names, right under a custom objective.

The engines compute a metric from the link of the objective that they know by name, which under a custom one
is none or a wrong one. What depends on the order of the rows of a binary label alone is right all the
same and stays with the engine; the rest is computed here from the class posterior.
"""

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..metrics import (
    AveragePrecision,
    Brier,
    FocalMetric,
    LogLoss,
    MacroAveragePrecision,
    Metric,
    PrecisionAtK,
    RecallAtPrecision,
)
from ..posterior import Loss, Posterior

RANKED_BY = {
    "xgboost": re.compile(r"(auc|aucpr|map|pre|ndcg)(@[\d.]+)?-?"),
    "lightgbm": re.compile(r"auc|average_precision"),
}
"""Metrics of a binary label that an engine computes rightly from margins."""

LOG_LOSS = ("logloss", "binary_logloss", "mlogloss", "multi_logloss", "cross_entropy", "xentropy", "posterior_logloss",
            "binary", "multiclass", "softmax")  # fmt: skip
ERROR = ("error", "binary_error", "merror", "multi_error")
BRIER = ("brier", "posterior_brier", "l2", "mse", "mean_squared_error")
AVERAGE_PRECISION = ("average_precision", "aucpr", "precision_average")


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


def ours(name: str, loss: Loss) -> Metric:
    """The metric of a name of ours or of an engine, from the loss's posterior: of rows sampled as those of training.

    Raises
    ------
    ValueError
        For a name that is not known for so many classes.
    """
    posterior = Posterior(loss)
    several = posterior.n_classes > 2

    def of_proba(function: Callable[[Any, Any, Any], Any], greater_is_better: bool) -> Metric:
        return Named(name, lambda y, margin, w: function(y, posterior.predict_proba(margin), w), greater_is_better)

    for names, metric in ((LOG_LOSS, LogLoss(loss)), (BRIER, Brier(loss)), (("focal",), FocalMetric(loss))):
        if name in names:
            return Named(name, metric.score)
    if name in ("rmse", "l2_root", "root_mean_squared_error"):
        return Named(name, lambda y, margin, w: np.sqrt(Brier(loss).score(y, margin, w)))
    if name in ERROR:
        return of_proba(lambda y, proba, w: np.average(np.argmax(proba, axis=1) != y, weights=w), False)
    if name == "auc":
        return of_proba(_auc, True)
    if name == "auc_mu" and several:
        return of_proba(_auc_mu, True)
    if name in AVERAGE_PRECISION:
        return Named(name, (MacroAveragePrecision(loss) if several else AveragePrecision()).score, True)
    if name == "precision_average_macro" and several:
        return MacroAveragePrecision(loss)
    if not several:
        if found := re.fullmatch(r"error@([\d.]+)", name):
            threshold = float(found[1])
            return of_proba(lambda y, p, w: np.average((p[:, 1] > threshold) != y, weights=w), False)
        if found := re.fullmatch(r"precision_at_(\d+)", name):
            return PrecisionAtK(int(found[1]))
        if found := re.fullmatch(r"precision_([\d.]+)_recall", name):
            return RecallAtPrecision(float(found[1]))
    more = ["auc", "auc_mu", "precision_average_macro"] if several else [
        "auc", "error@0.3", "precision_at_100", "precision_0.9_recall", "and the engine's other ranking metrics"
    ]  # fmt: skip
    accepted = ", ".join([*LOG_LOSS, *ERROR, *BRIER, "rmse", "focal", *AVERAGE_PRECISION, *more])
    raise ValueError(
        f"eval_metric must be a callable or a name that is known for {posterior.n_classes} classes, got {name!r}; "
        f"known are {accepted}"
    )


def probabilities(posterior: Posterior, margin: ArrayLike) -> NDArray[np.float64]:
    """What a user's own metric is given, as under the engine's own objective: of two classes the second's."""
    proba = posterior.predict_proba(margin)
    return proba if posterior.n_classes > 2 else proba[:, 1]


def _auc(labels: Any, proba: NDArray[np.float64], weights: Any) -> float:
    """Area under the ROC curve; of several classes each against the rest, weighted by its frequency."""
    from sklearn.metrics import roc_auc_score

    if proba.shape[1] == 2:
        return float(roc_auc_score(labels, proba[:, 1], sample_weight=weights))
    present = np.unique(labels).astype(np.intp)
    shares = np.bincount(np.asarray(labels).astype(np.intp), weights)[present]
    areas = [roc_auc_score(labels == k, proba[:, k], sample_weight=weights) for k in present]
    return float(np.average(areas, weights=shares))


def _auc_mu(labels: Any, proba: NDArray[np.float64], weights: Any) -> float:
    """Mean over the pairs of classes of the AUC that their log odds have between them (Kleiman and Page 2019)."""
    from sklearn.metrics import roc_auc_score

    log_proba = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
    areas = []
    for one, other in combinations(np.unique(labels).astype(np.intp), 2):
        rows = (labels == one) | (labels == other)
        log_odds = log_proba[rows, one] - log_proba[rows, other]
        areas.append(
            roc_auc_score(labels[rows] == one, log_odds, sample_weight=None if weights is None else weights[rows])
        )
    return float(np.mean(areas))
