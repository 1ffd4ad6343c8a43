"""What the public functions accept. Every error names the argument, the value seen, what is accepted."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def number(name: str, value: Any, accepted: str, low: float, high: float, closed: str = "") -> float:
    """`value` as a float between `low` and `high`; `closed` lists the ends that belong: "[", "]" or both."""
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be {accepted}, got {value!r}")
    try:
        result = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be {accepted}, got a number too large for a float") from error
    above = result >= low if "[" in closed else result > low
    below = result <= high if "]" in closed else result < high
    if not (above and below):
        raise ValueError(f"{name} must be {accepted}, got {value!r}")
    return result


def count(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def array(name: str, values: ArrayLike) -> NDArray[Any]:
    """`values` as a numeric array, not copied where it is one; never empty."""
    result = np.asarray(values)
    if result.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, got {_shown(values)} of dtype {result.dtype}")
    if result.size == 0:
        raise ValueError(f"{name} must have at least one row, got shape {result.shape}")
    return result


def column(name: str, values: ArrayLike, like: NDArray[Any] | None = None, like_name: str = "") -> NDArray[Any]:
    """`values` as a 1-d numeric array, of the length of `like` if that is given."""
    result = array(name, values)
    if result.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got shape {result.shape}")
    if like is not None and result.shape != like.shape:
        raise ValueError(f"{name} must have shape {like.shape} as {like_name} has, got shape {result.shape}")
    return result


def check_values(
    labels: NDArray[Any] | None = None, margins: NDArray[Any] | None = None, weights: NDArray[Any] | None = None
) -> None:
    """Refuse labels outside [0, 1], NaN margins, and weights that are negative or not finite."""
    if labels is not None:
        _refuse("y", labels, ~((labels >= 0) & (labels <= 1)), "in [0, 1]")
    if margins is not None:
        _refuse("margin", margins, np.isnan(margins), "numbers, not NaN")
    if weights is not None:
        largest = np.finfo(np.float32).max
        _refuse("sample_weight", weights, ~((weights >= 0) & (weights <= largest)), f"in [0, {largest:.1e}]")


def probabilities(name: str, values: ArrayLike) -> NDArray[Any]:
    result = array(name, values)
    _refuse(name, result, ~((result >= 0) & (result <= 1)), "in [0, 1]")
    return result


def binary(labels: NDArray[Any], weights: NDArray[Any] | None, purpose: str) -> NDArray[np.bool_]:
    """Labels of a metric that counts rows: 0 or 1, and some 1 that weighs something."""
    _refuse("y", labels, ~((labels == 0) | (labels == 1)), f"0 or 1 for {purpose}")
    positive = labels == 1
    if not positive.any():
        raise ValueError(f"y must have a positive row for {purpose}, got {labels.size} rows, all 0")
    if weights is not None and not weights[positive].any():
        raise ValueError(f"sample_weight must be above 0 for a positive row for {purpose}, got 0 for all of them")
    return np.asarray(positive)


def _refuse(name: str, values: NDArray[Any], bad: NDArray[np.bool_], accepted: str) -> None:
    if bad.any():
        where = np.argwhere(bad)[0]
        index = ", ".join(map(str, where))
        place = f" at index {index}" if values.ndim else ""
        raise ValueError(f"{name} must be {accepted}, got {values[tuple(where)]}{place} ({bad.sum()} such values)")


def _shown(values: Any) -> str:
    text = repr(values)
    return text if len(text) <= 60 else text[:57] + "..."
