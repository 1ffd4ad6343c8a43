"""Focal loss of binary labels, one or several per row: parameters, posterior and starting margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .base import GAMMA, Float64s, FocalLossBase, Hessian, effective_counts, float64, in_blocks
from .batch import Batch
from .dask_counts import summed
from .kernels import formulas
from .metrics.scores import squared_errors
from .validation import Interval

ALPHA = Interval(1e-30, 1, "[")

SMALLEST = 1e-10  # sum of the two numbers whose ratio is the odds; below, as for a large gamma, one may underflow
NORMAL = 1e-290  # of each of them, since numbers below 2e-308 have fewer digits
EPSILON = 2.0**-52
ODDS_OF_NUMBER = formulas.OF_NUMBERS["odds"]
MAX_STEPS = 100  # of Newton's method, which takes six to ten

Pair = tuple[float, float]


@dataclass(frozen=True, repr=False)
class FocalLoss(FocalLossBase):
    r"""Alpha-balanced focal loss of binary labels, in margins.

    With ``p`` the sigmoid's probability of a row's true class,

    .. math:: FL(p) = -a (1 - p)^\gamma \log p,

    where ``a`` is ``alpha`` for positive and ``1 - alpha`` for negative rows, or 1 without alpha
    (Lin et al. 2017, *Focal Loss for Dense Object Detection*, eq. 5). ``gamma=0`` is cross-entropy;
    with alpha it is balanced cross-entropy.

    The loss itself is the objective. Pass it as ``obj`` to ``xgboost.train``, as ``objective`` to LightGBM
    and to the scikit-learn classes of both, and as ``fobj`` to ``lightgbm.Booster.update``. Pass
    ``loss.metric`` as the metric. The loss applies sample weights itself.

    The sigmoid of a margin is *not* the probability of the positive class under this loss
    (Charoenphakdee et al. 2021, *On Focal Loss for Class-Posterior Probability Estimation*):
    `predict_proba` is, and it undoes alpha too.

    Labels and margins of shape (n, L) are multilabel: each row has L labels, each with its own loss. Gamma and
    alpha may then differ by label.

    Parameters
    ----------
    gamma : float or (float, float) or array_like of shape (L, 2) or ndarray of shape (L,), default 2.0
        Focusing parameter, in [0, 1000]. A pair is (gamma of negative rows, gamma of positive rows). An array
        has one of either for each label, kept as a tuple of pairs. A tuple or list of two numbers is a pair.
    alpha : float or array_like of shape (L,) or None, default None
        Weight of positive rows, in (0, 1), not below 1e-30; negative rows weigh ``1 - alpha``. None weighs both 1.
        With alpha, gradients and Hessians are smaller than without, so ``reg_lambda`` and
        ``min_child_weight`` (``min_sum_hessian_in_leaf``) act as if they were larger.
    hessian : {"expected", "exact"}, default "expected"
        The expected Hessian is the second derivative averaged over labels drawn from the posterior
        (Fisher scoring); it is never negative. The exact one is negative for rows that are badly
        wrong (gamma 2: below p = 0.058). A Newton step goes the wrong way there: boosting that starts
        near the base rate of a rare class then learns nothing.
    max_step : float, default 10.0
        The expected Hessian is raised to at least ``|gradient| / max_step``, which bounds the Newton
        step of a row, in margins; ``inf`` sets no bound. If positives are rare, the bound is active on
        most of them. So the default at ``gamma=0`` is not plain logistic boosting; with ``max_step=inf``
        it is. Not used with ``hessian="exact"``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number or is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from boostfocal import FocalLoss
    >>> loss = FocalLoss(gamma=2.0, alpha=0.25)
    >>> y, margin = np.array([0, 0, 1]), np.array([-2.0, 0.5, 0.5])
    >>> gradient, hessian = loss.gradient_hessian(y, margin)
    >>> [f"{value:.4f}" for value in gradient]
    ['0.0037', '0.3946', '-0.0345']
    >>> loss.predict_proba(margin).round(3)
    array([0.013, 0.92 , 0.92 ])
    >>> round(loss.optimal_margin([0] * 99 + [1]), 3)
    -2.107
    """

    _KERNELS = "elementwise"

    gamma: float | Pair | tuple[Pair, ...] | NDArray[Any] = 2.0
    alpha: float | tuple[float, ...] | NDArray[Any] | None = None
    hessian: Hessian = "expected"
    max_step: float = 10.0
    # the formulas' parameters, which follow from gamma and alpha, for each label or once for all
    _n_labels: int | None = field(default=None, init=False, repr=False, compare=False)
    _parameters: tuple[formulas.RowParameters, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        gamma, by_label = _coerced_gamma(self.gamma)
        alpha = _coerced_alpha(self.alpha)
        object.__setattr__(self, "gamma", gamma)  # the only writes: to coerce what was given
        object.__setattr__(self, "alpha", alpha)
        self._check_newton()
        pairs: Any = gamma if by_label else [gamma if isinstance(gamma, tuple) else (gamma, gamma)]
        alphas = alpha if isinstance(alpha, tuple) else [alpha]
        counts = ([len(pairs)] if by_label else []) + ([len(alphas)] if isinstance(alpha, tuple) else [])
        if len(set(counts)) > 1:
            raise ValueError(f"alpha must have one value for each label as gamma has, {counts[0]}, got {alpha!r}")
        n_labels = counts[0] if counts else None
        object.__setattr__(self, "_n_labels", n_labels)
        by_class = [(1.0, 1.0) if value is None else (1 - value, value) for value in alphas]
        size = n_labels or 1
        parameters = zip(by_class * (size // len(by_class)), pairs * (size // len(pairs)), strict=True)
        object.__setattr__(self, "_parameters", tuple((*alpha0_1, *pair) for alpha0_1, pair in parameters))

    @classmethod
    def balanced(
        cls,
        y: ArrayLike,
        gamma: float | Pair | tuple[Pair, ...] | NDArray[Any] = 2.0,
        *,
        beta: float | None = None,
        sample_weight: ArrayLike | None = None,
        hessian: Hessian = "expected",
        max_step: float = 10.0,
    ) -> Self:
        """A loss with alpha from inverse class frequencies.

        The classes' weights are proportional to the inverse of their counts and sum to 1, so that
        alpha is the share of negatives in `y`. Both classes then have the same total weight. All rows
        together weigh ``2 alpha (1 - alpha)`` of the unweighted total: 1/50 at 1 % positives.
        Regularization that is measured against sums of Hessians (``reg_lambda``, ``min_child_weight``,
        ``min_sum_hessian_in_leaf``) acts that much more strongly; lower it accordingly, or tune it.

        Parameters
        ----------
        y : array_like of shape (n,) or (n, L)
            Labels in [0, 1]; if a row has several, each is balanced by itself. Also a Dask array or Series,
            which is counted where it is.
        gamma : float or pair or array_like, default 2.0
            As for the class.
        beta : float or None, default None
            In [0, 1): count with the effective number of samples ``(1 - beta^n) / (1 - beta)`` (Cui et
            al. 2019, *Class-Balanced Loss Based on Effective Number of Samples*) instead of n. 0 weighs
            the classes alike; towards 1 the weights become the inverse frequencies.
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
        counts = summed(_counts, y, sample_weight)
        if not (counts > 0).all():
            short = np.argwhere(counts <= 0)[0]
            where = f" in column {short[1]}" if counts.ndim == 2 else ""
            negative, positive = counts if counts.ndim == 1 else counts[:, short[1]]
            raise ValueError(
                f"y must have rows of both classes to balance them, got {negative:g} of 0 and {positive:g} of 1{where}"
            )
        counts = effective_counts(counts, beta)
        return cls(gamma, (counts[0] / counts.sum(axis=0)).tolist(), hessian, max_step)

    # --- rows ----------------------------------------------------------------------------------

    def value(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Loss of each row, in nats.

        Parameters
        ----------
        y : array_like
            Labels in [0, 1]; between the ends the loss is linear (soft labels).
        margin : array_like of the same shape
            Raw scores, before any link.

        Returns
        -------
        ndarray of float64, of the same shape
        """
        labels, margins = self._labels_and_margins(y, margin)
        with np.errstate(under="ignore"):
            return np.asarray(formulas.focal_loss(float64(labels), float64(margins), *self._by_label))[()]

    @property
    def _columns(self) -> tuple[int, ...]:
        return (self._n_labels,) if self._n_labels else ()

    @property
    def _kernel_parameters(self) -> tuple[Any, ...]:
        return (self._parameters,)

    def _batch(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> Batch:
        labels = validation.labels("y", y, device=True)
        margins = validation.like("margin", margin, labels, "y", device=True)
        self._check_shape("y", labels)
        return Batch(labels, margins, validation.sample_weight(sample_weight, labels, device=True))

    def _check_values(self, batch: Batch) -> None:
        validation.check_values(*batch)

    # --- probabilities and margins --------------------------------------------------------------

    def log_odds(self, margin: ArrayLike, *, sampling_rates: ArrayLike = 1.0) -> Float64s:
        """Log odds of the positive class: the logit of `predict_proba`, exact in both tails.

        Parameters, shape and errors are those of `predict_proba`; infinite margins give infinite log odds.
        """
        margins = self._checked_margins(margin)
        negative, positive = validation.sampling_rates(sampling_rates, 2)
        return np.asarray(self._log_eta(float64(margins)) + np.log(negative / positive))[()]

    def predict_proba(self, margin: ArrayLike, *, sampling_rates: ArrayLike = 1.0) -> Float64s:
        """Probability of the positive class: the posterior eta(z) = A / (A + B).

        A and B are the gradient's magnitudes at `margin` for a negative and a positive row: eta is the
        share of positives for which the margin is stationary. At ``gamma=0`` without alpha it is the
        sigmoid.

        Parameters
        ----------
        margin : array_like
            Raw scores of a model trained with this loss.
        sampling_rates : float or (float, float), default 1.0
            The sampling rates of the negative and the positive rows for training: 0.1 for a tenth of the
            negatives and all positives. Only their ratio matters: the odds are multiplied by it.

        Returns
        -------
        ndarray of float64, of the shape of `margin`

        Raises
        ------
        TypeError, ValueError
            For margins that are not numbers, and rates that are not positive.
        """
        margins = self._checked_margins(margin)
        negative, positive = validation.sampling_rates(sampling_rates, 2)

        def eta(z: Float64s) -> Float64s:
            others, own = self._odds(z)
            own = own * (negative / positive)
            return np.asarray(own / (others + own))

        return self._by_rows(eta, margins)

    def log_loss(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Log loss of `predict_proba`, in nats: exact in both tails.

        Parameters
        ----------
        y : array_like
            Labels in [0, 1].
        margin : array_like of the same shape

        Returns
        -------
        ndarray of float64, of the same shape
        """
        labels, margins = self._labels_and_margins(y, margin)
        log_odds = self._log_eta(float64(margins))
        with np.errstate(invalid="ignore"):  # for infinite margins, the branch not chosen may be 0 * inf
            positive = np.where(labels > 0, labels * np.logaddexp(0, -log_odds), 0)
            negative = np.where(labels < 1, (1 - labels) * np.logaddexp(0, log_odds), 0)
        return np.asarray(positive + negative)[()]

    def brier(self, y: ArrayLike, margin: ArrayLike) -> Float64s:
        """Squared error of `predict_proba`; parameters and result are those of `log_loss`."""
        labels, margins = self._labels_and_margins(y, margin)
        return squared_errors(labels, self.predict_proba(margins))[()]

    def margin(self, proba: ArrayLike) -> Float64s:
        """The margin at which `predict_proba` is `proba`.

        Parameters
        ----------
        proba : array_like
            Probabilities in [0, 1].

        Returns
        -------
        ndarray of float64, of the shape of `proba`
            -inf for 0 and inf for 1.
        """
        values = validation.probabilities("proba", proba)
        self._check_shape("proba", values)
        return self._by_rows(self._solve, values)

    def optimal_margin(self, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float | Float64s:
        """The constant margin of least total loss: where to start boosting.

        There the gradients sum to zero, and `predict_proba` is the (weighted) share of positives. For
        labels of a single class it is -inf or inf, from which no engine can boost.

        Parameters
        ----------
        y : array_like of shape (n,) or (n, L)
            Labels in [0, 1]; also a Dask array or Series, which is counted where it is.
        sample_weight : array_like of shape (n,), optional
            Finite, not negative, not all zero.

        Returns
        -------
        float, or ndarray of float64 of shape (L,)
        """
        negatives, positives = summed(self._counts, y, sample_weight)
        total = validation.positive(negatives + positives, "sample_weight")
        margins = self.margin(positives / total)
        return margins if np.ndim(positives) else float(margins)

    # --------------------------------------------------------------------------------------------

    @property
    def _by_label(self) -> tuple[Any, Any, Any, Any]:
        """alpha0, alpha1, gamma0 and gamma1: numbers, or arrays of shape (L,)."""
        alpha0, alpha1, gamma0, gamma1 = np.array(self._parameters).T if self._n_labels else self._parameters[0]
        return alpha0, alpha1, gamma0, gamma1

    def _log_eta(self, margins: Any) -> Any:
        """Log odds of the posterior, by array operations alone."""
        log_odds = _quiet_log_odds(margins, *self._by_label)
        return np.where(np.isinf(margins), margins, log_odds)

    def _by_rows(self, function: Callable[[Float64s], Float64s], values: NDArray[Any]) -> Float64s:
        return np.asarray(in_blocks(function, values.reshape(-1, *self._columns)).reshape(values.shape)[()])

    def _odds(self, margins: Float64s) -> tuple[Float64s, Float64s]:
        """Numbers proportional to the posterior of each class, for an array of at least one dimension."""
        if margins.size == 1 and not self._n_labels:
            first, second = ODDS_OF_NUMBER(margins.item(), *self._by_label)
            if first + second >= SMALLEST and min(first, second) >= NORMAL:
                return np.full(margins.shape, first), np.full(margins.shape, second)
        first, second = formulas.odds(margins, *self._by_label)
        tiny = (first + second < SMALLEST) | (np.minimum(first, second) < NORMAL)
        if tiny.any():  # the odds from logarithms
            sides = formulas.sigmoid_and_logs(self._log_eta(margins))
            first, second = np.where(tiny, sides[1], first), np.where(tiny, sides[0], second)
        return first, second

    def _solve(self, proba: Float64s) -> Float64s:
        """`margin` by Newton's method, kept within bounds, on the log odds, which are nearly linear."""
        goal = np.log(proba) - np.log1p(-proba)
        inner = np.isfinite(goal)
        goal = np.where(inner, goal, 0.0)
        # log_odds is increasing with slope above 1/2, which bounds the root
        high = 2 * (np.abs(goal) + np.abs(self._log_eta(np.zeros_like(goal)))) + 1
        low, z = -high, np.zeros_like(goal)
        for _ in range(MAX_STEPS):
            log_odds, slope = formulas.log_odds_and_slope(z, *self._by_label)
            error = log_odds - goal
            low, high = np.where(error < 0, z, low), np.where(error > 0, z, high)
            moved = z - error / slope
            moved = np.where((moved >= low) & (moved <= high), moved, 0.5 * (low + high))
            settled = np.abs(moved - z) <= 4 * EPSILON * (1 + np.abs(moved))
            z = moved
            if settled.all():
                break
        return np.where(inner, z, np.where(proba > 0, np.inf, -np.inf))

    def _checked_margins(self, margin: ArrayLike) -> NDArray[Any]:
        margins = validation.array("margin", margin)
        self._check_shape("margin", margins)
        validation.check_values(margins=margins)
        return margins

    def _counts(self, y: ArrayLike, sample_weight: ArrayLike | None) -> Float64s:
        counts = _counts(y, sample_weight)
        if self._n_labels:
            self._check_shape("y", counts[0])
        return counts

    def _labels_and_margins(self, y: ArrayLike, margin: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        labels = validation.array("y", y)
        margins = validation.like("margin", margin, labels, "y")
        self._check_shape("y", labels)
        validation.check_values(labels, margins)
        return labels, margins

    def _check_shape(self, name: str, array: NDArray[Any]) -> None:
        """Refuse arrays without one column for each of our parameters."""
        if self._n_labels and array.shape[-1:] != (self._n_labels,):
            raise ValueError(f"{name} must have {self._n_labels} columns as the loss has, got shape {array.shape}")


def _quiet_log_odds(margins: Any, *parameters: Any) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        return formulas.log_odds(margins, *parameters)


def _coerced_gamma(value: Any) -> tuple[float | Pair | tuple[Pair, ...], bool]:
    """Gamma as the loss keeps it, and whether there is one for each label."""
    if not _is_sequence(value):
        return _gamma(value), False
    pairs = [tuple(row) if isinstance(row, (tuple, list, np.ndarray)) else row for row in value]
    if isinstance(value, np.ndarray) and value.ndim == 1:
        pairs = [(one, one) for one in pairs]
    if pairs and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        return tuple((_gamma(negative), _gamma(positive)) for negative, positive in pairs), True
    if len(pairs) != 2:
        raise ValueError(
            "gamma must be one number, a pair (negative, positive), or for multilabel rows an array of shape (L,) or "
            f"(L, 2), got {value!r}"
        )
    return (_gamma(pairs[0]), _gamma(pairs[1])), False


def _coerced_alpha(value: Any) -> float | tuple[float, ...] | None:
    if value is None:
        return None
    if _is_sequence(value):
        if np.ndim(value) != 1 or len(value) == 0:
            raise ValueError(f"alpha must be None or {ALPHA}, or one for each label of multilabel rows, got {value!r}")
        return tuple(_alpha(one) for one in value)
    return _alpha(value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _gamma(value: Any) -> float:
    return validation.number("gamma", value, GAMMA, f"{GAMMA}, or a pair of them")


def _alpha(value: Any) -> float:
    return validation.number("alpha", value, ALPHA, f"None or {ALPHA}")


def _counts(y: ArrayLike, sample_weight: ArrayLike | None) -> Float64s:
    """Weight of the negatives and of the positives, of shape (2,), or (2, L) for multilabel rows."""
    labels = validation.labels("y", y)
    weights = validation.sample_weight(sample_weight, labels)
    validation.check_values(labels, sample_weight=weights)
    if weights is None:
        positives, total = np.sum(labels, axis=0, dtype=np.float64), float(labels.shape[0])
    else:
        positives = np.einsum("n,n...->...", weights, labels, dtype=np.float64, casting="unsafe")
        total = float(np.sum(weights, dtype=np.float64))
    return np.array([np.maximum(total - positives, 0.0), positives])
