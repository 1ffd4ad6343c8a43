"""What XGBoost and LightGBM pass to an objective or a metric, and what they expect back.

=====================  ===========================================  =======================
caller                 arguments                                    a metric returns
=====================  ===========================================  =======================
xgboost, native        margin, DMatrix                              name, value
lightgbm, native       margin, Dataset                              name, value, is_higher_better
XGB* scikit-learn      labels, margin[, sample_weight=weights]      value (named by ``__name__``)
LGBM* scikit-learn     labels, margin, weights[, group]             name, value, is_higher_better
=====================  ===========================================  =======================

The scikit-learn classes look at the signature: XGBoost for a parameter named ``sample_weight``,
LightGBM counts 2, 3 or 4 parameters and fills them all.
"""

import ctypes
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from . import devices
from .batch import Batch

_NOT_PASSED: Final = object()
"""Default of a metric's fourth parameter, `group`: LightGBM's classes always fill it, XGBoost's never."""

MetricResult = float | tuple[str, float] | tuple[str, float, bool]


def read_batch(first: Any, second: Any, sample_weight: Any) -> Batch:
    """Tell the two orders apart: natively the second argument is the data set."""
    if not _is_dataset(second):
        return Batch(_by_row(first, second), second, sample_weight)
    labels, sample_weight = _of_dataset(second, "label"), _of_dataset(second, "weight")
    if (labels is None or len(labels) == 0) and np.size(first) > 0:
        raise ValueError("y must be given: the data set has no labels")
    if sample_weight is not None and len(sample_weight) == 0:  # XGBoost's way to say that there are none
        sample_weight = None
    return Batch(_by_row(labels, first), first, sample_weight)


def _of_dataset(dataset: Any, field: str) -> Any:
    """A data set's labels or weights. From XGBoost 3.2 on, those on the host are a view, valid until they change.

    XGBoost's own `get_label` copies them, which for a million rows takes as long as computing all gradients.
    """
    copied = getattr(dataset, f"get_{field}")
    library = _xgboost_library() if copied.__module__ == "xgboost.core" else None  # what a subclass gives is its own
    if library is not None:
        text = ctypes.c_char_p()
        failed = library.XGDMatrixGetInfoRef(dataset.handle, field.encode(), ctypes.byref(text))
        interface = _interface(text.value) if text.value and not failed else None
        if interface is not None:
            return np.asarray(_View(dataset, interface)) if interface["shape"] != (0,) else NONE
    return copied()


NONE: Final = np.empty(0, np.float32)


@lru_cache(maxsize=64)  # the text of an unchanged data set is the same at every call
def _interface(text: bytes) -> dict[str, Any] | None:
    """An array that XGBoost describes, as NumPy's interface; None if it is on a device, or of columns without rows."""
    described = json.loads(text)
    if "data" not in described or "stream" in described or (0 in described["shape"] and len(described["shape"]) > 1):
        return None
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}
    return listed | {"data": (described["data"][0], False)}  # not read-only, since kernels copy read-only arrays


class _View:
    """An object that NumPy makes an array of; it keeps the data set alive."""

    def __init__(self, dataset: Any, interface: dict[str, Any]) -> None:
        self.dataset, self.__array_interface__ = dataset, interface


@cache
def _xgboost_library() -> Any:
    """XGBoost's C interface, if it has what `_of_dataset` asks for."""
    from xgboost.libpath import find_lib_path

    library = ctypes.CDLL(find_lib_path()[0])
    return library if hasattr(library, "XGDMatrixGetInfoRef") else None


def _by_row(labels: Any, margins: Any) -> Any:
    """Multilabel rows in the margins' shape: XGBoost below 3.2 has the labels one after the other."""
    if np.ndim(margins) < 2:
        return labels
    flat = np.ndim(margins) == 2 and np.ndim(labels) == 1 and np.size(labels) == np.size(margins) > len(margins)
    return np.reshape(labels, np.shape(margins)) if flat else labels


# --- XGBoost's workers, each of which has some of the rows ------------------------------------------


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


# ---------------------------------------------------------------------------------------------------


def format_metric_result(second: Any, group: Any, name: str, value: float, greater_is_better: bool) -> MetricResult:
    """A metric's value in the form its caller expects."""
    if _is_dataset(second):
        from_lightgbm = hasattr(second, "num_data")  # XGBoost's DMatrix has num_row
        return (name, value, greater_is_better) if from_lightgbm else (name, value)
    return value if group is _NOT_PASSED else (name, value, greater_is_better)


def _is_dataset(argument: Any) -> bool:
    return hasattr(argument, "get_label")
