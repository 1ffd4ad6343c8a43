"""From true probabilities to alerts: the threshold of least expected cost, and the best of each day."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation


def cost_threshold(
    false_positive: ArrayLike,
    false_negative: ArrayLike,
    *,
    true_positive: ArrayLike = 0.0,
    true_negative: ArrayLike = 0.0,
) -> Any:
    """The probability from which an alert costs less, on average, than none.

    A row of probability p that is alerted costs ``p true_positive + (1 - p) false_positive``, and one
    that passes ``p false_negative + (1 - p) true_negative`` (Elkan 2001, *The Foundations of
    Cost-Sensitive Learning*, eq. 2). It needs true probabilities: ``loss.predict_proba(margin)``, not the
    sigmoid.

    Parameters
    ----------
    false_positive : float or array_like of shape (n,)
        Cost of alerting a negative row: the investigation, the annoyed customer.
    false_negative : float or array_like of shape (n,)
        Cost of missing a positive row: the row's amount, say.
    true_positive, true_negative : float or array_like of shape (n,), default 0
        Cost of a right alert, and of rightly passing; gains are negative.

    Returns
    -------
    float, or ndarray of float64 of shape (n,) if a cost is by row
        In (0, 1): alert where ``probability >= threshold``.

    Raises
    ------
    TypeError, ValueError
        For costs that are not finite numbers or of other shapes, and where a wrong decision costs no more
        than the right one.

    Examples
    --------
    >>> cost_threshold(10, 190)
    0.05
    >>> cost_threshold(5, [45, 495])
    array([0.1 , 0.01])
    """
    costs = {
        "false_positive": false_positive, "false_negative": false_negative,
        "true_positive": true_positive, "true_negative": true_negative,
    }  # fmt: skip
    arrays = {name: _cost(name, value) for name, value in costs.items()}
    shapes = {array.shape for array in arrays.values() if array.ndim}
    if len(shapes) > 1:
        raise ValueError(f"costs by row must have one shape (n,), got {sorted(shapes)}")
    for wrong, right in (("false_positive", "true_negative"), ("false_negative", "true_positive")):
        dearer = np.atleast_1d(arrays[wrong] > arrays[right])
        if not dearer.all():
            row = int(np.argmin(dearer))
            values = [np.broadcast_to(arrays[name], dearer.shape)[row] for name in (wrong, right)]
            raise ValueError(f"{wrong} must cost more than {right}, got {values[0]:g} and {values[1]:g} at index {row}")
    # in units of the largest cost of a row, so that nothing overflows
    shape = next(iter(shapes), ())
    _, exponent = np.frexp(np.max([np.broadcast_to(np.abs(array), shape) for array in arrays.values()], axis=0))
    scaled = {name: np.ldexp(array, -exponent) for name, array in arrays.items()}
    alert = scaled["false_positive"] - scaled["true_negative"]
    miss = scaled["false_negative"] - scaled["true_positive"]
    # costs that differ by more than the range of floats leave the ends, which are not in it
    threshold = np.clip(alert / (alert + miss), np.nextafter(0, 1), np.nextafter(1, 0))
    return threshold if shapes else float(threshold)


def daily_alerts(score: ArrayLike, day: ArrayLike, budget: int, *, card: ArrayLike | None = None) -> NDArray[np.bool_]:
    """The rows to alert when only so many can be investigated a day.

    Parameters
    ----------
    score : array_like of shape (n,)
        Probabilities, or expected losses such as ``probability * amount``: the highest come first, and of
        equal scores the earlier rows.
    day : array_like of shape (n,)
        The day of each row: whole numbers, dates (a time of day is cut off) or text without a time of day.
        None may be missing.
    budget : int
        Rows a day; with `card`, cards a day.
    card : array_like of shape (n,), optional
        The card (or customer) of each row, none missing. A card has its highest score of the day, and all its
        rows of the day are alerted with it, as in `CardPrecision`; there cards that are found are then left out, here
        none are, since what an investigation finds is not known.

    Returns
    -------
    ndarray of bool of shape (n,)

    Raises
    ------
    TypeError, ValueError
        For scores that are not numbers, a budget below 1, shapes that differ, days and cards that are missing,
        and days that have a fraction or, as text, a time of day.

    Examples
    --------
    >>> from boostfocal import daily_alerts
    >>> daily_alerts([0.9, 0.4, 0.1, 0.8], day=[1, 1, 2, 2], budget=1)
    array([ True, False, False,  True])
    """
    scores = validation.column("score", score).astype(np.float64, copy=False)
    validation.check_not_nan("score", scores)
    budget = validation.count("budget", budget)
    days = validation.days("day", day, scores.size)
    entities: NDArray[np.intp] = np.arange(scores.size) if card is None else validation.codes("card", card, scores.size)
    n_entities, n_days = int(np.max(entities)) + 1, int(np.max(days)) + 1
    order = np.lexsort((-scores, days))  # by day, then by score; stable, so that earlier rows come first
    # the best row of each card and day, in that order
    keys = days[order] * n_entities + entities[order]
    _, first = np.unique(keys, return_index=True)
    first.sort()
    begin = np.searchsorted(days[order][first], np.arange(n_days))
    rank = np.arange(first.size) - begin[days[order][first]]
    chosen = keys[first[rank < budget]]
    return np.isin(days * n_entities + entities, chosen)


def _cost(name: str, value: ArrayLike) -> NDArray[np.float64]:
    result = validation.array(name, value).astype(np.float64)
    if result.ndim > 1 or not np.isfinite(result).all():
        raise ValueError(f"{name} must be a finite number, or one for each row, got {value!r}")
    return result
