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

Boosting starts at XGBoost's ``base_score``. It is a margin, or one for each class, unless an objective is named:
under ``binary:logistic``, which `XGBClassifier` names for a custom objective, it is a probability by the sigmoid.
LightGBM's start is the data set's ``init_score``, a margin for each row. LightGBM does not save it.
"""

import ctypes
import json
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

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


def format_metric_result(second: Any, group: Any, name: str, value: float, greater_is_better: bool) -> MetricResult:
    """A metric's value in the form its caller expects."""
    if _is_dataset(second):
        from_lightgbm = hasattr(second, "num_data")  # XGBoost's DMatrix has num_row
        return (name, value, greater_is_better) if from_lightgbm else (name, value)
    return value if group is _NOT_PASSED else (name, value, greater_is_better)


def _is_dataset(argument: Any) -> bool:
    return hasattr(argument, "get_label")
