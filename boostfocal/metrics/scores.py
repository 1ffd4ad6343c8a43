"""Scores of probabilities: functions (labels, probabilities, sample weights) that know no loss and no engine.

Probabilities are those of the positive class, of shape (n,), or of K classes, of shape (n, K).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]

ECE_BINS = 10  # of equal numbers of rows; equal widths would put nearly all rows of a rare class in one
LEAST = 1e-15  # probabilities are cut here: the built-in objectives return float32 ones of 0 and 1


def against_rest(labels: NDArray[Any], proba: Float64s) -> Iterator[tuple[NDArray[Any], Float64s]]:
    """Binary labels and probabilities, of each class if there are several."""
    if proba.ndim == 1:
        yield labels, proba
        return
    for k in range(proba.shape[1]):
        yield (labels == k).astype(np.int8), proba[:, k]


def log_loss(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None) -> float:
    if proba.ndim == 2:
        values = -np.log(np.maximum(proba[np.arange(labels.size), labels.astype(np.intp)], LEAST))
    else:
        p = np.clip(proba, LEAST, 1 - LEAST)
        values = -np.where(labels == 1, np.log(p), np.log1p(-p))
    return float(np.average(values, weights=sample_weight))


def squared_errors(labels: NDArray[Any], proba: Float64s) -> Float64s:
    """Squared error of each row, summed over the classes (Brier 1950), or of each label if shapes are the same."""
    if np.shape(proba) == np.shape(labels):
        return np.asarray((proba - labels) ** 2)
    error = proba.copy()
    error[np.arange(labels.size), labels.astype(np.intp)] -= 1
    return np.asarray(np.einsum("nk,nk->n", error, error))


def brier(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None) -> float:
    return float(np.average(squared_errors(labels, proba), weights=sample_weight))


def error_rate(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None, threshold: float = 0.5) -> float:
    """Share of misclassified rows: decided is the most probable class, or of two classes that above the threshold."""
    decided = np.argmax(proba, axis=1) if proba.ndim == 2 else proba > threshold
    return float(np.average(decided != labels, weights=sample_weight))


def average_precision(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None) -> float:
    """Mean over the classes, each against the rest."""
    from sklearn.metrics import average_precision_score

    found = [average_precision_score(*one, sample_weight=sample_weight) for one in against_rest(labels, proba)]
    return float(np.mean(found))


def roc_auc(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None) -> float:
    """Area under the ROC curve: the mean over the classes, each against the rest."""
    from sklearn.metrics import roc_auc_score

    return float(np.mean([roc_auc_score(*one, sample_weight=sample_weight) for one in against_rest(labels, proba)]))


def roc_auc_by_frequency(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None) -> float:
    """`roc_auc` with classes weighted by their frequency, and those without a row left out: XGBoost's "auc"."""
    from sklearn.metrics import roc_auc_score

    if proba.ndim == 1:
        return roc_auc(labels, proba, sample_weight)
    present = np.unique(labels).astype(np.intp)
    shares = np.bincount(np.asarray(labels).astype(np.intp), sample_weight)[present]
    areas = [roc_auc_score(labels == k, proba[:, k], sample_weight=sample_weight) for k in present]
    return float(np.average(areas, weights=shares))


def auc_mu(labels: NDArray[Any], proba: Float64s, sample_weight: Any = None) -> float:
    """Mean over the pairs of classes of the AUC of the log odds between the two (Kleiman and Page 2019)."""
    from sklearn.metrics import roc_auc_score

    log_proba = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
    areas = []
    for one, other in combinations(np.unique(labels).astype(np.intp), 2):
        rows = (labels == one) | (labels == other)
        log_odds = log_proba[rows, one] - log_proba[rows, other]
        weights = None if sample_weight is None else sample_weight[rows]
        areas.append(roc_auc_score(labels[rows] == one, log_odds, sample_weight=weights))
    return float(np.mean(areas))


def expected_calibration_error(labels: NDArray[Any], proba: Float64s) -> float:
    """Mean distance between probability and share of positives over bins, weighted by rows; the mean over classes."""
    errors = []
    for one in against_rest(labels, proba):
        mean, share, rows = calibration_bins(*one, ECE_BINS)
        errors.append(np.average(np.abs(mean - share), weights=rows))
    return float(np.mean(errors))


def calibration_bins(
    labels: NDArray[Any], proba: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean probability, share of positives and number of rows in bins of about equal numbers of rows.

    Rows of equal probability stay in one bin, so there may be fewer bins.
    """
    edges = np.unique(np.quantile(proba, np.arange(1, bins) / bins))
    index = np.searchsorted(edges, proba, side="left")
    rows = np.bincount(index)
    used = rows > 0
    mean = np.bincount(index, proba)[used] / rows[used]
    share = np.bincount(index, labels)[used] / rows[used]
    return mean, share, rows[used]
