"""Whether a model still fits: what new labels say of its probabilities, and what would mend them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils import _safe_indexing

from .. import devices, intervals, validation
from ..base import Float64s
from ..focal import FocalLoss
from ..metrics.scores import log_loss
from ..recalibration import recalibrated
from ..softmax import SoftmaxFocalLoss
from .categories import with_categories
from .labels import labelled

Advice = Literal["keep", "recalibrate", "refit_leaves", "retrain"]

SMALL_TREES = {"n_estimators": 50, "learning_rate": 0.1, "max_depth": 3}
"""What learns the rest that a model leaves in its rows."""

SAME = ("n_jobs", "device", "device_type", "missing", "enable_categorical", "feature_types")
"""The parameters that the small trees take from the model."""

LEAST = 1e-12  # probabilities are cut here: trees cannot start at 0 or 1

Rows = NDArray[np.intp]
Attempt = Callable[[Rows, Rows], Float64s]
"""Probabilities of the second rows, after learning from the first."""


@dataclass(frozen=True)
class Rate:
    """The mean probability of a class, and the share of the labels that are of it, with its interval.

    The intervals of all classes hold together with a probability of 95 % or more.
    """

    label: Any
    expected: float
    observed: float
    low: float
    high: float

    @property
    def in_the_large(self) -> bool:
        """Whether the mean probability lies in the interval."""
        return self.low <= self.expected <= self.high


@dataclass(frozen=True)
class Remedy:
    """Log loss of rows that a remedy did not learn from, and by how much it differs from that of the model as it is.

    `half_width` is half of the difference's 95 % interval. `reason` says why a remedy could not be tried.
    """

    name: Advice
    log_loss: float | None
    difference: float | None
    half_width: float | None
    reason: str = ""


@dataclass(frozen=True)
class Check:
    """What new labels say of a model: `check` of the classifiers. Printed, it is a table.

    Attributes
    ----------
    advice : {"keep", "recalibrate", "refit_leaves", "retrain"}
    rates : tuple of Rate
        Calibration in the large, by class.
    remedies : tuple of Remedy
        Beginning with the model as it is.
    rows : int
    """

    advice: Advice
    rates: tuple[Rate, ...]
    remedies: tuple[Remedy, ...]
    rows: int

    def __str__(self) -> str:
        width = max(len("class"), *(len(str(rate.label)) for rate in self.rates))
        lines = [f"{'class':<{width}}  mean probability  share of labels  its 95 % interval"]
        for rate in self.rates:
            span = f"{rate.low:.5f} to {rate.high:.5f}" + ("" if rate.in_the_large else "  (misses it)")
            lines.append(f"{rate.label!s:<{width}}  {rate.expected:>16.5f}  {rate.observed:>15.5f}  {span}")
        lines += ["", "remedy        log loss  beside the model as it is"]
        for remedy in self.remedies:
            if remedy.log_loss is None:
                lines.append(f"{remedy.name:<12}  not tried: {remedy.reason}")
                continue
            beside = "" if remedy.name == "keep" else f"  {remedy.difference:+.5f} ± {remedy.half_width:.5f}"
            lines.append(f"{remedy.name:<12}  {remedy.log_loss:>8.5f}{beside}")
        return "\n".join([*lines, "", f"advice: {self.advice} ({self.rows} rows)"])


def check(model: Any, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, groups: Any, cv: int) -> Check:
    """What `check` of a fitted classifier returns."""
    X = devices.to_host("X", X)
    codes, weights = labelled(X, y, devices.to_host("sample_weight", sample_weight), model.classes_)
    entities = None if groups is None else validation.codes("groups", groups, codes.size)
    if weights is not None and not weights.all():  # rows that weigh nothing are none, and a fold must not be of such
        some = np.flatnonzero(weights)
        X, codes, weights = _safe_indexing(X, some), codes[some], weights[some]
        entities = None if entities is None else np.unique(entities[some], return_inverse=True)[1]
    splits = _splits(validation.count("cv", cv, 2), codes, entities, model.classes_.tolist())
    rows = _Rows(model, X, codes, weights)
    share = float(np.mean([judged.size / learned.size for learned, judged in splits]))
    remedies: list[Remedy] = []
    losses: dict[Advice, Float64s] = {}
    for name, attempt in rows.attempts().items():
        try:
            found = np.array([rows.log_loss(attempt(learned, judged), judged) for learned, judged in splits])
        except ValueError as error:  # what cannot be done with this model or these labels
            remedies.append(Remedy(name, None, None, None, str(error)))
            continue
        losses[name] = found
        remedies.append(Remedy(name, float(found.mean()), *intervals.of_mean(found - losses["keep"], share)))
    rates = tuple(rows.rates(entities))
    best = min(losses.values(), key=lambda found: float(found.mean()))
    advice = next(name for name, found in losses.items() if not _worse(found - best, share))
    if advice == "keep" and not all(rate.in_the_large for rate in rates):
        advice = "recalibrate"
    return Check(advice, rates, tuple(remedies), codes.size)


def _worse(differences: Float64s, share: float) -> bool:
    """Beyond the interval."""
    mean, half = intervals.of_mean(differences, share)
    return half is not None and mean > half


def _splits(
    cv: int, codes: NDArray[np.intp], groups: NDArray[np.intp] | None, classes: list[Any]
) -> list[tuple[Rows, Rows]]:
    """Stratified folds, in which groups stay together."""
    of = "rows" if groups is None else "groups"
    pairs = np.unique(np.column_stack([codes, np.arange(codes.size) if groups is None else groups]), axis=0)
    counts = np.bincount(pairs[:, 0], minlength=len(classes)).tolist()
    if min(counts) < cv:
        label = classes[counts.index(min(counts))]
        raise ValueError(
            f"y must have {cv} {of} of each class, one for each fold of cv, got {min(counts)} of {label!r}"
        )
    folds = StratifiedKFold if groups is None else StratifiedGroupKFold
    return list(folds(cv, shuffle=True, random_state=0).split(np.zeros((codes.size, 1)), codes, groups))


class _Rows:
    """Labelled rows, and what may be tried with them."""

    def __init__(self, model: Any, X: Any, codes: NDArray[np.intp], weights: Float64s | None) -> None:
        self._model, self._codes, self._weights = model, codes, weights
        self._X = with_categories(X, model.state_.categories)
        self._margins = model._margin(X)
        self._proba = model.posterior_.predict_proba(self._margins)

    def log_loss(self, proba: Float64s, judged: Rows) -> float:
        weights = None if self._weights is None else self._weights[judged]
        return log_loss(self._codes[judged], proba, weights)

    def rates(self, groups: NDArray[np.intp] | None) -> Iterator[Rate]:
        weights = np.ones(self._codes.size) if self._weights is None else self._weights
        n_shares = 1 if self._model.classes_.size == 2 else self._model.classes_.size
        confidence = 1 - (1 - intervals.CONFIDENCE) / n_shares  # Bonferroni's
        for k, label in enumerate(self._model.classes_.tolist()):
            is_k, proba = (self._codes == k).astype(np.float64), self._proba[:, k]
            observed, expected = (float(np.average(values, weights=weights)) for values in (is_k, proba))
            if groups is None:
                n = intervals.effective_rows(weights)
                yield Rate(label, expected, observed, *intervals.of_share(observed, n, confidence))
            else:
                half = intervals.half_of_groups(is_k - proba, weights, groups, confidence)
                yield Rate(label, expected, observed, observed - half, observed + half)

    def attempts(self) -> dict[Advice, Attempt]:
        """By how much they change, the least first."""
        return {
            "keep": lambda learned, judged: self._proba[judged], "recalibrate": self._recalibrated,
            "refit_leaves": self._refitted, "retrain": self._with_more_trees,
        }  # fmt: skip

    def _chosen(self, rows: Rows) -> tuple[Any, NDArray[Any], Float64s | None]:
        weights = None if self._weights is None else self._weights[rows]
        return _safe_indexing(self._X, rows), self._model.classes_[self._codes[rows]], weights

    def _recalibrated(self, learned: Rows, judged: Rows) -> Float64s:
        weights = None if self._weights is None else self._weights[learned]
        posterior = recalibrated(self._model.posterior_, self._codes[learned], self._margins[learned], weights)
        return np.asarray(posterior.predict_proba(self._margins[judged]))

    def _refitted(self, learned: Rows, judged: Rows) -> Float64s:
        model = copy.deepcopy(self._model).refit_leaves(*self._chosen(learned))
        return np.asarray(model.predict_proba(_safe_indexing(self._X, judged)))

    def _with_more_trees(self, learned: Rows, judged: Rows) -> Float64s:
        """Small trees that start at the model's probabilities: they find what it does not know of the features."""
        model = self._model
        same = {name: value for name, value in model.get_params().items() if name in SAME}
        if "enable_categorical" in same:  # which a loaded model does not know, and XGBoost below 3.3 asks for
            same["enable_categorical"] = True
        small = type(model)(**same, verbosity=model.SILENT, **SMALL_TREES, focal_gamma=0.0, focal_alpha=None)
        X, y, weights = self._chosen(learned)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no tree of this")  # there may be nothing to find
            small.fit(X, y, sample_weight=weights, **{model.START: self._log_odds(learned)})
        rows = _safe_indexing(self._X, judged)
        return np.asarray(small.predict_proba(rows, **{model.START: self._log_odds(judged)}))

    def _log_odds(self, rows: Rows) -> Float64s:
        proba = np.clip(self._proba[rows], LEAST, 1 - LEAST)
        if proba.shape[1] == 2:
            return FocalLoss().margin(proba[:, 1])
        return SoftmaxFocalLoss(proba.shape[1], 0.0).margin(proba / proba.sum(axis=1, keepdims=True))
