"""Metrics for both engines, early stopping included, that are right under a custom objective.

Each is a callable for ``custom_metric`` and ``eval_metric`` of XGBoost and ``feval`` and ``eval_metric``
of LightGBM, and has ``score(y, margin, sample_weight)`` for use without an engine. XGBoost maximizes
a metric only if its name begins with auc, pre, map or ndcg: the names here are chosen so that early
stopping goes the right way on both engines.

The engines' own ``logloss`` and ``binary_logloss`` take the raw margin for a probability under a
custom objective. Use `LogLoss` and `Brier`, which take the loss that the model is trained with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import engines, validation
from .batch import Batch


class Loss(Protocol):
    """What a metric asks of the loss that a model was trained with."""

    def sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> tuple[float, float]: ...

    def score_sums(
        self,
        score: Literal["log_loss", "brier"],
        y: ArrayLike,
        margin: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> tuple[float, float]: ...

    def predict_proba(self, margin: ArrayLike) -> NDArray[np.float64]: ...


class Metric(ABC):
    """Weighted mean or count over rows, as a metric of either engine.

    Attributes
    ----------
    name : str
        What the engines call it in their logs and results.
    greater_is_better : bool
    """

    greater_is_better: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    def __name__(self) -> str:
        return self.name

    @abstractmethod
    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The metric's value.

        Parameters
        ----------
        y : array_like of shape (n,), or (n, L) for several labels a row
            Labels.
        margin : array_like of shape (n,), (n, L), or (n, K) for classes
            Raw scores; a metric that ranks takes any increasing function of them.
        sample_weight : array_like of shape (n,), optional
            Finite, not negative.
        """

    def __call__(
        self, y_true: Any, margin: Any, sample_weight: Any = None, group: Any = engines._NOT_PASSED
    ) -> engines.MetricResult:
        """The metric, in every calling convention of XGBoost and LightGBM."""
        batch = engines.read_batch(y_true, margin, sample_weight)
        value = self._over_workers(batch) if engines.is_distributed() else self.score(*batch)
        return engines.format_metric_result(margin, group, self.name, value, self.greater_is_better)

    def _over_workers(self, batch: Batch) -> float:
        """The value over the rows of all of XGBoost's workers, of which some may have none."""
        return self.score(*engines.allgather(batch))


# --- of the loss and its posterior, for labels of every kind ---------------------------------------


class MeanMetric(Metric):
    """A weighted mean over rows."""

    greater_is_better: ClassVar[bool] = False

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return self._mean(*self._sums(y, margin, sample_weight))

    def _over_workers(self, batch: Batch) -> float:
        with engines.raise_on_all_workers():
            own = self._sums(*batch) if len(batch.labels) else (0.0, 0.0)
        return self._mean(*engines.allreduce_sum(np.array(own)))

    def _mean(self, total: float, weight: float) -> float:
        return float(total / validation.positive(weight, "sample_weight"))

    @abstractmethod
    def _sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        """The weighted values and the weights, summed over the rows."""


@dataclass(frozen=True)
class FocalMetric(MeanMetric):
    """Mean focal loss; ``loss.metric`` is one."""

    loss: Loss

    @property
    def name(self) -> str:
        return "focal"

    def _sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        return self.loss.sums(y, margin, sample_weight)


@dataclass(frozen=True)
class LogLoss(MeanMetric):
    """Log loss of the true probability, ``loss.predict_proba(margin)``; soft labels allowed."""

    loss: Loss

    @property
    def name(self) -> str:
        return "posterior_logloss"

    def _sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        return self.loss.score_sums("log_loss", y, margin, sample_weight)


@dataclass(frozen=True)
class Brier(MeanMetric):
    """Mean squared error of the true probability, ``loss.predict_proba(margin)``; soft labels allowed.

    Of several classes, the sum over all of them (Brier 1950): between 0 and 2.
    """

    loss: Loss

    @property
    def name(self) -> str:
        return "posterior_brier"

    def _sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        return self.loss.score_sums("brier", y, margin, sample_weight)


@dataclass(frozen=True)
class MacroAveragePrecision(Metric):
    """Mean over the classes, or labels, of the average precision of ``loss.predict_proba(margin)``.

    Each class is ranked against the rest. Classes without a row are left out of the mean, since they have
    no precision: compare values of one data set only.
    """

    loss: Loss

    @property
    def name(self) -> str:
        return "precision_average_macro"

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        from sklearn.metrics import average_precision_score

        proba = self.loss.predict_proba(margin)
        if proba.ndim != 2:
            raise ValueError(f"margin must have a column for each class or label, got shape {proba.shape}")
        labels = validation.labels("y", y)
        weights = validation.sample_weight(sample_weight, labels)
        validation.check_values(sample_weight=weights)
        positive = validation.by_class(labels, weights, proba.shape, "average precision")
        found = [column for column in range(proba.shape[1]) if positive(column).any()]
        scores = [average_precision_score(positive(k), proba[:, k], sample_weight=weights) for k in found]
        return float(np.mean(scores))


# --- of one binary label, for ranking ----------------------------------------------------------------


class RankingMetric(Metric):
    """A metric of one binary label, which depends on the margins' order alone."""

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        if np.ndim(margin) > 1:
            raise ValueError(
                f"margin must have shape (n,) for {self.name}, got shape {np.shape(margin)}; "
                "of several classes or labels MacroAveragePrecision is the mean"
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
    """Average precision: the mean of precision over the positives, in order of score (no interpolation)."""

    @property
    def name(self) -> str:
        return "precision_average"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        from sklearn.metrics import average_precision_score

        positive = validation.binary(labels, weights, "average precision")
        return float(average_precision_score(positive, np.nan_to_num(margins), sample_weight=weights))


@dataclass(frozen=True)
class PrecisionAtK(RankingMetric):
    """Share of positives among the `k` rows of highest score (all rows if there are fewer).

    Rows that tie for the last places share them, so the value does not depend on their order. With
    weights: the weight of the positives among those k rows over the weight of the k rows.
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
    """Highest recall at a threshold whose precision is at least `precision`; 0 if there is none."""

    precision: float

    def __post_init__(self) -> None:
        found = validation.number("precision", self.precision, validation.Interval(0, 1, "]"))
        object.__setattr__(self, "precision", found)

    @property
    def name(self) -> str:
        return f"precision_{np.format_float_positional(self.precision, trim='-')}_recall"

    def _score(self, labels: NDArray[Any], margins: NDArray[Any], weights: NDArray[Any] | None) -> float:
        from sklearn.metrics import precision_recall_curve

        positive = validation.binary(labels, weights, "recall at a precision")
        precision, recall, _ = precision_recall_curve(positive, np.nan_to_num(margins), sample_weight=weights)
        return float(recall[precision >= self.precision].max(initial=0.0))


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
        The card (or customer) and the day of each row of the data set that is scored. The metric is
        for that one data set; another length is refused.
    """

    k: int
    card: NDArray[Any] = field(repr=False)
    day: NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", validation.count("k", self.k))
        object.__setattr__(self, "card", validation.codes("card", self.card))
        object.__setattr__(self, "day", validation.codes("day", self.day, self.card.size))

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


def calibration_bins(
    labels: NDArray[Any], proba: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean probability, share of positives and number of rows in bins of about equal numbers of rows.

    Rows of one probability stay in one bin, so there may be fewer.
    """
    edges = np.unique(np.quantile(proba, np.arange(1, bins) / bins))
    index = np.searchsorted(edges, proba, side="left")
    rows = np.bincount(index)
    used = rows > 0
    mean = np.bincount(index, proba)[used] / rows[used]
    share = np.bincount(index, labels)[used] / rows[used]
    return mean, share, rows[used]
