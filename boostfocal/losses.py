"""Focal loss as an immutable value: its parameters, posterior, starting margin, and use as objective."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import engines, validation
from .kernels import rows
from .metrics import FocalMetric

Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class FocalLoss:
    r"""Alpha-balanced focal loss of binary labels, in margins.

    With ``p`` the sigmoid's probability of the true class of a row,

    .. math:: FL(p) = -a (1 - p)^\gamma \log p,

    where ``a`` is ``alpha`` for positive and ``1 - alpha`` for negative rows, or 1 without alpha
    (Lin et al. 2017, *Focal Loss for Dense Object Detection*, eq. 5). ``gamma=0`` is cross-entropy,
    with alpha balanced cross-entropy.

    The object is the objective: pass it as ``obj`` to ``xgboost.train``, as ``objective`` to LightGBM
    and to the scikit-learn classes of both, as ``fobj`` to ``lightgbm.Booster.update``; and
    ``loss.metric`` as their metric. It applies sample weights itself.

    The sigmoid of a margin is *not* the probability of the positive class under this loss
    (Charoenphakdee et al. 2021, *On Focal Loss for Class-Posterior Probability Estimation*):
    `predict_proba` is, and it undoes alpha too.

    Parameters
    ----------
    gamma : float or (float, float), default 2.0
        Focusing parameter, in [0, 1000]. A pair is (gamma of negative rows, gamma of positive rows).
    alpha : float or None, default None
        Weight of positive rows, in (0, 1), not below 1e-30; negative rows weigh ``1 - alpha``. None weighs both 1.
        With alpha, gradients and Hessians are smaller than without, so ``reg_lambda`` and
        ``min_child_weight`` (``min_sum_hessian_in_leaf``) act as if they were larger.
    hessian : {"expected", "exact"}, default "expected"
        The expected Hessian is the second derivative averaged over labels drawn from the posterior
        (Fisher scoring); it is never negative. The exact one is negative for rows that are badly
        wrong (gamma 2: below p = 0.082), where a Newton step goes the wrong way: boosting started
        near the base rate of a rare class then learns nothing.
    max_step : float, default 10.0
        The expected Hessian is raised to at least ``|gradient| / max_step``, which bounds the Newton
        step of a row, in margins; ``inf`` leaves it alone. With rare positives the bound is active on
        most of them, so the default at ``gamma=0`` is not plain logistic boosting; with
        ``max_step=inf`` it is. Not used with ``hessian="exact"``.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not a number or outside its range.
    """

    gamma: float | tuple[float, float] = 2.0
    alpha: float | None = None
    hessian: Literal["expected", "exact"] = "expected"
    max_step: float = 10.0

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the only writes: to coerce what was given
        if isinstance(self.gamma, (tuple, list, np.ndarray)):
            if len(self.gamma) != 2:
                raise ValueError(f"gamma must be one number or a pair (negative, positive), got {self.gamma!r}")
            set_field(self, "gamma", tuple(_gamma(value) for value in self.gamma))
        else:
            set_field(self, "gamma", _gamma(self.gamma))
        if self.alpha is not None:
            set_field(
                self,
                "alpha",
                validation.number(
                    "alpha", self.alpha, "None or a number in (0, 1), at least 1e-30", 1e-30, 1, closed="["
                ),
            )
        if not isinstance(self.hessian, str) or self.hessian not in ("expected", "exact"):
            raise ValueError(f'hessian must be "expected" or "exact", got {self.hessian!r}')
        step = validation.number("max_step", self.max_step, "a number of at least 1e-6, or inf", 1e-6, np.inf, "[]")
        set_field(self, "max_step", step)

    def __repr__(self) -> str:
        """An expression that recreates the loss."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = {name: 'float("inf")' if value == np.inf else repr(value) for name, value in values.items()}
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"

    @classmethod
    def balanced(
        cls,
        y: ArrayLike,
        gamma: float | tuple[float, float] = 2.0,
        *,
        beta: float | None = None,
        sample_weight: ArrayLike | None = None,
        hessian: Literal["expected", "exact"] = "expected",
        max_step: float = 10.0,
    ) -> Self:
        """A loss with alpha from inverse class frequencies.

        The classes' weights are proportional to the inverse of their counts and sum to 1, so that
        alpha is the share of negatives in `y`. Both classes then pull with the same total, and that
        total is ``2 alpha (1 - alpha)`` of the unweighted one: at 1 % positives 1/50. Regularization
        that is measured against sums of Hessians (``reg_lambda``, ``min_child_weight``,
        ``min_sum_hessian_in_leaf``) bites that much harder; lower it accordingly, or tune it.

        Parameters
        ----------
        y : array_like of shape (n,)
            Labels in [0, 1].
        gamma : float or (float, float), default 2.0
            As for the class.
        beta : float or None, default None
            In [0, 1): count with the effective number of samples ``(1 - beta^n) / (1 - beta)`` (Cui et
            al. 2019, *Class-Balanced Loss Based on Effective Number of Samples*) instead of n. 0 weighs
            the classes alike; towards 1 it becomes the inverse frequency.
        sample_weight : array_like of shape (n,), optional
            A row counts as its weight.
        hessian, max_step
            As for the class.

        Raises
        ------
        ValueError
            If a class has no row, or for labels or weights that are not accepted.
        """
        labels, weights = _labels_and_weights(y, sample_weight)
        positives = _weighted_sum(labels, weights)
        total = float(labels.size) if weights is None else float(np.sum(weights, dtype=np.float64))
        counts = np.array([total - positives, positives])
        if not (counts > 0).all():
            raise ValueError(
                f"y must have rows of both classes to balance them, got {counts[0]:g} of 0 and {counts[1]:g} of 1"
            )
        if beta is not None:
            beta = validation.number("beta", beta, "None or a number in [0, 1)", 0, 1, closed="[")
            counts = -np.expm1(counts * np.log(beta)) if beta > 0 else np.ones(2)
        return cls(gamma, float(counts[0] / counts.sum()), hessian, max_step)

    # --- the loss ------------------------------------------------------------------------------

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
        labels, margins = validation.array("y", y), validation.array("margin", margin)
        if labels.shape != margins.shape:
            raise ValueError(f"margin must have shape {labels.shape} as y has, got shape {margins.shape}")
        validation.check_values(labels, margins)
        with np.errstate(under="ignore"):
            return np.asarray(rows.values(_float64(labels), _float64(margins), *self._row_parameters))[()]

    def gradient_hessian(
        self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Float32s, Float32s]:
        """First derivative by the margin, and Hessian, of each row's weighted loss.

        Parameters
        ----------
        y : array_like of shape (n,)
            Labels in [0, 1].
        margin : array_like of shape (n,)
            Raw scores. Computed in float32; beyond ±87 exp(-|margin|) counts as zero.
        sample_weight : array_like of shape (n,), optional
            Not negative, finite in float32.

        Returns
        -------
        gradient, hessian : ndarrays of float32 of shape (n,)

        Raises
        ------
        TypeError, ValueError
            For arrays that are not numeric, empty, of other shapes, or with values not accepted.
        """
        from .kernels import cpu  # not at import: scoring needs no compiler

        rows_in = self._rows(y, margin, sample_weight)
        exact = self.hessian == "exact"
        gradient, hessian, suspicious = cpu.gradient_hessian(*rows_in, self._row_parameters, exact, self.max_step)
        if suspicious:
            validation.check_values(*rows_in)
        return gradient, hessian

    def mean(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Weighted mean loss, from float32 rows: what the metric reports.

        Parameters and errors are those of `gradient_hessian`; weights that sum to zero are refused.
        """
        from .kernels import cpu

        labels, margins, weights = self._rows(y, margin, sample_weight)
        losses, suspicious = cpu.losses(labels, margins, weights, self._row_parameters)
        if suspicious:
            validation.check_values(labels, margins, weights)
        total = labels.size if weights is None else _positive_total(weights)
        return float(losses.sum(dtype=np.float64) / total)

    # --- probabilities and margins -----------------------------------------------------------------

    def log_odds(self, margin: ArrayLike, *, negatives_kept: float = 1.0) -> Float64s:
        """Log odds of the positive class: the logit of `predict_proba`, exact in both tails."""
        margins = validation.array("margin", margin)
        validation.check_values(margins=margins)
        accepted = "a number in (0, 1]"
        kept = validation.number("negatives_kept", negatives_kept, accepted, 0, 1, closed="]")
        return np.asarray(self._log_odds(_float64(margins)) + np.log(kept))[()]

    def predict_proba(self, margin: ArrayLike, *, negatives_kept: float = 1.0) -> Float64s:
        """Probability of the positive class: the posterior eta(z) = A / (A + B).

        A and B are the gradient's magnitudes at `margin` for a negative and a positive row: eta is the
        share of positives for which the margin is stationary. At ``gamma=0`` without alpha it is the
        sigmoid.

        Parameters
        ----------
        margin : array_like
            Raw scores of a model trained with this loss.
        negatives_kept : float, default 1.0
            Share of the negative rows that were kept for training, in (0, 1], the positives having all
            been kept: the odds are multiplied by it.

        Returns
        -------
        ndarray of float64, of the shape of `margin`

        Raises
        ------
        TypeError, ValueError
            For margins that are not numbers, and a rate outside (0, 1].
        """
        from scipy.special import expit

        return expit(self.log_odds(margin, negatives_kept=negatives_kept))  # type: ignore[no-any-return]

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
        from scipy.optimize.elementwise import find_root
        from scipy.special import logit

        target = logit(_float64(validation.probabilities("proba", proba)))
        inner = np.isfinite(target)
        goal = np.where(inner, target, 0.0)
        # log_odds is increasing with slope above 1/2, which bounds the root
        reach = 2 * (np.abs(goal) + abs(float(self._log_odds(np.float64(0))))) + 1
        with np.errstate(invalid="ignore"):  # the ends may be infinite: their signs still bracket
            root = find_root(lambda z, goal: self._log_odds(z) - goal, (-reach, reach), args=(goal,))
        return np.where(inner, root.x, target)[()]  # type: ignore[no-any-return]

    def optimal_margin(self, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The constant margin of least total loss: where to start boosting.

        There the gradients sum to zero, and `predict_proba` is the (weighted) share of positives. For
        labels of a single class it is -inf or inf, from which no engine can boost.

        Parameters
        ----------
        y : array_like of shape (n,)
            Labels in [0, 1].
        sample_weight : array_like of shape (n,), optional
            Finite, not negative, not all zero.
        """
        labels, weights = _labels_and_weights(y, sample_weight)
        total = float(labels.size) if weights is None else _positive_total(weights)
        return float(self.margin(min(_weighted_sum(labels, weights) / total, 1.0)))

    # --- in the engines ----------------------------------------------------------------------------

    def __call__(self, y_true: Any, margin: Any, sample_weight: Any = None) -> tuple[Float32s, Float32s]:
        """The objective, in every calling convention of XGBoost and LightGBM.

        Called as (margin, DMatrix or Dataset) by ``train``, ``cv`` and ``Booster.update``, and as
        (labels, margin[, weights]) by the scikit-learn classes.
        """
        rows_in = engines.read(y_true, margin, sample_weight)
        return self.gradient_hessian(rows_in.labels, rows_in.margins, rows_in.weights)

    @property
    def metric(self) -> FocalMetric:
        """Mean focal loss as a metric of either engine, named "focal"."""
        return FocalMetric(self)

    # ------------------------------------------------------------------------------------------------

    @property
    def _row_parameters(self) -> rows.RowParameters:
        gamma0, gamma1 = self.gamma if isinstance(self.gamma, tuple) else (self.gamma, self.gamma)
        weight0, weight1 = (1.0, 1.0) if self.alpha is None else (1 - self.alpha, self.alpha)
        return weight0, weight1, gamma0, gamma1

    def _log_odds(self, margins: Any) -> Any:
        with np.errstate(divide="ignore", over="ignore", under="ignore"):  # log(0) is the limit, -inf
            return rows.log_odds(margins, *self._row_parameters)

    @staticmethod
    def _rows(
        y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        labels = validation.column("y", y)
        margins = validation.column("margin", margin, labels, "y")
        weights = None if sample_weight is None else validation.column("sample_weight", sample_weight, labels, "y")
        return labels, margins, weights


def _gamma(value: Any) -> float:
    return validation.number("gamma", value, "a number in [0, 1000], or a pair of them", 0, 1000, closed="[]")


def _labels_and_weights(y: ArrayLike, sample_weight: ArrayLike | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    labels = validation.column("y", y)
    weights = None if sample_weight is None else validation.column("sample_weight", sample_weight, labels, "y")
    validation.check_values(labels, weights=weights)
    return labels, weights


def _weighted_sum(labels: NDArray[Any], weights: NDArray[Any] | None) -> float:
    return float(np.sum(labels if weights is None else labels * weights, dtype=np.float64))


def _positive_total(weights: NDArray[Any]) -> float:
    total = float(np.sum(weights, dtype=np.float64))
    if not total > 0:
        raise ValueError(f"sample_weight must not sum to zero, got {weights.size} weights that sum to {total}")
    return total


def _float64(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64, copy=False)
