"""Focal loss of one class out of K: parameters, posterior and starting margins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .base import GAMMA, Float64s, FocalLossBase, Hessian, effective_counts, float64, in_blocks, proportional
from .batch import Batch
from .dask_counts import summed
from .kernels import formulas
from .metrics.scores import squared_errors
from .validation import Interval

ALPHA = Interval(1e-15, 1e15)
SMALL_GAMMA = 1e-12  # up to which one step from gamma 0 is exact, while brackets of a root grow as 1 / gamma
LARGEST = 1e300  # margins are cut here, so that infinite ones give limits and not NaN


@dataclass(frozen=True, repr=False)
class SoftmaxFocalLoss(FocalLossBase):
    r"""Alpha-balanced focal loss of K classes, in margins.

    With ``p`` the softmax probability of a row's true class ``y``,

    .. math:: FL(p) = -a_y (1 - p)^\gamma \log p.

    It is used like `FocalLoss`: the loss itself is the objective, and ``loss.metric`` its metric. Native
    training needs the parameter ``num_class`` (and LightGBM's ``Booster.update`` the objective "none"). The
    scikit-learn classes find it themselves from three classes on; for two classes, give them `FocalLoss`.
    XGBoost then mistakes the objective's link for that of its own softmax: ask it for ``output_margin=True``.

    The gradient is exact. The Hessian is the diagonal of the expected (or exact) one, with factor 1.
    XGBoost's own softmax doubles that diagonal, and LightGBM's multiplies it by K / (K - 1). This loss gives
    the same trees with ``gamma=0`` and ``max_step=inf`` and adapted parameters. For ``multi:softprob`` take
    half its learning rate, ``reg_lambda`` and ``min_child_weight``, and twice its ``gamma`` (minimum split
    loss). For ``multiclass`` take ``(K - 1) / K`` of LightGBM's. For two classes the loss is that of
    ``FocalLoss(gamma, alpha=alpha[1])`` in the margins' difference, which moves by both margins' steps.

    The softmax of the margins is *not* the class posterior under this loss: `predict_proba` is.

    Parameters
    ----------
    n_classes : int
        K, at least 2; labels are 0, ..., K - 1.
    gamma : float, default 2.0
        Focusing parameter, in [0, 1000].
    alpha : array_like of shape (K,) or None, default None
        Weight of each class, in [1e-15, 1e15]; None weighs all 1. (One number for all would only scale
        the loss.)
    hessian : {"expected", "exact"}, default "expected"
        The expected Hessian is averaged over labels drawn from the posterior; it is never negative. The
        exact one is negative for classes that are badly wrong.
    max_step : float, default 10.0
        The expected Hessian is raised to at least ``|gradient| / max_step``, as in `FocalLoss`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number or is outside its range.

    Examples
    --------
    >>> from boostfocal import SoftmaxFocalLoss
    >>> loss = SoftmaxFocalLoss(n_classes=3, gamma=2.0)
    >>> loss.predict_proba([0.0, 1.0, 2.0]).round(3)
    array([0.029, 0.088, 0.884])
    >>> loss.optimal_margin([0, 0, 0, 1, 1, 2]).round(3)
    array([ 0.293,  0.087, -0.38 ])
    """

    _KERNELS = "softmax"

    n_classes: int
    gamma: float = 2.0
    alpha: tuple[float, ...] | ArrayLike | None = None
    hessian: Hessian = "expected"
    max_step: float = 10.0

    def __post_init__(self) -> None:
        n_classes = validation.count("n_classes", self.n_classes, at_least=2)
        object.__setattr__(self, "n_classes", n_classes)  # the only writes: to coerce what was given
        gamma = validation.number("gamma", self.gamma, GAMMA)
        object.__setattr__(self, "gamma", gamma)
        if self.alpha is not None:
            if np.shape(self.alpha) != (n_classes,):
                raise ValueError(
                    f"alpha must be None or {ALPHA} for each class, {n_classes} of them, got {self.alpha!r}"
                )
            values: Any = self.alpha
            alpha = tuple(
                validation.number("alpha", value, ALPHA, f"None or {ALPHA} for each class") for value in values
            )
            object.__setattr__(self, "alpha", alpha)
        self._check_newton()

    @classmethod
    def balanced(
        cls,
        y: ArrayLike,
        gamma: float = 2.0,
        *,
        n_classes: int | None = None,
        beta: float | None = None,
        sample_weight: ArrayLike | None = None,
        hessian: Hessian = "expected",
        max_step: float = 10.0,
    ) -> Self:
        """A loss with alpha from inverse class frequencies.

        A class with n_k of n rows has the weight n / (K n_k). All classes then have the same total weight,
        and the rows weigh 1 on average. So regularization that is measured against sums of Hessians
        (``reg_lambda``, ``min_child_weight``) acts as without alpha. (`FocalLoss.balanced` has the same
        ratio, but weights that sum to 1, as alpha of two classes does.)

        Parameters
        ----------
        y : array_like of shape (n,)
            Classes 0, ..., K - 1; also a Dask array or Series, which is counted where it is.
        gamma : float, default 2.0
            As for the class.
        n_classes : int, optional
            K; by default one more than the largest label.
        beta : float or None, default None
            In [0, 1): count with the effective number of samples, as in `FocalLoss.balanced`.
        sample_weight : array_like of shape (n,), optional
            A row counts as its weight.
        hessian : {"expected", "exact"}, default "expected"
        max_step : float, default 10.0
            As for the class.

        Raises
        ------
        ValueError
            If a class has no row, or for labels or weights that are not accepted.
        """
        k = validation.count("n_classes", n_classes, at_least=2) if n_classes is not None else None
        counts = summed(partial(_counts, n_classes=k), y, sample_weight)
        if not counts.all():
            raise ValueError(f"y must have rows of every class to balance them, got none of {np.argmin(counts)}")
        shares = counts / counts.sum()
        counts = effective_counts(counts, beta)
        alpha = 1 / counts
        return cls(counts.size, gamma, alpha / (alpha @ shares), hessian, max_step)

    # --- rows ----------------------------------------------------------------------------------

    def value(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Loss of each row, in nats.

        Parameters
        ----------
        y : array_like of shape (n,)
            Classes 0, ..., K - 1.
        margin : array_like of shape (n, K)
            Raw scores, before the softmax.

        Returns
        -------
        ndarray of float64 of shape (n,)
        """
        checked = self._batch(y, margin, None).on_host()
        self._check_values(checked)
        own = checked.labels.astype(np.intp)[:, np.newaxis]
        sides = (np.take_along_axis(side, own, axis=1)[:, 0] for side in _sides(float64(checked.margins)))
        _, q, log_p, log_q = sides
        with np.errstate(under="ignore"):
            return np.asarray(formulas.loss(q, log_p, log_q, self._alpha[own[:, 0]], self.gamma))

    @property
    def _columns(self) -> tuple[int, ...]:
        return (self.n_classes,)

    @property
    def _kernel_parameters(self) -> tuple[Any, ...]:
        return self._alpha, self.gamma

    def _batch(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> Batch:
        labels = validation.column("y", y, device=True)
        margins = self._margins(margin, device=True)
        if margins.shape != (labels.size, self.n_classes):
            raise ValueError(
                f"margin must have shape {(labels.size, self.n_classes)}, a row for each of y and a column for each "
                f"class, got shape {margins.shape}"
            )
        return Batch(labels, margins, validation.sample_weight(sample_weight, labels, device=True))

    def _check_values(self, batch: Batch) -> None:
        validation.check_classes(batch.labels, self.n_classes)
        validation.check_values(margins=batch.margins, sample_weight=batch.sample_weight)

    # --- probabilities and margins --------------------------------------------------------------

    def predict_proba(self, margin: ArrayLike, *, sampling_rates: ArrayLike | None = None) -> Float64s:
        """Probability of each class: the posterior at which the margins are stationary.

        It is proportional to ``p_k / A_k``, where ``A_k`` is the weighted loss's gradient divided by
        ``p_k - [k = y]`` for a row of class k. At ``gamma=0`` without alpha it is the softmax.

        Parameters
        ----------
        margin : array_like of shape (..., K)
            Raw scores of a model trained with this loss.
        sampling_rates : array_like of shape (K,), optional
            The sampling rate of each class's rows for training. Only their ratios matter.

        Returns
        -------
        ndarray of float64, of the shape of `margin`

        Raises
        ------
        TypeError, ValueError
            For margins that are not numbers or of another number of classes, and rates that are not positive.
        """
        margins = self._margins(margin)
        validation.check_values(margins=margins)
        rates = None if sampling_rates is None else validation.sampling_rates(sampling_rates, self.n_classes)

        def proba(z: Float64s) -> Float64s:
            return self._eta(z) if rates is None else proportional(self._eta(z) / rates)

        return in_blocks(proba, margins.reshape(-1, self.n_classes)).reshape(margins.shape)

    def log_loss(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Log loss of `predict_proba`, in nats: exact in the tails.

        Parameters
        ----------
        y : array_like of shape (n,)
            Classes 0, ..., K - 1.
        margin : array_like of shape (n, K)

        Returns
        -------
        ndarray of float64 of shape (n,)
        """
        checked = self._batch(y, margin, None).on_host()
        self._check_values(checked)
        shift, _, _, others = _shares(self._log_posterior(checked.margins))
        own = checked.labels.astype(np.intp)[:, np.newaxis]
        return np.asarray(np.log1p(others[:, 0]) - np.take_along_axis(shift, own, axis=1)[:, 0])

    def brier(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Squared error of `predict_proba`, summed over the classes; parameters and result are those of `log_loss`."""
        checked = self._batch(y, margin, None).on_host()
        self._check_values(checked)
        return squared_errors(checked.labels, self.predict_proba(checked.margins))

    def margin(self, proba: ArrayLike) -> Float64s:
        """The margins at which `predict_proba` is `proba`; their mean is 0, as only differences count.

        Parameters
        ----------
        proba : array_like of shape (..., K)
            Probabilities in [0, 1] that sum to 1 to within 1e-6.

        Returns
        -------
        ndarray of float64, of the shape of `proba`
            -inf where it is 0; the mean is then that of the other margins.
        """
        values = float64(validation.probabilities("proba", proba))
        totals = values.sum(axis=-1)
        if values.shape[-1:] != (self.n_classes,):
            raise ValueError(f"proba must have {self.n_classes} columns as the loss has, got shape {values.shape}")
        if not (np.abs(totals - 1) <= 1e-6).all():
            worst = totals.flat[int(np.argmax(np.abs(totals - 1)))]
            raise ValueError(f"proba must sum to 1 over the classes, got a row that sums to {worst}")
        with np.errstate(divide="ignore"):  # log(0) is the limit, -inf
            log_eta = np.log(values)
        possible = values > 0
        margins = log_eta + np.log(self._alpha)
        several = possible.sum(axis=-1) > 1
        if self.gamma > SMALL_GAMMA and several.any():
            margins[several] = self._solve(log_eta[several])
        elif self.gamma > 0 and several.any():
            with np.errstate(invalid="ignore"):
                margins[several] += log_eta[several] - self._log_eta(margins[several])
        margins[~possible] = -np.inf
        means = np.sum(margins, axis=-1, where=possible, keepdims=True) / possible.sum(axis=-1, keepdims=True)
        return margins - means

    def optimal_margin(self, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Float64s:
        """The constant margins of least total loss, with mean 0: where to start boosting.

        There the gradients sum to zero, and `predict_proba` is the (weighted) share of each class. A class
        without a row has margin -inf, from which no engine can boost.

        Parameters
        ----------
        y : array_like of shape (n,)
            Classes 0, ..., K - 1; also a Dask array or Series, which is counted where it is.
        sample_weight : array_like of shape (n,), optional
            Finite, not negative, not all zero.

        Returns
        -------
        ndarray of float64 of shape (K,)
        """
        counts = summed(partial(_counts, n_classes=self.n_classes), y, sample_weight)
        return self.margin(counts / validation.positive(counts.sum(), "sample_weight"))

    # -------------------------------------------------------------------------------------------

    @property
    def _alpha(self) -> Float64s:
        return np.ones(self.n_classes) if self.alpha is None else np.array(self.alpha)

    def _margins(self, margin: ArrayLike, device: bool = False) -> NDArray[Any]:
        margins = validation.array("margin", margin, device)
        if margins.shape[-1:] != (self.n_classes,):
            raise ValueError(
                f"margin must have {self.n_classes} columns, one for each class, got shape {margins.shape}; "
                f"an engine gives them if its num_class is {self.n_classes}"
            )
        return margins

    def _log_posterior(self, margin: ArrayLike) -> Float64s:
        """log eta, up to a constant of each row."""
        margins = self._margins(margin)
        validation.check_values(margins=margins)
        return np.asarray(self._log_eta(float64(margins)))

    def _eta(self, margins: Float64s) -> Float64s:
        """The posterior of margins of shape (n, K)."""
        margins = np.asfortranarray(margins)  # rows side by side: NumPy is slow over few classes
        shift, e, is_top, others = _shares(np.clip(margins, -LARGEST, LARGEST))
        inverse = 1 / (1 + others)
        p, q = e * inverse, formulas.all_but(e, is_top, others) * inverse
        log_q = np.nan  # it takes long, and the power needs it only where there is a compiler
        odds = p * q / formulas.psi(p, q, shift - np.log1p(others), log_q, self._alpha, self.gamma)
        total = np.sum(odds, axis=1, keepdims=True)
        result = np.asarray(odds / total)
        underflow = ~(total[:, 0] < 1e100)  # of psi, for a large gamma
        if underflow.any():
            log_eta = self._log_eta(margins[underflow])
            result[underflow] = proportional(np.exp(log_eta - np.max(log_eta, axis=1, keepdims=True)))
        return result

    def _log_eta(self, margins: Any) -> Any:
        """`_log_posterior` by array operations alone."""
        with np.errstate(under="ignore"):
            return formulas.log_posterior(*_sides(margins), self._alpha, self.gamma)

    def _solve(self, log_eta: Float64s) -> Float64s:
        """Log probabilities of the softmax whose posterior is exp(log_eta), of shape (n, K), for gamma > 0.

        The posterior of a class is a constant of the row, exp(-log_normalizer), times an increasing function of its
        log odds alone. One root finds the log odds of all classes given the constant, another the constant with
        which their probabilities sum to one.
        """
        from scipy.optimize.elementwise import find_root

        n, n_classes = log_eta.shape
        possible = log_eta > -np.inf
        alpha = np.broadcast_to(self._alpha, log_eta.shape)
        log_alpha, gamma, log_2 = np.log(alpha), self.gamma, np.log(2)

        def log_odds(log_normalizer: Float64s, row: NDArray[np.intp]) -> Float64s:
            target = np.where(possible[row], log_normalizer[:, np.newaxis] + log_eta[row], 0.0)
            unweighted = target + log_alpha[row]
            high = np.maximum(0, (unweighted + np.log1p(gamma) + log_2) / gamma) + 1
            low = np.minimum(0, unweighted - gamma * log_2) - 1
            root = find_root(
                lambda x, target, alpha: self._log_posterior_at(x, alpha) - target,
                (low, high), args=(target, alpha[row]),
            )  # fmt: skip
            return np.where(possible[row], root.x, -np.inf)

        def log_excess(log_normalizer: Any, row: Any) -> Any:
            """Has the sign of sum p - 1, without cancellation: log of all p but the largest, minus log of its q."""
            odds = log_odds(np.ravel(log_normalizer), np.ravel(row).astype(np.intp))
            probability = formulas.sigmoid_and_logs(odds)[0]
            largest = np.argmax(odds, axis=1)[:, np.newaxis]
            others = np.sum(probability, axis=1, where=np.arange(n_classes) != largest)
            log_q = formulas.sigmoid_and_logs(np.take_along_axis(odds, largest, axis=1)[:, 0])[3]
            with np.errstate(divide="ignore"):
                return np.reshape(np.log(others) - log_q, np.shape(log_normalizer))

        # the constant lies between those with which each of the k classes that are possible has p = 1 / k
        alike = np.broadcast_to(-np.log(possible.sum(axis=1, keepdims=True) - 1), log_eta.shape)
        log_normalizers = np.where(possible, self._log_posterior_at(alike, alpha) - log_eta, np.nan)
        low, high = np.nanmin(log_normalizers, axis=1) - 1, np.nanmax(log_normalizers, axis=1) + 1
        log_normalizer = find_root(log_excess, (low, high), args=(np.arange(n),)).x
        return np.asarray(formulas.sigmoid_and_logs(log_odds(log_normalizer, np.arange(n)))[2])

    def _log_posterior_at(self, log_odds: Any, alpha: Any) -> Any:
        """log eta of a class at its log odds against the rest, up to a constant of the row."""
        p, q, log_p, log_q = formulas.sigmoid_and_logs(log_odds)
        return formulas.log_posterior(p, q, log_p, log_q, alpha, self.gamma)


def _shares(z: Float64s) -> tuple[Float64s, Float64s, NDArray[np.bool_], Float64s]:
    """Distance from the row's largest, its exponential, whether it is the largest, and the others' sum."""
    largest = np.argmax(z, axis=-1)[..., np.newaxis]
    is_top = np.arange(z.shape[-1]) == largest
    shift = z - np.take_along_axis(z, largest, axis=-1)
    e = np.exp(shift)
    return shift, e, is_top, np.sum(np.where(is_top, 0.0, e), axis=-1, keepdims=True)


def _sides(margins: Float64s) -> tuple[Float64s, Float64s, Float64s, Float64s]:
    """p, q, log p and log q of every class, of the margins' shape."""
    shift, e, is_top, others = _shares(np.clip(margins, -LARGEST, LARGEST))
    log_total = np.log1p(others)
    with np.errstate(divide="ignore"):  # where all the others underflow
        p, q, log_p, log_q = formulas.against_rest(shift, e, is_top, others, 1 / (1 + others), log_total)
    shift = np.where(is_top, -np.inf, shift)
    second = np.max(shift, axis=-1, keepdims=True)
    log_others = second + np.log(np.sum(np.exp(shift - second), axis=-1, keepdims=True))
    return p, q, log_p, np.where(is_top, log_others - log_total, log_q)


def _counts(y: ArrayLike, sample_weight: ArrayLike | None, n_classes: int | None) -> Float64s:
    """Weight of each class; without `n_classes` up to the largest label, at least 2."""
    labels = validation.column("y", y)
    weights = validation.sample_weight(sample_weight, labels)
    validation.check_classes(labels, n_classes)
    validation.check_values(sample_weight=weights)
    return np.bincount(labels.astype(np.intp), weights, n_classes or 2).astype(np.float64)
