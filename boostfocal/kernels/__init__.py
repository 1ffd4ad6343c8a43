"""The row formulas (`formulas`), and what computes them: `elementwise` and `softmax`, each on the CPU and on CUDA.

The CPU's loops (`elementwise_loops`, `softmax_loops`, on `simd`) are imported only to be compiled: see `cache`.
"""

from functools import cache as cache_of_modules
from importlib import import_module
from typing import Any, Literal

import numpy as np

from .. import devices
from ..batch import Batch
from . import cache as cache  # first, since it takes a digest of the text of the others


def backend(kind: Literal["elementwise", "softmax"], batch: Batch) -> Any:
    """The module that computes such a batch where it is: on the CPU, or on a CUDA device if some of it is there.

    Each has `gradient_hessian` and `losses`. Imported here, since scoring needs neither compiler nor kernel.
    """
    return _module(f"{'cuda_' if batch.on_device else ''}{kind}")


@cache_of_modules
def _module(name: str) -> Any:
    return import_module(f".{name}", __name__)


def forget() -> None:
    """Drop the CPU's kernels from memory: each is loaded, or compiled and kept, when it is next called."""
    for kind in ("elementwise", "softmax"):
        _module(kind).forget()


def total(values: Any) -> float:
    """Sum in float64, computed where the values are."""
    if devices.on_device(values):
        from . import cuda

        return cuda.total(values)
    return float(np.sum(values, dtype=np.float64))
