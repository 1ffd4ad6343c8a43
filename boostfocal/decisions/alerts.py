"""Alerts under a limit: the best of each day, and the threshold that keeps a rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import intervals, validation


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


@dataclass(frozen=True)
class Threshold:
    """A threshold, and what alerting from it on does on the rows on which it was chosen.

    Attributes
    ----------
    value : float
        Alert where ``probability >= value``.
    precision, recall, false_positive_rate : float
        Weighted shares: of the alerts that are positive, of the positives that are alerted, of the negatives that are.
    alerts : float
        Alerted rows; with `day`, a day; with weights, their weight.
    rows : int
        The rows that the limited rate was measured on: alerts for precision and their number, positives for recall,
        negatives for the false-positive rate.
    interval : (float, float)
        In which the limited rate is at the given confidence.

    Examples
    --------
    >>> found = constrained_threshold([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.9], recall=0.6)
    >>> found.value, found.rows
    (0.6, 3)
    """

    value: float
    precision: float
    recall: float
    false_positive_rate: float
    alerts: float
    rows: int
    interval: tuple[float, float]


def constrained_threshold(
    y: ArrayLike,
    probability: ArrayLike,
    *,
    precision: float | None = None,
    recall: float | None = None,
    false_positive_rate: float | None = None,
    alerts: float | None = None,
    day: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Threshold:
    """The threshold that finds most within a limit, on rows that the model was not trained on.

    Give one limit. Under a least precision, or at most so large a false-positive rate or number of alerts, it is the
    threshold of largest recall; under a least recall the one of fewest alerts. Future rows are not these rows: the
    interval says within what the rate will be if they are alike, with the threshold taken as given.

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels 0 or 1, of both some.
    probability : array_like of shape (n,)
        Probabilities, or any score that grows with them.
    precision, recall : float in (0, 1], optional
        The least share of alerts that are positive, or of positives that are alerted.
    false_positive_rate : float in [0, 1), optional
        The largest share of negatives that are alerted.
    alerts : float, optional
        The largest number of alerts; with `day` a day, on average.
    day : array_like of shape (n,), optional
        The day of each row, as `daily_alerts` takes it. A day without a row is no day.
    sample_weight : array_like of shape (n,), optional
        Finite, not negative. An alert counts as its weight.
    confidence : float in (0, 1), default 0.95
        Of the interval.

    Returns
    -------
    Threshold
        Its interval is Wilson's for a share (Wilson 1927) and Garwood's for a number of alerts (Garwood 1936), with
        Kish's effective number of rows under weights (Kish 1965).

    Raises
    ------
    TypeError, ValueError
        For values not accepted, without a limit or with several, and where no threshold keeps the limit.

    Examples
    --------
    >>> y, p = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.9]
    >>> constrained_threshold(y, p, precision=0.9).value
    0.6
    >>> found = constrained_threshold(y, p, recall=1.0)
    >>> found.value, found.precision, found.alerts
    (0.3, 0.75, 4.0)
    """
    limits = {"precision": precision, "recall": recall, "false_positive_rate": false_positive_rate, "alerts": alerts}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if len(given) != 1:
        raise ValueError(f"one of {', '.join(limits)} must be given, got {', '.join(given) or 'none'}")
    if day is not None and alerts is None:
        raise ValueError("day must be left out unless alerts is the limit, got both day and another limit")
    [(name, value)] = given.items()
    limit = validation.number(name, value, ACCEPTED[name])
    confidence = validation.number("confidence", confidence, validation.Interval(0, 1, "()"))
    labels = validation.column("y", y)
    scores = validation.like("probability", probability, labels, "y").astype(np.float64, copy=False)
    weights = validation.sample_weight(sample_weight, labels)
    validation.check_values(labels, scores, weights)
    positive = validation.binary(labels, weights, "a threshold")
    by_row = np.ones(labels.size) if weights is None else weights.astype(np.float64)
    validation.check_both(positive, weights, "a threshold")
    days = 1 if day is None else int(np.max(validation.days("day", day, labels.size))) + 1

    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last row of each score
    found = np.cumsum(np.where(positive, by_row, 0.0)[order])[last]
    false = np.cumsum(np.where(positive, 0.0, by_row)[order])[last]
    with np.errstate(invalid="ignore"):  # scores of which no row weighs anything
        rates = {
            "precision": found / (found + false), "recall": found / found[-1],
            "false_positive_rate": false / false[-1], "alerts": (found + false) / days,
        }  # fmt: skip
    at_least = name in ("precision", "recall")
    kept = np.flatnonzero(rates[name] >= limit if at_least else rates[name] <= limit)
    if not kept.size:
        best = np.nanmax(rates[name]) if at_least else np.nanmin(rates[name])
        raise ValueError(f"{name} must be one that a threshold keeps, got {limit:g}: the nearest is {best:.6g}")
    i = kept[0] if name == "recall" else kept[-1]
    alerted = scores >= scores[order][last[i]]
    measured = {"precision": alerted, "recall": positive, "false_positive_rate": ~positive, "alerts": alerted}[name]
    measured = measured & (by_row > 0)
    interval = intervals.of_count if name == "alerts" else intervals.of_share
    return Threshold(
        value=float(scores[order][last[i]]),
        precision=float(rates["precision"][i]),
        recall=float(rates["recall"][i]),
        false_positive_rate=float(rates["false_positive_rate"][i]),
        alerts=float(rates["alerts"][i]),
        rows=int(measured.sum()),
        interval=interval(float(rates[name][i]), intervals.effective_rows(by_row[measured]), confidence),
    )


ACCEPTED = {
    "precision": validation.Interval(0, 1, "(]"),
    "recall": validation.Interval(0, 1, "(]"),
    "false_positive_rate": validation.Interval(0, 1, "[)"),
    "alerts": validation.Interval(0, np.inf, "()"),
}
