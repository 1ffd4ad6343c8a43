"""Decisions by what they cost: thresholds, the class of least expected cost, and what decisions save."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation

Float64s = NDArray[np.float64]

SUM = 1e-6  # by which the sum of a row's probabilities may differ from 1


def cost_threshold(
    false_positive: ArrayLike,
    false_negative: ArrayLike,
    *,
    true_positive: ArrayLike = 0.0,
    true_negative: ArrayLike = 0.0,
) -> Any:
    """The probability from which an alert costs less, on average, than no alert.

    An alert on a row of probability p costs ``p true_positive + (1 - p) false_positive``. To let the row
    pass costs ``p false_negative + (1 - p) true_negative`` (Elkan 2001, *The Foundations of
    Cost-Sensitive Learning*, eq. 2). The threshold needs true probabilities:
    ``loss.predict_proba(margin)``, not the sigmoid.

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
        If costs are not finite numbers or have other shapes, or if a wrong decision costs no more than the
        right one.

    Examples
    --------
    >>> cost_threshold(10, 190)
    0.05
    >>> cost_threshold(5, [45, 495])
    array([0.1 , 0.01])
    """
    arrays = _named(false_positive, false_negative, true_positive, true_negative)
    shapes = {array.shape for array in arrays.values() if array.ndim}
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
    # if costs differ by more than the range of floats, the ratio is 0 or 1, which are not thresholds
    threshold = np.clip(alert / (alert + miss), np.nextafter(0, 1), np.nextafter(1, 0))
    return threshold if shapes else float(threshold)


def cost_matrix(
    false_positive: ArrayLike,
    false_negative: ArrayLike,
    *,
    true_positive: ArrayLike = 0.0,
    true_negative: ArrayLike = 0.0,
) -> Float64s:
    """The cost matrix of two classes, as `decide` and `savings` take it.

    Parameters
    ----------
    false_positive : float or array_like of shape (n,)
        Cost of alerting a negative row.
    false_negative : float or array_like of shape (n,)
        Cost of missing a positive row: the row's amount, say, which may be 0.
    true_positive, true_negative : float or array_like of shape (n,), default 0
        Cost of a right alert, and of rightly passing; gains are negative.

    Returns
    -------
    ndarray of float64 of shape (2, 2), or (n, 2, 2) if a cost is by row
        ``[..., i, j]`` is the cost of deciding class j for a row of class i, as in scikit-learn's confusion matrix.

    Raises
    ------
    TypeError, ValueError
        For costs that are not finite numbers, or of other shapes.

    Examples
    --------
    >>> cost_matrix(8, [100, 0], true_positive=8).tolist()
    [[[0.0, 8.0], [100.0, 8.0]], [[0.0, 8.0], [0.0, 8.0]]]
    """
    named = _named(false_positive, false_negative, true_positive, true_negative)
    entries = ("true_negative", "false_positive", "false_negative", "true_positive")
    by_row = np.broadcast_arrays(*(named[name] for name in entries))
    return np.stack(by_row, axis=-1).reshape(*by_row[0].shape, 2, 2)


def decide(probability: ArrayLike, costs: ArrayLike) -> NDArray[np.intp]:
    """The class of least expected cost for each row.

    Deciding class j costs ``sum_i probability_i costs[i, j]`` on average (Elkan 2001, *The Foundations of
    Cost-Sensitive Learning*, eq. 1). It needs true probabilities: ``model.predict_proba(X)`` of the classifiers here,
    or ``loss.predict_proba(margin)``.

    Parameters
    ----------
    probability : array_like of shape (n,) or (n, K)
        The probability of the positive class, or one for each class.
    costs : array_like of shape (K, K) or (n, K, K)
        ``costs[i, j]`` is the cost of deciding class j for a row of class i; finite, gains are negative.
        With one matrix for each row, costs differ by row. `cost_matrix` makes it for two classes.

    Returns
    -------
    ndarray of intp of shape (n,)
        Positions of the classes; ``model.classes_[...]`` gives their labels. Between classes of equal cost the later
        one is chosen, as an alert is raised at `cost_threshold`.

    Raises
    ------
    TypeError, ValueError
        If probabilities are outside [0, 1], or a row of them does not sum to 1 to within 1e-6, or if costs are not
        finite numbers or have another shape.

    Examples
    --------
    A miss costs the amount, an alert 8:

    >>> decide([0.05, 0.05, 0.9], cost_matrix(8, [500, 100, 0], true_positive=8)).tolist()
    [1, 0, 0]

    Three classes, where missing the last is expensive:

    >>> decide([[0.7, 0.2, 0.1]], [[0, 1, 1], [1, 0, 1], [20, 20, 0]]).tolist()
    [2]
    """
    proba = _probabilities(probability)
    checked = _costs(costs, *proba.shape)
    # in units of the largest cost of a row, so that nothing overflows
    _, exponent = np.frexp(np.max(np.abs(checked), axis=(-2, -1), keepdims=True))
    scaled = np.ldexp(checked, -exponent)
    expected = proba @ scaled if scaled.ndim == 2 else np.einsum("ni,nij->nj", proba, scaled)
    last = expected.shape[1] - 1
    return np.asarray(last - np.argmin(expected[:, ::-1], axis=1), np.intp)


def mean_cost(y: ArrayLike, decision: ArrayLike, costs: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """The mean cost of decisions per row, in the unit of the costs.

    Parameters
    ----------
    y : array_like of shape (n,)
        True classes 0, ..., K - 1.
    decision : array_like of shape (n,)
        The decided classes: those of `decide`, or ``probability >= threshold`` for two classes.
    costs : array_like of shape (K, K) or (n, K, K)
        As `decide` takes them.
    sample_weight : array_like of shape (n,), optional
        Finite, not negative, not all zero.

    Raises
    ------
    TypeError, ValueError
        For values not accepted.

    Examples
    --------
    >>> mean_cost([0, 0, 1, 1], [0, 1, 1, 0], cost_matrix(8, 100))
    27.0
    """
    of_deciding, weights = _costs_of_deciding(y, costs, sample_weight)
    return float(np.average(_costs_of(decision, of_deciding), weights=weights))


def savings(y: ArrayLike, decision: ArrayLike, costs: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """The share of the best trivial policy's cost that decisions save.

    A trivial policy decides the same class for every row. 1 means no cost at all, 0 no better than the best trivial
    policy, below 0 worse (Bahnsen et al. 2014, *Example-Dependent Cost-Sensitive Logistic Regression for Credit
    Scoring*).

    Parameters
    ----------
    y, decision, costs, sample_weight
        As `mean_cost` takes them. ``make_scorer(savings, costs=costs)`` is a scorer of scikit-learn for classes 0 to
        K - 1.

    Raises
    ------
    TypeError, ValueError
        For values not accepted, and if the best trivial policy costs nothing or gains: there is nothing to save.

    Examples
    --------
    >>> savings([0, 0, 1, 1], [0, 1, 1, 0], cost_matrix(8, 100))
    -5.75
    >>> savings([0, 0, 1, 1], [0, 1, 1, 1], cost_matrix(8, 100))
    0.5
    """
    of_deciding, weights = _costs_of_deciding(y, costs, sample_weight)
    return _saved(_costs_of(decision, of_deciding), of_deciding, weights)


def expected_savings(
    y: ArrayLike, probability: ArrayLike, costs: ArrayLike, sample_weight: ArrayLike | None = None
) -> float:
    """The savings of a policy that decides each class as often as its probability says.

    It changes smoothly with the probabilities, where `savings` changes in steps (Höppner et al. 2022,
    *Instance-Dependent Cost-Sensitive Learning for Detecting Transfer Fraud*).

    Parameters
    ----------
    y : array_like of shape (n,)
        True classes 0, ..., K - 1.
    probability : array_like of shape (n,) or (n, K)
        The probability of the positive class, or one for each class.
    costs, sample_weight
        As `mean_cost` takes them.

    Raises
    ------
    TypeError, ValueError
        As `savings` and `decide` do.

    Examples
    --------
    >>> expected_savings([0, 0, 1, 1], [0.0, 0.5, 1.0, 1.0], cost_matrix(8, 100))
    0.75
    """
    proba = _probabilities(probability)
    of_deciding, weights = _costs_of_deciding(y, costs, sample_weight)
    if proba.shape != of_deciding.shape:
        raise ValueError(f"probability must have shape {of_deciding.shape} as costs have, got {proba.shape}")
    return _saved(np.einsum("nj,nj->n", proba, of_deciding), of_deciding, weights)


# --- what is accepted ------------------------------------------------------------------------------


def _named(
    false_positive: ArrayLike, false_negative: ArrayLike, true_positive: ArrayLike, true_negative: ArrayLike
) -> dict[str, Float64s]:
    given = {
        "false_positive": false_positive, "false_negative": false_negative,
        "true_positive": true_positive, "true_negative": true_negative,
    }  # fmt: skip
    arrays = {name: _cost(name, value) for name, value in given.items()}
    shapes = {array.shape for array in arrays.values() if array.ndim}
    if len(shapes) > 1:
        raise ValueError(f"costs by row must have one shape (n,), got {sorted(shapes)}")
    return arrays


def _cost(name: str, value: ArrayLike) -> NDArray[np.float64]:
    result = validation.array(name, value).astype(np.float64)
    if result.ndim > 1 or not np.isfinite(result).all():
        raise ValueError(f"{name} must be a finite number, or one for each row, got {value!r}")
    return result


def _costs(costs: ArrayLike, n_rows: int, n_classes: int) -> Float64s:
    result = validation.array("costs", costs).astype(np.float64)
    accepted = ((n_classes, n_classes), (n_rows, n_classes, n_classes))
    if result.shape not in accepted:
        raise ValueError(f"costs must have shape {accepted[0]} or {accepted[1]}, got shape {result.shape}")
    if not np.isfinite(result).all():
        raise ValueError(f"costs must be finite numbers, got {result[~np.isfinite(result)][0]}")
    return result


def _probabilities(probability: ArrayLike) -> Float64s:
    """The probabilities of every class, of shape (n, K)."""
    given = validation.probabilities("probability", probability).astype(np.float64, copy=False)
    if given.ndim not in (1, 2):
        raise ValueError(f"probability must have shape (n,) or (n, K), got shape {given.shape}")
    proba = np.stack([1 - given, given], axis=1) if given.ndim == 1 else given
    sums = proba.sum(axis=1)
    if not (np.abs(sums - 1) <= SUM).all():
        worst = sums[int(np.argmax(np.abs(sums - 1)))]
        raise ValueError(f"probability must sum to 1 over the classes, got a row that sums to {worst:g}")
    return proba


def _costs_of_deciding(
    y: ArrayLike, costs: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Float64s, NDArray[Any] | None]:
    """The cost of each decision for each row, of shape (n, K), and the rows' weights."""
    labels = validation.column("y", y)
    weights = validation.sample_weight(sample_weight, labels)
    validation.check_values(sample_weight=weights)
    if weights is not None:
        validation.positive(weights.sum(), "sample_weight")
    n_classes = validation.array("costs", costs).shape[-1:]
    checked = _costs(costs, labels.size, *n_classes or (2,))
    validation.check_classes(labels, checked.shape[-1])
    own = labels.astype(np.intp)
    return checked[own] if checked.ndim == 2 else checked[np.arange(own.size), own], weights


def _costs_of(decision: ArrayLike, of_deciding: Float64s) -> Float64s:
    """The cost of the decision for each row."""
    n, n_classes = of_deciding.shape
    decided = validation.array("decision", decision)
    if decided.shape != (n,):
        raise ValueError(f"decision must have shape ({n},) as y has, got shape {decided.shape}")
    if not np.isin(decided, np.arange(n_classes)).all():
        wrong = decided[~np.isin(decided, np.arange(n_classes))][0]
        raise ValueError(f"decision must be classes, whole numbers from 0 to {n_classes - 1}, got {wrong}")
    return of_deciding[np.arange(n), decided.astype(np.intp)]


def _saved(spent: Float64s, of_deciding: Float64s, weights: NDArray[Any] | None) -> float:
    trivial = float(np.min(np.average(of_deciding, axis=0, weights=weights)))
    if not trivial > 0:
        raise ValueError(f"costs must make the best trivial policy cost something, got {trivial:g} a row")
    return 1 - float(np.average(spent, weights=weights)) / trivial
