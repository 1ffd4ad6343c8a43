"""From margins to class probabilities where a model is used, which need not be where it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .base import Float64s, in_blocks, proportional
from .focal import FocalLoss
from .kernels import formulas
from .softmax import SoftmaxFocalLoss

Loss = FocalLoss | SoftmaxFocalLoss

LOSSES = {loss.__name__: loss for loss in (FocalLoss, SoftmaxFocalLoss)}
Knots = tuple[tuple[float, ...], tuple[float, ...]]
MAX_LINK_GAMMA = 5.0  # the log odds of larger ones are nearly linear in the margin again, as those of gamma 0 are


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
