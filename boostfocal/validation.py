"""What the public functions accept. Every error names the argument, the value seen, and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import devices


@dataclass(frozen=True)
class Interval:
    """The numbers that a parameter takes; `closed` has "[" and "]" if the ends belong, `whole` leaves out fractions."""

    low: float
    high: float = np.inf
    closed: str = "[]"
    whole: bool = False

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if "[" in self.closed else value > self.low
        below = value <= self.high if "]" in self.closed else value < self.high
        return above and below

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.high == np.inf:
            return f"{kind} of at least {self.low:g}" + ", or inf" * (not self.whole)
        brackets = "[" if "[" in self.closed else "(", "]" if "]" in self.closed else ")"
        return f"{kind} in {brackets[0]}{self.low:g}, {self.high:g}{brackets[1]}"


def number(name: str, value: Any, interval: Interval, accepted: str = "") -> float:
    """`value` as a float in an interval. `accepted` replaces the interval in errors where more is accepted."""
    accepted = accepted or str(interval)
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be {accepted}, got {value!r}")
    try:
        result = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be {accepted}, got a number too large for a float") from error
    if result not in interval:
        raise ValueError(f"{name} must be {accepted}, got {value!r}")
    return result


def count(name: str, value: Any, at_least: int = 1) -> int:
    interval = Interval(at_least, whole=True)
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or int(value) not in interval:
        raise ValueError(f"{name} must be {interval}, got {value!r}")
    return int(value)


def array(name: str, values: ArrayLike, device: bool = False) -> NDArray[Any]:
    """`values` as a numeric array, not copied where it is one; never empty.

    With `device`, an array on a CUDA device stays there, as an array of Numba; else it is copied to the host.
    """
    result: Any
    if type(values) is np.ndarray:  # not masked
        result = values
    elif devices.on_device(values):
        result = devices.as_device(name, values) if device else devices.to_host(name, values)
    else:
        result = as_array(name, values)
    if result.dtype.kind not in "biuf" or result.dtype.itemsize > 8:
        raise TypeError(f"{name} must be numbers of 64 bits at most, got {_shown(values)} of dtype {result.dtype}")
    if result.size == 0:
        raise ValueError(f"{name} must have at least one row, got shape {result.shape}")
    return result  # type: ignore[no-any-return]


def as_array(name: str, values: Any) -> NDArray[Any]:
    """`values` as an array of any kind: not masked, and not of lists that differ in length."""
    if np.ma.is_masked(values):
        masked = int(np.ma.count_masked(values))
        raise ValueError(f"{name} must not be masked, got {masked} masked values: fill them, or leave out their rows")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, got {_shown(values)}: {error}") from error


def column(name: str, values: ArrayLike, n_rows: int | None = None, device: bool = False) -> NDArray[Any]:
    """`values` as a 1-d numeric array, of `n_rows` if that is given."""
    result = array(name, values, device)
    if result.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got shape {result.shape}")
    if n_rows is not None and result.size != n_rows:
        raise ValueError(f"{name} must have shape ({n_rows},) as y has rows, got shape {result.shape}")
    return result


def labels(name: str, values: ArrayLike, device: bool = False) -> NDArray[Any]:
    """`values` as a numeric array of shape (n,), or (n, L) for multilabel rows."""
    result = array(name, values, device)
    if result.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (n,) or (n, L), got shape {result.shape}")
    return result


def like(name: str, values: ArrayLike, other: NDArray[Any], other_name: str, device: bool = False) -> NDArray[Any]:
    """`values` as a numeric array of the shape of `other`."""
    result = array(name, values, device)
    if result.shape != other.shape:
        raise ValueError(f"{name} must have shape {other.shape} as {other_name} has, got shape {result.shape}")
    return result


def sample_weight(values: ArrayLike | None, labels: NDArray[Any], device: bool = False) -> NDArray[Any] | None:
    """Sample weights as a numeric array, one for each row of the labels."""
    return None if values is None else column("sample_weight", values, labels.shape[0], device)


def sampling_rates(values: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """The share of each class's rows that are in the sample, up to a factor; one number is the first class's."""
    accepted = f"{n_classes} positive numbers, one for each class" + ", or that of the first" * (n_classes == 2)
    given = array("sampling_rates", values)
    rates = np.append(given, 1.0) if n_classes == 2 and given.ndim == 0 else given.astype(np.float64)
    if rates.shape != (n_classes,) or not (np.isfinite(rates) & (rates > 0)).all():
        raise ValueError(f"sampling_rates must be {accepted}, got {values!r}")
    return rates


def positive(total: Any, name: str) -> Any:
    """The sum of what is called `name`, which must be above zero."""
    if not np.all(total > 0):
        raise ValueError(f"{name} must not sum to zero, got a sum of {np.min(total)}")
    return total


def codes(name: str, values: ArrayLike, n_rows: int | None = None) -> NDArray[np.intp]:
    """Values of any one kind that can be ordered, none missing, as numbers from 0 in their order."""
    result = as_array(name, values)
    if result.ndim != 1 or result.size != (n_rows or result.size) or result.size == 0:
        raise ValueError(f"{name} must have shape ({n_rows or 'n'},), one for each row, got shape {result.shape}")
    missing = _missing(result)
    if missing.any():
        first = int(np.argmax(missing))
        raise ValueError(f"{name} must not be missing, got {int(missing.sum())} missing, the first at index {first}")
    try:
        return np.unique(result, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(f"{name} must be values of one kind that can be ordered, got {error}") from error


def days(name: str, values: ArrayLike, n_rows: int | None = None) -> NDArray[np.intp]:
    """Days as numbers from 0 in their order; the time of day is cut off dates, and refused in numbers and text."""
    result = as_array(name, values)
    if result.dtype.kind == "M":
        result = result.astype("datetime64[D]")
    elif result.dtype.kind == "O":
        result = np.array([v.date() if isinstance(v, datetime) and v == v else v for v in result.flat], object)
    elif result.dtype.kind == "f" and (result % 1 > 0).any():
        first = result[result % 1 > 0][0]
        raise ValueError(f"{name} must be whole numbers, one for each day, or dates, got {first:g}")
    timed = next((v for v in result.flat if isinstance(v, str) and TIME_OF_DAY.search(v)), None)
    if timed is not None:
        raise ValueError(f"{name} must be days without a time of day, got {timed!r}")
    return codes(name, result, n_rows)


TIME_OF_DAY = re.compile(r"\d[T ]\d\d?:?\d\d")


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind != "O":
        return np.asarray(values != values)  # NaN and NaT

    def missing(value: Any) -> bool:
        try:
            return value is None or bool(value != value)
        except TypeError:  # what pandas.NA answers
            return True

    return np.fromiter(map(missing, values), bool, values.size)


def check_values(
    labels: NDArray[Any] | None = None,
    margins: NDArray[Any] | None = None,
    sample_weight: NDArray[Any] | None = None,
) -> None:
    """Refuse labels outside [0, 1], NaN margins, and weights that are negative or not finite."""
    if labels is not None:
        _refuse("y", labels, ~((labels >= 0) & (labels <= 1)), "in [0, 1]")
    if margins is not None:
        check_not_nan("margin", margins)
    if sample_weight is not None:
        largest = np.finfo(np.float32).max
        bad = ~((sample_weight >= 0) & (sample_weight <= largest))
        _refuse("sample_weight", sample_weight, bad, f"in [0, {largest:.1e}]")


def check_not_nan(name: str, values: NDArray[Any]) -> None:
    _refuse(name, values, np.isnan(values), "numbers, not NaN")


def check_classes(labels: NDArray[Any], n_classes: int | None = None) -> None:
    """Refuse labels that are not whole numbers from 0, below `n_classes` if that is given."""
    with np.errstate(invalid="ignore"):
        whole = (labels >= 0) & (labels == np.floor(labels)) & (labels < (n_classes or 2**31))
    top = "" if n_classes is None else f" to {n_classes - 1}"
    _refuse("y", labels, ~whole, f"classes, whole numbers from 0{top}")


def probabilities(name: str, values: ArrayLike) -> NDArray[Any]:
    result = array(name, values)
    _refuse(name, result, ~((result >= 0) & (result <= 1)), "in [0, 1]")
    return result


def binary(labels: NDArray[Any], weights: NDArray[Any] | None, purpose: str) -> NDArray[np.bool_]:
    """Labels of a metric that counts rows: 0 or 1, and at least one 1 has a weight above 0."""
    _refuse("y", labels, ~((labels == 0) | (labels == 1)), f"0 or 1 for {purpose}")
    positive = labels == 1
    if not positive.any():
        raise ValueError(f"y must have a positive row for {purpose}, got {labels.size} rows, all 0")
    if weights is not None and not weights[positive].any():
        raise ValueError(f"sample_weight must be above 0 for a positive row for {purpose}, got 0 for all of them")
    return np.asarray(positive)


def check_both(positive: NDArray[np.bool_], weights: NDArray[Any] | None, purpose: str) -> None:
    """Refuse rows of which no negative one has a weight above 0, where negatives are counted."""
    negative = ~positive if weights is None else ~positive & (weights > 0)
    if not negative.any():
        raise ValueError(f"y must have a negative row of positive weight for {purpose}, got none")


def by_class(
    labels: NDArray[Any], weights: NDArray[Any] | None, shape: tuple[int, ...], purpose: str
) -> Callable[[int], NDArray[np.bool_]]:
    """The positive rows of each class, or label, for a metric that counts rows: one weighs more than 0."""
    if labels.shape[0] != shape[0] or (labels.ndim == 2 and labels.shape != shape):
        raise ValueError(f"y must have shape ({shape[0]},) or {shape} as margin has, got shape {labels.shape}")
    if labels.ndim == 1:
        check_classes(labels, shape[1])
    else:
        _refuse("y", labels, ~((labels == 0) | (labels == 1)), f"0 or 1 for {purpose}")
    counted = slice(None) if weights is None else weights > 0

    def positive(column: int) -> NDArray[np.bool_]:
        found = labels == column if labels.ndim == 1 else labels[:, column] == 1
        return found if found[counted].any() else np.zeros_like(found)

    if not any(positive(column).any() for column in range(shape[1])):
        raise ValueError(
            f"y must have a positive row for {purpose}, got {labels.shape[0]} rows without one of positive weight"
        )
    return positive


def _refuse(name: str, values: NDArray[Any], bad: NDArray[np.bool_], accepted: str) -> None:
    if bad.any():
        where = np.argwhere(bad)[0]
        index = ", ".join(map(str, where))
        place = f" at index {index}" if values.ndim else ""
        raise ValueError(f"{name} must be {accepted}, got {values[tuple(where)]}{place} ({bad.sum()} such values)")


def _shown(values: Any) -> str:
    text = repr(values)
    return text if len(text) <= 60 else text[:57] + "..."
