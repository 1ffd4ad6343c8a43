"""The common base of the losses: objective of either engine, gradients, sums and metric."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import devices, engines, validation, workers
from .batch import Batch
from .kernels import backend, total
from .metrics import FocalMetric
from .validation import Interval

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Hessian = Literal["expected", "exact"]
Score = Literal["log_loss", "brier"]

GAMMA = Interval(0, 1000)
BETA = Interval(0, 1, "[")
MAX_STEP = Interval(1e-6)


class FocalLossBase(ABC):
    """An immutable loss, which is also the objective of either engine.

    Subclasses are frozen dataclasses with the fields `hessian` and `max_step` besides their own.
    """

    _KERNELS: ClassVar[Literal["elementwise", "softmax"]]

    hessian: Hessian
    max_step: float

    def _check_newton(self) -> None:
        if not isinstance(self.hessian, str) or self.hessian not in ("expected", "exact"):
            raise ValueError(f'hessian must be "expected" or "exact", got {self.hessian!r}')
        step = validation.number("max_step", self.max_step, MAX_STEP)
        object.__setattr__(self, "max_step", step)

    def __repr__(self) -> str:
        """An expression that recreates the loss."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}  # type: ignore[arg-type]
        shown = {name: 'float("inf")' if value == np.inf else repr(value) for name, value in values.items()}
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"

    # --- rows ----------------------------------------------------------------------------------

    def gradient_hessian(
        self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Float32s, Float32s]:
        """Gradient and diagonal Hessian of each row's weighted loss with respect to the margin.

        Parameters
        ----------
        y : array_like
            Labels. `FocalLoss` takes numbers in [0, 1], of shape (n,), or (n, L) for multilabel rows.
            `SoftmaxFocalLoss` takes the classes 0, ..., K - 1, of shape (n,).
        margin : array_like of shape (n,), (n, L) or (n, K)
            Raw scores. Computed in float32: exp counts as zero below -87.
        sample_weight : array_like of shape (n,), optional
            Not negative, finite in float32.

        Returns
        -------
        gradient, hessian : ndarrays of float32, of the shape and memory order of `margin`

        Raises
        ------
        TypeError, ValueError
            If an array is not numeric, is empty, has another shape, or holds a value that is not accepted.
        """
        return self._gradient_hessian(self._batch(y, margin, sample_weight), in_engine=False)

    def mean(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Weighted mean of the float32 losses over rows and, if there are several, labels; the metric reports it.

        Parameters and errors are those of `gradient_hessian`; weights that sum to zero are refused.
        """
        loss, weight = self.sums(y, margin, sample_weight)
        return loss / float(validation.positive(weight, "sample_weight"))

    def sums(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> tuple[float, float]:
        """Sums of weighted loss and of weight over the rows; a multilabel row has the mean loss of its labels."""
        batch = self._batch(y, margin, sample_weight)
        return self._sums(batch, *backend(self._KERNELS, batch).losses(batch, *self._kernel_parameters))

    def score_sums(
        self, score: Score, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, float]:
        """`sums` of `log_loss` or `brier`."""
        batch = self._batch(y, margin, sample_weight)
        if batch.on_device:
            return self._sums(batch, *backend(self._KERNELS, batch).scores(score, batch, *self._kernel_parameters))
        values = getattr(self, score)(batch.labels, batch.margins)
        if batch.sample_weight is not None:
            validation.check_values(sample_weight=batch.sample_weight)
            values = (values.T * batch.sample_weight).T
        return self._sums(batch, values, False)

    def _sums(self, batch: Batch, weighted: Any, has_invalid: bool) -> tuple[float, float]:
        if has_invalid:
            self._check_finite(batch, weighted)
        n = batch.labels.shape[0]
        summed = total(weighted) * (n / math.prod(weighted.shape))
        return float(summed), float(n if batch.sample_weight is None else total(batch.sample_weight))

    @abstractmethod
    def value(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Loss of each row, in nats."""

    # --- the posterior -------------------------------------------------------------------------

    @abstractmethod
    def predict_proba(self, margin: ArrayLike) -> Float64s:
        """True probabilities: the class posterior at which the margin is stationary."""

    @abstractmethod
    def log_loss(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Log loss of `predict_proba`, of each row."""

    @abstractmethod
    def brier(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Squared error of `predict_proba`, of each row."""

    @abstractmethod
    def margin(self, proba: ArrayLike) -> Float64s:
        """The margin at which `predict_proba` is `proba`."""

    @abstractmethod
    def optimal_margin(self, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float | Float64s:
        """The constant margin of least total loss: where to start boosting."""

    # --- in the engines ------------------------------------------------------------------------

    def __call__(self, y_true: Any, margin: Any, sample_weight: Any = None) -> tuple[Float32s, Float32s]:
        """The objective, in every calling convention of XGBoost and LightGBM.

        ``train``, ``cv`` and ``Booster.update`` call it as (margin, DMatrix or Dataset), the scikit-learn classes as
        (labels, margin[, weights]). Each of several XGBoost workers must call it in every round, even one without
        rows. If one worker refuses its values, all raise the error.
        """
        if not workers.is_distributed():
            batch = self._batch(*engines.read_batch(y_true, margin, sample_weight))
            return self._gradient_hessian(batch, in_engine=True)
        with workers.raise_on_all_workers():
            given = engines.read_batch(y_true, margin, sample_weight)
            if np.size(given.margins) == 0:  # a worker without rows
                return np.empty((0, *self._columns), np.float32), np.empty((0, *self._columns), np.float32)
            return self._gradient_hessian(self._batch(*given), in_engine=True)

    @property
    def metric(self) -> FocalMetric:
        """Mean focal loss as a metric of either engine, named "focal"."""
        return FocalMetric(self)

    # -------------------------------------------------------------------------------------------

    def _gradient_hessian(self, batch: Batch, in_engine: bool, out: Any = None) -> tuple[Float32s, Float32s]:
        gradient, hessian, has_invalid = backend(self._KERNELS, batch).gradient_hessian(
            batch, *self._kernel_parameters, exact=self.hessian == "exact", max_step=self.max_step,
            in_engine=in_engine, out=out,
        )  # fmt: skip
        if has_invalid:
            self._check_finite(batch, gradient, hessian)
        return gradient, hessian

    def _check_finite(self, batch: Batch, *results: Any) -> None:
        """Raise the error for what a kernel noticed: a value that is refused, or a result that is not finite."""
        host = batch.on_host()
        self._check_values(host)
        if not all(np.isfinite(devices.to_host("result", result)).all() for result in results):
            largest = 1 if host.sample_weight is None else np.max(host.sample_weight)
            raise ValueError(f"sample_weight must leave results finite in float32, got a largest of {largest}")

    @property
    @abstractmethod
    def _columns(self) -> tuple[int, ...]:
        """Shape of a row's margins."""

    @property
    @abstractmethod
    def _kernel_parameters(self) -> tuple[Any, ...]:
        """The arguments that the kernels take besides a batch."""

    @abstractmethod
    def _batch(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> Batch:
        """The arguments as arrays whose shapes agree."""

    @abstractmethod
    def _check_values(self, batch: Batch) -> None:
        """Raise the error for a value that is not accepted."""


def effective_counts(counts: Float64s, beta: Any) -> Float64s:
    """Counts; with beta, the effective numbers of samples up to a factor (Cui et al. 2019, eq. 2)."""
    if beta is None:
        return counts
    beta = validation.number("beta", beta, BETA, f"None or {BETA}")
    return -np.expm1(counts * np.log(beta)) if beta > 0 else np.ones_like(counts)


def float64(values: NDArray[Any]) -> Float64s:
    return values.astype(np.float64, copy=False)


BLOCK = 16_384  # numbers at a time, so that intermediate results stay in the cache


def blocks(rows: NDArray[Any]) -> Iterator[slice]:
    step = max(1, BLOCK // math.prod(rows.shape[1:]))
    return (slice(start, start + step) for start in range(0, rows.shape[0], step))


def in_blocks(function: Callable[[Float64s], Float64s], rows: NDArray[Any]) -> Float64s:
    """Apply `function` to an array's rows in float64, some rows at a time."""
    result: Float64s | None = None
    with np.errstate(all="ignore"):
        for part in blocks(rows):
            values = function(float64(rows[part]))
            if len(values) == rows.shape[0]:
                return values
            if result is None:
                result = np.empty((rows.shape[0], *values.shape[1:]))
            result[part] = values
    assert result is not None  # there are rows
    return result


def proportional(values: Float64s) -> Float64s:
    """Rows that sum to one."""
    return np.asarray(values / np.sum(values, axis=1, keepdims=True))
