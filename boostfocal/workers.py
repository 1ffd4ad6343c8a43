"""XGBoost's workers, each of which has some of the rows: sums, rows and errors across them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import devices
from .batch import Batch


def is_distributed() -> bool:
    """Whether this process is one of several workers that XGBoost trains a model on."""
    collective = _collective()
    return collective is not None and collective.is_distributed() and collective.get_world_size() > 1


@contextmanager
def raise_on_all_workers() -> Iterator[None]:
    """If one of XGBoost's workers raises an error in the block, all of them do: none is left waiting for another.

    Each worker must enter the block as often as the others.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised
    if is_distributed():
        collective = _collective()
        rank = int(
            collective.allreduce(np.array([-1 if error is None else collective.get_rank()]), collective.Op.MAX)[0]
        )
        if rank >= 0:
            message = collective.broadcast(str(error), rank)
            error = error or ValueError(f"{message} (on worker {rank})")
    if error is not None:
        raise error


def allreduce_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over all workers, each of which must call this as often as the others."""
    collective = _collective()
    total = collective.allreduce(np.ascontiguousarray(values, np.float64), collective.Op.SUM)
    return np.reshape(total, np.shape(values))  # XGBoost below 3.4 makes it flat


def allgather(batch: Batch) -> Batch:
    """The rows of all workers, on each of them."""
    collective = _collective()
    world, rank = collective.get_world_size(), collective.get_rank()
    n = len(batch.labels)
    columns = [np.shape(array)[1] if np.ndim(array) > 1 else 0 for array in (batch.labels, batch.margins)]
    # what a worker without rows cannot know
    label_columns, margin_columns, weighted = collective.allreduce(
        np.array([*columns, batch.sample_weight is not None], np.int64), collective.Op.MAX
    )
    counts = allreduce_sum(np.where(np.arange(world) == rank, float(n), 0.0)).astype(np.intp)
    first = int(counts[:rank].sum())

    def of_all(array: Any, n_columns: int) -> NDArray[np.float64]:
        result = np.zeros((int(counts.sum()), *([n_columns] if n_columns else [])))
        if n:
            result[first : first + n] = devices.to_host("rows", array)
        return allreduce_sum(result)

    sample_weight = np.ones(n) if batch.sample_weight is None else batch.sample_weight
    return Batch(
        of_all(batch.labels, label_columns), of_all(batch.margins, margin_columns),
        of_all(sample_weight, 0) if weighted else None,
    )  # fmt: skip


def _collective() -> Any:
    """XGBoost's module, if something has imported it."""
    return sys.modules.get("xgboost.collective")
