"""What is measured of probabilities on rows that were held out.

Probabilities are those of the positive class, of shape (n,), or of K classes, of shape (n, K). Average
precision, AUC and calibration are then means over the classes, each against the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boostfocal.metrics import PrecisionAtK, calibration_bins

ECE_BINS = 10  # of equal numbers of rows; equal widths would put nearly all rows of a rare class in one


@dataclass(frozen=True)
class Score:
    """A figure of a contender on one split; `short` heads a narrow column."""

    key: str
    title: str
    short: str
    greater_is_better: bool
    score: Callable[[NDArray[Any], NDArray[np.float64]], float]


def against_rest(labels: NDArray[Any], proba: NDArray[np.float64]) -> list[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Binary labels and probabilities, of each class if there are several."""
    if proba.ndim == 1:
        return [(labels, proba)]
    return [((labels == k).astype(np.int8), proba[:, k]) for k in range(proba.shape[1])]


def average_precision(labels: NDArray[Any], proba: NDArray[np.float64]) -> float:
    from sklearn.metrics import average_precision_score

    return float(np.mean([average_precision_score(*one) for one in against_rest(labels, proba)]))


def roc_auc(labels: NDArray[Any], proba: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(np.mean([roc_auc_score(*one) for one in against_rest(labels, proba)]))


def log_loss(labels: NDArray[Any], proba: NDArray[np.float64]) -> float:
    if proba.ndim == 2:
        return float(-np.mean(np.log(np.maximum(proba[np.arange(labels.size), labels], 1e-15))))
    p = np.clip(proba, 1e-15, 1 - 1e-15)  # the built-in objectives return float32 probabilities of 0 and 1
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


def brier(labels: NDArray[Any], proba: NDArray[np.float64]) -> float:
    """Mean squared error, summed over several classes."""
    if proba.ndim == 2:
        return float(sum(brier(*one) for one in against_rest(labels, proba)))
    return float(np.mean((proba - labels) ** 2))


def expected_calibration_error(labels: NDArray[Any], proba: NDArray[np.float64]) -> float:
    """Mean distance of probability and share of positives over the bins, weighted by rows."""
    errors = []
    for one in against_rest(labels, proba):
        mean, share, rows = calibration_bins(*one, ECE_BINS)
        errors.append(np.average(np.abs(mean - share), weights=rows))
    return float(np.mean(errors))


def scores(k: int, n_classes: int = 2) -> tuple[Score, ...]:
    """The figures of a comparison, in the order of its tables; precision@k is of a binary target only."""
    at_k = Score("precision_at_k", f"precision@{k}", f"P@{k}", True, PrecisionAtK(k).score)
    return (
        SELECTORS["average_precision"],
        Score("roc_auc", "ROC AUC", "AUC", True, roc_auc),
        *([at_k] if n_classes == 2 else []),
        SELECTORS["log_loss"],
        Score("brier", "Brier score", "Brier", False, brier),
        Score("calibration_error", "calibration error", "ECE", False, expected_calibration_error),
    )


Selector = Literal["average_precision", "log_loss"]

SELECTORS: Mapping[Selector, Score] = {
    "average_precision": Score("average_precision", "average precision", "AP", True, average_precision),
    "log_loss": Score("log_loss", "log loss", "log loss", False, log_loss),
}
"""The figures that may choose among trials."""
