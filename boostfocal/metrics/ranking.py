"""Metrics of one binary label, which depend on the margins' order alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation
from .base import Metric
from .scores import average_precision

LARGEST = 1e300


class RankingMetric(Metric):
    """A metric of one binary label, which depends on the margins' order alone."""

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        if np.ndim(given := validation.as_array("margin", margin) if isinstance(margin, list) else margin) > 1:
            raise ValueError(
                f"margin must have shape (n,) for {self.name}, got shape {np.shape(given)}; "
                "for multiclass and multilabel rows use MacroAveragePrecision"
            )
        labels = validation.column("y", y)
        margins = validation.like("margin", margin, labels, "y")
        weights = validation.sample_weight(sample_weight, labels)
        validation.check_values(labels, margins, weights)
        return self._score(labels, margins, weights)

    @abstractmethod
    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float: ...


@dataclass(frozen=True)
class AveragePrecision(RankingMetric):
    """Average precision: the mean of precision over the positives, in order of score (no interpolation).

    Examples
    --------
    >>> from boostfocal import AveragePrecision
    >>> AveragePrecision().score([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9])
    0.8333333333333333
    """

    @property
    def name(self) -> str:
        return "precision_average"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        positive = validation.binary(labels, weights, "average precision")
        return average_precision(positive, _finite(margins), weights)


@dataclass(frozen=True)
class PrecisionAtK(RankingMetric):
    """Share of positives among the `k` rows of highest score (all rows if there are fewer).

    Rows that tie for the last places share them, so the value does not depend on their order. With
    weights: the weight of the positives among those k rows over the weight of the k rows.

    Examples
    --------
    >>> from boostfocal import PrecisionAtK
    >>> PrecisionAtK(2).score([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9])
    0.5
    """

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", validation.count("k", self.k))

    @property
    def name(self) -> str:
        return f"precision_at_{self.k}"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        alerts = validation.binary(labels, None, "precision at k")
        k = min(self.k, labels.size)
        last = np.partition(margins, -k)[-k]
        above, tied = margins > last, margins == last
        share = above + tied * ((k - above.sum()) / tied.sum())
        weight = share if weights is None else share * weights
        return float(np.sum(weight[alerts]) / validation.positive(weight.sum(), "sample_weight"))


@dataclass(frozen=True)
class RecallAtPrecision(RankingMetric):
    """Highest recall at a threshold whose precision is at least `precision`; 0 if there is none.

    Examples
    --------
    >>> from boostfocal import RecallAtPrecision
    >>> RecallAtPrecision(0.9).score([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9])
    0.5
    """

    precision: float

    def __post_init__(self) -> None:
        found = validation.number("precision", self.precision, validation.Interval(0, 1, "]"))
        object.__setattr__(self, "precision", found)

    @property
    def name(self) -> str:
        return f"precision_{_digits(self.precision)}_recall"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        from sklearn.metrics import precision_recall_curve

        positive = validation.binary(labels, weights, "recall at a precision")
        precision, recall, _ = precision_recall_curve(positive, _finite(margins), sample_weight=weights)
        return float(recall[precision >= self.precision].max(initial=0.0))


@dataclass(frozen=True)
class RecallAtFalsePositiveRate(RankingMetric):
    """Highest recall at a threshold that alerts at most this share of the negatives; 0 if there is none.

    Examples
    --------
    >>> from boostfocal import RecallAtFalsePositiveRate
    >>> RecallAtFalsePositiveRate(0.4).score([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9])
    0.5
    """

    false_positive_rate: float

    def __post_init__(self) -> None:
        found = validation.number("false_positive_rate", self.false_positive_rate, validation.Interval(0, 1, "[)"))
        object.__setattr__(self, "false_positive_rate", found)

    @property
    def name(self) -> str:
        return f"auc_recall_at_fpr_{_digits(self.false_positive_rate)}"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        from sklearn.metrics import roc_curve

        positive = validation.binary(labels, weights, "recall at a false-positive rate")
        validation.check_both(positive, weights, "recall at a false-positive rate")
        false, recall, _ = roc_curve(positive, _finite(margins), sample_weight=weights, drop_intermediate=False)
        return float(recall[false <= self.false_positive_rate].max(initial=0.0))


@dataclass(frozen=True)
class PartialAUC(RankingMetric):
    """Area under the ROC curve up to a false-positive rate, standardized: 1 at best, 0.5 at random.

    It is scikit-learn's ``roc_auc_score(..., max_fpr=max_fpr)`` (McClish 1989, *Analyzing a Portion of the ROC Curve*).

    Examples
    --------
    >>> from boostfocal import PartialAUC
    >>> round(PartialAUC(0.5).score([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9]), 4)
    0.6667
    """

    max_fpr: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_fpr", validation.number("max_fpr", self.max_fpr, validation.Interval(0, 1, "(]")))

    @property
    def name(self) -> str:
        return f"auc_partial_{_digits(self.max_fpr)}"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        from sklearn.metrics import roc_auc_score

        positive = validation.binary(labels, weights, "a partial AUC")
        validation.check_both(positive, weights, "a partial AUC")
        return float(roc_auc_score(positive, _finite(margins), sample_weight=weights, max_fpr=self.max_fpr))


@dataclass(frozen=True, eq=False)
class CardPrecision(RankingMetric):
    """Card precision at `k` by day: of the `k` cards alerted each day, the share truly defrauded that day.

    Each day cards are ranked by the highest score among their rows of that day; those detected on an
    earlier day are left out. The value is the mean over days of (defrauded cards among the first k) / k
    (Le Borgne et al. 2022, *Reproducible Machine Learning for Credit Card Fraud Detection*, ch. 4.3).
    Cards of equal score are taken in the order of their identity. A card is investigated or not,
    whatever its rows weigh: sample weights are not used.

    Parameters
    ----------
    k : int
        Cards that can be investigated a day.
    card, day : array_like of shape (n,)
        The card (or customer) and the day of each row of the data set that is scored, none missing. Dates
        with a time of day are cut to days. The metric is for that one data set; another length is refused.

    Examples
    --------
    >>> from boostfocal import CardPrecision
    >>> metric = CardPrecision(1, card=["a", "b", "a", "b"], day=[1, 1, 2, 2])
    >>> metric.score([1, 0, 0, 0], [0.9, 0.2, 0.1, 0.8])
    0.5
    """

    k: int
    card: NDArray[Any] = field(repr=False)
    day: NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", validation.count("k", self.k))
        object.__setattr__(self, "card", validation.codes("card", self.card))
        object.__setattr__(self, "day", validation.days("day", self.day, self.card.size))

    @property
    def name(self) -> str:
        return f"precision_card_at_{self.k}"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        if labels.shape != self.card.shape:
            raise ValueError(f"card and day must have a value for each scored row, {labels.size}, got {self.card.size}")
        positive = validation.binary(labels, None, "card precision")
        # one entry per day and card: its highest score, and whether any of its rows is a fraud
        key = self.day * (self.card.max() + 1) + self.card
        entries, entry_of_row = np.unique(key, return_inverse=True)
        score = np.full(entries.size, -np.inf)
        np.maximum.at(score, entry_of_row, margins)
        defrauded = np.zeros(entries.size, bool)
        np.logical_or.at(defrauded, entry_of_row, positive)
        day, card = np.divmod(entries, self.card.max() + 1)

        detected = np.zeros(self.card.max() + 1, bool)
        precisions = []
        for today in range(self.day.max() + 1):
            first, end = np.searchsorted(day, [today, today + 1])
            open_ = np.flatnonzero(~detected[card[first:end]]) + first
            alerted = open_[np.argsort(-score[open_], kind="stable")[: self.k]]
            hits = alerted[defrauded[alerted]]
            detected[card[hits]] = True
            precisions.append(hits.size / self.k)
        return float(np.mean(precisions))


def _finite(margins: NDArray[Any]) -> NDArray[np.float64]:
    """Infinite margins as the largest numbers of which scikit-learn can still sum many."""
    return np.clip(margins.astype(np.float64, copy=False), -LARGEST, LARGEST)


def _digits(number: float) -> str:
    return np.format_float_positional(number, trim="-")
