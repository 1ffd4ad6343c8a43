"""Fitting the reading of margins: to new labels, or so that the mean probability of training is the base rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .base import Float64s, blocks, float64
from .posterior import MAX_LINK_GAMMA, Knots, Loss, Posterior
from .softmax import SoftmaxFocalLoss

Method = Literal["sigmoid", "focal", "isotonic"]
METHODS = get_args(Method)
SKETCH = 20_000  # rows that give the root over all rows but for its last digits
STEP, MAX_LOOKS = 1e-4, 20
SEPARATED = 1e-6  # a log loss below it tends to zero: the classes do not overlap, and no slope is the best


def recalibrated(
    posterior: Posterior,
    y: ArrayLike,
    margin: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    slope: bool = True,
    method: Method = "sigmoid",
) -> Posterior:
    """The posterior of greatest likelihood on labels that the model was not trained on.

    Parameters
    ----------
    posterior : Posterior
        How the margins are read now.
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

    Examples
    --------
    >>> from boostfocal import FocalLoss
    >>> from boostfocal.posterior import Posterior
    >>> y, margin = [0, 0, 1, 0, 1, 1], [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]
    >>> found = recalibrated(Posterior(FocalLoss(2.0)), y, margin, slope=False)
    >>> round(float(found.predict_proba(margin)[:, 1].mean()), 6)
    0.5
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "isotonic" and not slope:
        raise ValueError("slope must be True with method='isotonic', which has none to leave out, got False")
    rows = _labelled(posterior, y, margin, sample_weight)
    if method == "isotonic":
        return _isotonic(posterior, rows)
    if method == "sigmoid":
        return _scaled(posterior, rows, slope)[0]
    from scipy.optimize import minimize_scalar

    def fitted(gamma: float) -> tuple[Posterior, float]:
        return _scaled(replace(posterior, link_gamma=float(gamma)), rows, slope)

    bounds = (0.0, MAX_LINK_GAMMA)
    best = minimize_scalar(lambda gamma: fitted(gamma)[1], bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return fitted(best.x)[0]


class _Labelled(NamedTuple):
    """Margins, classes from 0, and weights that are 1 on average; each class has a row."""

    margins: Float64s
    classes: NDArray[np.intp]
    weights: Float64s


def _labelled(posterior: Posterior, y: ArrayLike, margin: ArrayLike, sample_weight: ArrayLike | None) -> _Labelled:
    margins = posterior._checked(margin)
    labels = validation.column("y", y, margins.shape[0])
    validation.check_classes(labels, posterior.n_classes)
    weights = validation.sample_weight(sample_weight, labels)
    validation.check_values(sample_weight=weights)
    own = labels.astype(np.intp)
    by_row = np.ones(own.size) if weights is None else float64(weights)
    by_row = by_row / validation.positive(by_row.sum(), "sample_weight") * own.size
    counts = np.bincount(own, by_row, posterior.n_classes)
    if not counts.all():
        raise ValueError(f"y must have rows of every class to recalibrate, got none of {np.argmin(counts)}")
    return _Labelled(float64(margins), own, by_row)


def _isotonic(posterior: Posterior, rows: _Labelled) -> Posterior:
    from sklearn.isotonic import IsotonicRegression

    plain = replace(posterior, knots=())
    proba = plain.predict_proba(rows.margins)
    least = 1 / (rows.weights.sum() + 2)  # no probability of 0 or 1 follows from so many rows
    knots: list[Knots] = []
    for k in range(1, 2) if posterior.n_classes == 2 else range(posterior.n_classes):
        found = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        found.fit(proba[:, k], rows.classes == k, sample_weight=rows.weights)
        knots.append((tuple(found.X_thresholds_.tolist()), tuple(found.y_thresholds_.tolist())))
    return replace(plain, knots=tuple(knots))


def _scaled(posterior: Posterior, rows: _Labelled, slope: bool) -> tuple[Posterior, float]:
    """Slope and bias of greatest likelihood, without knots, and the log loss that they leave."""
    from scipy.optimize import minimize

    margins, own, by_row = rows
    log_odds = posterior._scores(margins)
    log_proba = np.stack([np.zeros(own.size), log_odds], axis=1) if posterior.n_classes == 2 else log_odds
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

    first = np.append([1.0] if slope else [], np.zeros(posterior.n_classes - 1))
    found = minimize(loss_and_gradient, first, jac=True, method="BFGS", options={"gtol": 1e-9})
    best, separated = found.x, found.fun < SEPARATED
    fitted = float(best[0]) if slope else 1.0
    if separated or fitted <= 0:
        reason = "separates the classes without error" if separated else "ranks these rows worse than chance"
        raise ValueError(f"y must be classes that overlap in score, but the score {reason}; slope=False fits no slope")
    shift = np.append(0.0, best[1 if slope else 0 :])
    bias = tuple((fitted * np.array(posterior.bias) + shift).tolist())
    return replace(posterior, slope=posterior.slope * fitted, bias=bias, knots=()), float(found.fun)


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
