"""The base of all metrics for both engines, and the metrics of the loss and its posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import engines, validation, workers
from ..batch import Batch
from ..decisions.costs import expected_savings
from .scores import average_precision


class Loss(Protocol):
    """The methods that a metric needs from the loss that a model was trained with."""

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
        Its name in the engines' logs and results.
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
        y : array_like of shape (n,), or (n, L) for multilabel rows
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
        value = self._over_workers(batch) if workers.is_distributed() else self.score(*batch)
        return engines.format_metric_result(margin, group, self.name, value, self.greater_is_better)

    def _over_workers(self, batch: Batch) -> float:
        """The value over the rows of all of XGBoost's workers, of which some may have none."""
        return self.score(*workers.allgather(batch))


# --- of the loss and its posterior, for labels of every kind ---------------------------------------


class MeanMetric(Metric):
    """A weighted mean over rows."""

    greater_is_better: ClassVar[bool] = False

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return self._mean(*self._sums(y, margin, sample_weight))

    def _over_workers(self, batch: Batch) -> float:
        with workers.raise_on_all_workers():
            own = self._sums(*batch) if len(batch.labels) else (0.0, 0.0)
        return self._mean(*workers.allreduce_sum(np.array(own)))

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
    """Log loss of the true probability, ``loss.predict_proba(margin)``; soft labels allowed.

    Examples
    --------
    >>> from boostfocal import FocalLoss, LogLoss
    >>> round(LogLoss(FocalLoss(2.0)).score([0, 1, 1], [-1.0, 0.5, 2.0]), 4)
    0.1012
    """

    loss: Loss

    @property
    def name(self) -> str:
        return "posterior_logloss"

    def _sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        return self.loss.score_sums("log_loss", y, margin, sample_weight)


@dataclass(frozen=True)
class Brier(MeanMetric):
    """Mean squared error of the true probability, ``loss.predict_proba(margin)``; soft labels allowed.

    For multiclass labels it is the sum over the classes (Brier 1950), between 0 and 2.

    Examples
    --------
    >>> from boostfocal import Brier, FocalLoss
    >>> round(Brier(FocalLoss(2.0)).score([0, 1, 1], [-1.0, 0.5, 2.0]), 4)
    0.0158
    """

    loss: Loss

    @property
    def name(self) -> str:
        return "posterior_brier"

    def _sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> tuple[float, float]:
        return self.loss.score_sums("brier", y, margin, sample_weight)


@dataclass(frozen=True, eq=False)
class ExpectedSavings(Metric):
    """Savings of deciding each class as often as its true probability says, against the best trivial policy.

    It is `expected_savings` of ``loss.predict_proba(margin)``: smooth enough for early stopping. Costs by row belong
    to the one data set that is scored; another length is refused.

    Parameters
    ----------
    loss : FocalLoss or SoftmaxFocalLoss
        The loss that the model is trained with.
    costs : array_like of shape (K, K) or (n, K, K)
        As `decide` takes them; `cost_matrix` makes them for two classes.

    Examples
    --------
    >>> from boostfocal import ExpectedSavings, FocalLoss, cost_matrix
    >>> metric = ExpectedSavings(FocalLoss(2.0), cost_matrix(8, [0, 100, 500]))
    >>> round(metric.score([0, 1, 1], [-5.0, 1.0, 3.0]), 3)
    0.182
    """

    loss: Loss
    costs: NDArray[np.float64] = field(repr=False)

    def __post_init__(self) -> None:
        costs = validation.array("costs", self.costs).astype(np.float64)
        if costs.ndim not in (2, 3) or costs.shape[-1] != costs.shape[-2] or not np.isfinite(costs).all():
            raise ValueError(f"costs must be finite, of shape (K, K) or (n, K, K), got shape {costs.shape}")
        object.__setattr__(self, "costs", costs)

    @property
    def name(self) -> str:
        return "predicted_savings"

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return expected_savings(y, self.loss.predict_proba(margin), self.costs, sample_weight)


@dataclass(frozen=True)
class MacroAveragePrecision(Metric):
    """Mean over the classes, or labels, of the average precision of ``loss.predict_proba(margin)``.

    Each class is ranked against the rest. Classes without a row are left out of the mean, since they have
    no precision: compare values of one data set only.

    Examples
    --------
    >>> from boostfocal import MacroAveragePrecision, SoftmaxFocalLoss
    >>> metric = MacroAveragePrecision(SoftmaxFocalLoss(3))
    >>> metric.score([0, 1, 2], [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.5]])
    1.0
    """

    loss: Loss

    @property
    def name(self) -> str:
        return "precision_average_macro"

    def score(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        proba = self.loss.predict_proba(margin)
        if proba.ndim != 2:
            raise ValueError(f"margin must have a column for each class or label, got shape {proba.shape}")
        labels = validation.labels("y", y)
        weights = validation.sample_weight(sample_weight, labels)
        validation.check_values(sample_weight=weights)
        positive = validation.by_class(labels, weights, proba.shape, "average precision")
        found = [column for column in range(proba.shape[1]) if positive(column).any()]
        scores = [average_precision(positive(k), proba[:, k], weights) for k in found]
        return float(np.mean(scores))
