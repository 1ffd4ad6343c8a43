"""Labels of any kind, as the classifiers take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from .. import devices, validation


def as_labels(y: Any) -> NDArray[Any]:
    """Labels as an array of one kind.

    Raises
    ------
    ValueError
        If there are no labels, some are missing, the shape is another, or values of their kind cannot be ordered.
    """
    y = devices.to_host("y", y)
    if isinstance(y, (list, tuple)) and 0 < sum(isinstance(value, str) for value in y) < len(y):
        raise ValueError("y must be classes of one kind, numbers, bools or text, but it contains NaN, None or a mix")
    if np.ma.is_masked(y):
        validation.as_array("y", y)
    if all(hasattr(y, name) for name in ("isna", "tolist")):
        if y.isna().any():
            raise ValueError("y must be classes, but the input y contains NaN")
        y = np.asarray(y.tolist())  # pandas' own types of integers, bools, text and categories
    labels = column_or_1d(y, warn=True)
    if labels.size == 0:
        raise ValueError("y must have at least one row, got none")
    if labels.dtype == object and not all(isinstance(value, str) for value in labels):
        mixed = any(isinstance(value, str) for value in labels)
        labels = np.asarray(labels.tolist())
        if mixed or labels.dtype == object or labels.ndim != 1:
            raise ValueError(
                "y must be classes of one kind, numbers, bools or text, but it contains NaN, None or a mix"
            )
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError("y must be classes, but the input y contains NaN or infinity")
    return np.asarray(labels)


def encode(name: str, y: Any, classes: NDArray[Any]) -> NDArray[np.intp]:
    """Labels as numbers from 0; those that are not among the classes are refused.

    Raises
    ------
    ValueError
    """
    values = as_labels(y)
    try:
        codes = np.searchsorted(classes, values)
        known = classes[np.minimum(codes, classes.size - 1)] == values
    except TypeError:
        known = np.zeros(values.size, bool)
    if not np.all(known):
        strange = np.asarray(values)[np.argmin(known)].tolist() if len(values) else values
        raise ValueError(f"{name} must be labels of the classes {classes.tolist()}, got {strange!r}")
    return np.asarray(codes)


def check_rows(name: str, rows: Any, n: int) -> None:
    """Refuse rows that differ in number from the labels, and masked rows."""
    check_unmasked(name, rows)
    shape = getattr(rows, "shape", None)
    found = shape[0] if shape else len(rows) if hasattr(rows, "__len__") else n
    if found != n:
        raise ValueError(f"{name} must have a row for each label of y, {n}, got {found}")


def labelled(
    X: Any, y: Any, sample_weight: Any, classes: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Labels of labelled rows as numbers from 0, and their weights.

    Raises
    ------
    TypeError, ValueError
        For labels of no class, rows of another number, and weights that are negative or sum to zero.
    """
    codes = encode("y", y, classes)
    check_rows("X", X, codes.size)
    weights = validation.sample_weight(sample_weight, codes)
    if weights is None:
        return codes, None
    validation.check_values(sample_weight=weights)
    validation.positive(weights.sum(), "sample_weight")
    return codes, weights.astype(np.float64)


def check_unmasked(name: str, rows: Any) -> None:
    """Refuse masked values, which the engines take for plain ones."""
    if np.ma.is_masked(rows):
        validation.as_array(name, rows)
