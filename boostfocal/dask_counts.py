"""Counts over labels in the partitions of a Dask collection, on whichever workers hold them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def summed(count: Callable[[Any, Any], NDArray[np.float64]], y: Any, sample_weight: Any) -> NDArray[np.float64]:
    """The sum over partitions of ``count(y, sample_weight)``; counts may differ in length, the shorter get zeros.

    Parameters
    ----------
    count : callable
        It is called where the rows are, with one partition of each array, which is never empty.
    y, sample_weight : arrays, or Dask arrays or Series of equal partitions
        `sample_weight` may be None.

    Raises
    ------
    ValueError
        If the partitions differ in number, or hold no row at all.
    """
    if not _is_dask(y):
        return count(y, np.asarray(sample_weight) if _is_dask(sample_weight) else sample_weight)
    import dask

    labels = _parts(y)
    weights = [None] * len(labels) if sample_weight is None else _parts(sample_weight)
    if len(labels) != len(weights):
        raise ValueError(f"sample_weight must have the partitions of y, {len(labels)}, got {len(weights)}")
    task = dask.delayed(_count_part, pure=False)
    counts = [part for part in dask.compute(*map(task, [count] * len(labels), labels, weights)) if part is not None]
    if not counts:
        raise ValueError("y must have at least one row, got none in any partition")
    length = max(len(part) for part in counts)
    return np.sum([np.pad(part, [(0, length - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in counts], axis=0)


def _count_part(count: Callable[[Any, Any], NDArray[np.float64]], y: Any, sample_weight: Any) -> Any:
    return count(y, sample_weight) if len(y) or (sample_weight is not None and len(sample_weight)) else None


def _is_dask(array: Any) -> bool:
    return hasattr(array, "__dask_graph__") and hasattr(array, "to_delayed")


def _parts(collection: Any) -> list[Any]:
    """The partitions, whose rows are together."""
    if getattr(collection, "ndim", 1) > 1 and hasattr(collection, "rechunk"):
        collection = collection.rechunk({1: -1})
    elif not (_is_dask(collection) and hasattr(collection, "ndim")):
        raise TypeError(f"y and sample_weight must be Dask arrays or Series, got {type(collection).__name__}")
    return list(np.ravel(np.array(collection.to_delayed(), dtype=object)))
