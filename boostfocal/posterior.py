"""From margins to class probabilities where a model is used, which need not be where it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .base import Float64s, blocks, float64, in_blocks, proportional
from .focal import FocalLoss
from .kernels import formulas
from .softmax import SoftmaxFocalLoss

Loss = FocalLoss | SoftmaxFocalLoss

LOSSES = {loss.__name__: loss for loss in (FocalLoss, SoftmaxFocalLoss)}
Knots = tuple[tuple[float, ...], tuple[float, ...]]
Method = Literal["sigmoid", "focal", "isotonic"]
METHODS = get_args(Method)
MAX_LINK_GAMMA = 5.0  # the log odds of larger ones are nearly linear in the margin again, as those of gamma 0 are
SKETCH = 20_000  # rows that give the root over all rows but for its last digits
STEP, MAX_LOOKS = 1e-4, 20
SEPARATED = 1e-6  # a log loss below it tends to zero: the classes do not overlap, and no slope is the best


@dataclass(frozen=True)
class Posterior:
    """Class probabilities: the loss's posterior, with its log odds scaled and shifted, and a map of the result.

    ``log proba_k = slope * log eta_k + bias_k``, up to the constant that makes them sum to one.

    Parameters
    ----------
    loss : FocalLoss or SoftmaxFocalLoss
        The loss that the margins were trained with. For binary labels the classes are 0 and 1.
    slope : float, default 1.0
        Below 1 it reduces overconfidence.
    bias : tuple of K floats, optional
        Shifts the classes' log odds to class frequencies other than those of training.
    link_gamma : float, optional
        The gamma of the posterior, if it differs from that of the loss.
    knots : tuple of pairs of tuples, optional
        Probabilities and what they become, linear in between: for the second of two classes, or for each of more.
    """

    loss: Loss
    slope: float = 1.0
    bias: tuple[float, ...] = ()
    link_gamma: float | None = None
    knots: tuple[Knots, ...] = ()

    _link: ClassVar[Loss]  # each posterior has its own, which the fields determine

    def __post_init__(self) -> None:
        if not self.bias:
            object.__setattr__(self, "bias", (0.0,) * self.n_classes)
        link = self.loss if self.link_gamma is None else replace(self.loss, gamma=self.link_gamma)
        object.__setattr__(self, "_link", link)

    @classmethod
    def from_sampling_rates(cls, loss: Loss, sampling_rates: ArrayLike | None = None) -> Self:
        """The posterior of the population from which each class was sampled at its rate for training.

        Parameters
        ----------
        loss : FocalLoss or SoftmaxFocalLoss
        sampling_rates : array_like of shape (K,), optional
            Positive numbers. Only their ratios matter.
        """
        if sampling_rates is None:
            return cls(loss)
        posterior = cls(loss)
        rates = validation.sampling_rates(sampling_rates, posterior.n_classes)
        return replace(posterior, bias=tuple(np.log(np.max(rates) / rates).tolist()))

    @property
    def n_classes(self) -> int:
        return self.loss.n_classes if isinstance(self.loss, SoftmaxFocalLoss) else 2

    def predict_proba(self, margin: ArrayLike) -> Float64s:
        """Probability of each class.

        Parameters
        ----------
        margin : array_like of shape (n,) for two classes, or (n, K)
            Raw scores of a model trained with the loss; not NaN.

        Returns
        -------
        ndarray of float64 of shape (n, K)
        """
        return in_blocks(self._proba, self._checked(margin))

    def _proba(self, margins: Float64s) -> Float64s:
        if self.slope != 1 or self.knots:
            return np.asarray(self.probabilities(margins))
        factors = np.exp(np.array(self.bias) - max(self.bias)) if any(self.bias) else None
        link = self._link
        if isinstance(link, SoftmaxFocalLoss):
            eta = link._eta(margins)
            return eta if factors is None else proportional(eta * factors)
        result = np.empty((margins.size, 2))
        first, second = link._odds(margins)
        if factors is not None:
            first, second = first * factors[0], second * factors[1]
        total = first + second
        result[:, 0], result[:, 1] = first / total, second / total
        return result

    def given_to_metrics(self, margin: ArrayLike) -> Float64s:
        """What a user's own metric is given, as under an engine's own objective: for two classes, the second's."""
        proba = self.predict_proba(margin)
        return proba if self.n_classes > 2 else proba[:, 1]

    def probabilities(self, margins: Any) -> Any:
        """`predict_proba` by array operations alone, so that margins may also be the symbols of a graph."""
        scores = self._scores(margins)
        if self.n_classes == 2:
            second, first, _, _ = formulas.sigmoid_and_logs(scores)
            if self.knots:
                second = _mapped(second, self.knots[0])
                first = 1 - second
            return np.stack([first, second], axis=-1)
        e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        if self.knots:
            proba = e / np.sum(e, axis=-1, keepdims=True)
            columns = (np.sum(proba * own, axis=-1) for own in np.eye(self.n_classes))
            e = np.stack([_mapped(column, knots) for column, knots in zip(columns, self.knots, strict=True)], axis=-1)
        return e / np.sum(e, axis=-1, keepdims=True)

    def recalibrated(
        self,
        y: ArrayLike,
        margin: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        slope: bool = True,
        method: Method = "sigmoid",
    ) -> Self:
        """The posterior of greatest likelihood on labels that the model was not trained on.

        Parameters
        ----------
        y : array_like of shape (n,)
            Classes 0, ..., K - 1; each must have a row.
        margin : array_like of shape (n,) or (n, K)
        sample_weight : array_like of shape (n,), optional
        slope : bool, default True
            False keeps the slope and fits the bias alone, for which few labels are enough.
        method : {"sigmoid", "focal", "isotonic"}, default "sigmoid"
            "sigmoid" fits slope and bias. For two classes this is Platt scaling of the posterior's log odds (Platt
            1999, without his prior counts). The mean probability becomes the (weighted) share of each class. "focal"
            fits the posterior's gamma, too: focal temperature scaling (Komisarenko and Kull 2024), here with a bias.
            "isotonic" keeps them, and fits an increasing map of each class's probability (Zadrozny and Elkan 2002).

        Raises
        ------
        ValueError
            For values not accepted, a class without a row, classes that the scores separate without error
            (the slope would be infinite), and scores that rank worse than chance (it would be negative).
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if method == "isotonic":
            if not slope:
                raise ValueError("slope must be True with method='isotonic', which has none to leave out, got False")
            return self._isotonic(y, margin, sample_weight)
        if method == "sigmoid":
            return self._scaled(y, margin, sample_weight, slope)[0]
        from scipy.optimize import minimize_scalar

        def fitted(gamma: float) -> tuple[Self, float]:
            return replace(self, link_gamma=float(gamma))._scaled(y, margin, sample_weight, slope)

        bounds = (0.0, MAX_LINK_GAMMA)
        best = minimize_scalar(lambda gamma: fitted(gamma)[1], bounds=bounds, method="bounded", options={"xatol": 1e-4})
        return fitted(best.x)[0]

    def _isotonic(self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> Self:
        from sklearn.isotonic import IsotonicRegression

        margins, own, by_row = self._to_calibrate(y, margin, sample_weight)
        plain = replace(self, knots=())
        proba = plain.predict_proba(margins)
        least = 1 / (by_row.sum() + 2)  # no probability of 0 or 1 follows from so many rows
        knots: list[Knots] = []
        for k in range(1, 2) if self.n_classes == 2 else range(self.n_classes):
            found = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
            found.fit(proba[:, k], own == k, sample_weight=by_row)
            knots.append((tuple(found.X_thresholds_.tolist()), tuple(found.y_thresholds_.tolist())))
        return replace(plain, knots=tuple(knots))

    def _to_calibrate(
        self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[Float64s, NDArray[np.intp], Float64s]:
        """Margins, classes, and weights that are 1 on average; each class has a row."""
        margins = self._checked(margin)
        labels = validation.column("y", y, margins.shape[0])
        validation.check_classes(labels, self.n_classes)
        weights = validation.sample_weight(sample_weight, labels)
        validation.check_values(sample_weight=weights)
        own = labels.astype(np.intp)
        by_row = np.ones(own.size) if weights is None else float64(weights)
        by_row = by_row / validation.positive(by_row.sum(), "sample_weight") * own.size
        counts = np.bincount(own, by_row, self.n_classes)
        if not counts.all():
            raise ValueError(f"y must have rows of every class to recalibrate, got none of {np.argmin(counts)}")
        return float64(margins), own, by_row

    def _scaled(
        self, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None, slope: bool
    ) -> tuple[Self, float]:
        """Slope and bias of greatest likelihood, without knots, and the log loss that they leave."""
        from scipy.optimize import minimize

        margins, own, by_row = self._to_calibrate(y, margin, sample_weight)
        log_odds = self._scores(margins)
        log_proba = np.stack([np.zeros(own.size), log_odds], axis=1) if self.n_classes == 2 else log_odds
        each = np.arange(own.size)

        def loss_and_gradient(parameters: Float64s) -> tuple[float, Float64s]:
            scale = parameters[0] if slope else 1.0
            scores = scale * log_proba + np.append(0.0, parameters[1 if slope else 0 :])
            scores -= scores.max(axis=1, keepdims=True)
            e = np.exp(scores)
            total = e.sum(axis=1, keepdims=True)
            value = by_row @ (np.log(total[:, 0]) - scores[each, own])
            error = e / total
            error[each, own] -= 1
            error *= by_row[:, np.newaxis]
            by_bias = error.sum(axis=0)[1:]
            gradient = np.append(np.sum(error * log_proba), by_bias) if slope else by_bias
            return value / own.size, gradient / own.size

        first = np.append([1.0] if slope else [], np.zeros(self.n_classes - 1))
        found = minimize(loss_and_gradient, first, jac=True, method="BFGS", options={"gtol": 1e-9})
        best, separated = found.x, found.fun < SEPARATED
        fitted = float(best[0]) if slope else 1.0
        if separated or fitted <= 0:
            reason = "separates the classes without error" if separated else "ranks these rows worse than chance"
            raise ValueError(
                f"y must be classes that overlap in score, but the score {reason}; slope=False fits no slope"
            )
        shift = np.append(0.0, best[1 if slope else 0 :])
        bias = tuple((fitted * np.array(self.bias) + shift).tolist())
        return replace(self, slope=self.slope * fitted, bias=bias, knots=()), float(found.fun)

    # --- as JSON ---------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        parameters = {f.name: getattr(self.loss, f.name) for f in fields(self.loss) if f.init}
        if np.isinf(parameters["max_step"]):
            parameters["max_step"] = "inf"  # JSON has no infinity
        values = {"loss": type(self.loss).__name__, **parameters, "slope": self.slope, "bias": list(self.bias)}
        if self.link_gamma is not None:
            values["link_gamma"] = self.link_gamma
        if self.knots:
            values["knots"] = [[list(axis) for axis in one] for one in self.knots]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        parameters = dict(values)
        loss, slope, bias = LOSSES[parameters.pop("loss")], parameters.pop("slope"), parameters.pop("bias")
        link_gamma, knots = parameters.pop("link_gamma", None), _checked_knots(parameters.pop("knots", []))
        if link_gamma is not None:
            link_gamma = validation.number("link_gamma", link_gamma, validation.Interval(0, MAX_LINK_GAMMA))
        parameters["max_step"] = float(parameters["max_step"])
        if loss is FocalLoss and isinstance(parameters["gamma"], list):
            parameters["gamma"] = tuple(parameters["gamma"])
        if not isinstance(bias, list):
            raise TypeError(f"bias must be one number for each class, got {bias!r}")
        posterior = cls(loss(**parameters), float(slope), tuple(float(one) for one in bias), link_gamma, knots)
        if len(knots) not in (0, 1 if posterior.n_classes == 2 else posterior.n_classes):
            raise ValueError(f"knots must be those of each class, got {len(knots)}")
        numbers = [posterior.slope, *posterior.bias]
        if len(posterior.bias) != posterior.n_classes or not np.isfinite(numbers).all() or posterior.slope <= 0:
            raise ValueError(
                "slope and bias must be finite numbers, slope positive, bias one for each class, "
                f"got {slope!r}, {bias!r}"
            )
        return posterior

    # ---------------------------------------------------------------------------------------------

    def _scores(self, margins: Any) -> Any:
        """Log odds of class 1 if there are two, else log probabilities up to a constant of the row."""
        log_eta = self._link._log_eta(margins)
        bias: Any = self.bias[1] - self.bias[0] if self.n_classes == 2 else np.array(self.bias)
        return self.slope * log_eta + bias

    def _checked(self, margin: ArrayLike) -> NDArray[Any]:
        margins = validation.array("margin", margin)
        shape = (margins.shape[0], self.n_classes) if self.n_classes > 2 else margins.shape[:1]
        if margins.shape != shape:
            accepted = f"(n, {self.n_classes})" if self.n_classes > 2 else "(n,)"
            raise ValueError(f"margin must have shape {accepted}, got shape {margins.shape}")
        validation.check_values(margins=margins)
        return margins


def _mapped(proba: Any, knots: Knots) -> Any:
    """The piecewise linear map of probabilities; a symbol of a graph is mapped by a sum of ramps."""
    x, y = np.array(knots)
    if isinstance(proba, np.ndarray):
        return np.interp(proba, x, y)
    if x.size == 1:
        return proba * 0 + y[0]
    ramps = np.clip((proba[..., np.newaxis] - x[:-1]) / np.diff(x), 0.0, 1.0)
    return np.sum(ramps * np.diff(y), axis=-1) + y[0]


def _checked_knots(values: Any) -> tuple[Knots, ...]:
    """Knots from JSON."""
    result: list[Knots] = []
    for x, y in values:
        at, becomes = np.array(x, np.float64), np.array(y, np.float64)
        fit = at.ndim == 1 and at.size and at.shape == becomes.shape and np.isfinite([at, becomes]).all()
        if not fit or (np.diff(at) <= 0).any() or (np.diff(becomes) < 0).any():
            raise ValueError(f"knots must be increasing probabilities, got {x!r}, {y!r}")
        if not ((becomes > 0) & (becomes < 1)).all():
            raise ValueError(f"knots must be increasing probabilities above 0 and below 1, got {y!r}")
        result.append((tuple(at.tolist()), tuple(becomes.tolist())))
    return tuple(result)


def center_on_base_rate(loss: Loss, margins: NDArray[Any], y: NDArray[np.intp], weights: ArrayLike | None) -> Float64s:
    """The constant by which to move all margins, so that the mean posterior is the (weighted) share of each class.

    At the minimum of the loss the posterior's errors sum to zero with the weights A + B. With alpha these weights
    differ much between rows. A model that does not fit every row then misses the classes' shares.

    Parameters
    ----------
    margins : ndarray of shape (n,) or (n, K)
    y : ndarray of shape (n,)
        Classes from 0.
    weights : array_like of shape (n,) or None

    Returns
    -------
    ndarray of shape (1,), or (K,) with mean 0
        Zero if there is no such constant, as for infinite margins.
    """
    from scipy.optimize import root

    posterior = Posterior(loss)
    several = margins.ndim > 1
    by_row = np.ones(y.size) if weights is None else np.asarray(weights, np.float64)
    share = np.bincount(y, by_row, posterior.n_classes) / by_row.sum()

    def moved(free: Float64s) -> Float64s:
        return np.append(free, -free.sum()) if several else free

    def error(free: Float64s, every: int = 1) -> Float64s:
        """The error of the log odds of the mean posterior, over one in `every` rows."""
        shift, rows, of_rows = moved(free), margins[::every], by_row[::every]
        total = np.zeros(posterior.n_classes)
        for part in blocks(rows):
            total += of_rows[part] @ posterior._proba(float64(rows[part]) + shift)
        return np.asarray(np.log(total[1:] / total[0]) - np.log(share[1:] / share[0]))

    def solved(every: int) -> Float64s | None:
        """The root for one in `every` rows, and from there that for all rows by Broyden's method, with few passes."""
        free = root(error, np.zeros(posterior.n_classes - 1), every, tol=1e-10).x
        steps = STEP * np.eye(free.size)
        slopes = np.transpose([error(free + step, every) - error(free - step, every) for step in steps]) / (2 * STEP)
        left = error(free)
        for _ in range(MAX_LOOKS):
            if np.abs(left).max() < 1e-10 or not (np.isfinite(left).all() and np.isfinite(slopes).all()):
                break
            step = np.linalg.lstsq(slopes, -left, rcond=None)[0]
            free, left = free + step, error(free + step)
            slopes += np.outer(left, step) / (step @ step)
        return free if np.abs(left).max() < 1e-6 else None

    some = max(1, y.size // SKETCH)
    with np.errstate(all="ignore"):
        found = solved(some)
        if found is None and some > 1:
            found = solved(1)
    return np.zeros(posterior.n_classes if several else 1) if found is None else moved(found)


def weights_classes_equally(loss: Loss) -> bool:
    """Whether no class weighs more than another, and none has a gamma of its own."""
    if isinstance(loss, SoftmaxFocalLoss):
        return loss.alpha is None or len(set(np.atleast_1d(loss.alpha).tolist())) == 1
    return loss.alpha in (None, 0.5) and not isinstance(loss.gamma, tuple)
