"""Arrays on a CUDA device: telling them from the host's, and copies between the two.

Any array with ``__cuda_array_interface__`` is one, of CuPy, cuDF, PyTorch or Numba.
"""

from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray


def on_device(array: Any) -> bool:
    return hasattr(array, "__cuda_array_interface__") or hasattr(array, "__cuda_ndarray__")  # the second is Numba's


def as_device(name: str, array: Any) -> Any:
    """A device array of any library as Numba's, not copied.

    Raises
    ------
    ImportError
        If the package that computes on the device is missing.
    TypeError
        For arrays with a mask.
    """
    from numba import config, cuda

    if not config.ENABLE_CUDASIM and find_spec("numba_cuda") is None:
        raise ImportError(f"{name} is on a CUDA device, which needs numba-cuda: pip install 'boostfocal[cuda]'")
    try:
        return array if hasattr(array, "__cuda_ndarray__") else cuda.as_cuda_array(array)
    except NotImplementedError as error:
        raise TypeError(f"{name} must be numbers without a mask of missing values: {error}") from error


def to_host(name: str, array: Any) -> Any:
    """A device array as NumPy's; anything else as it is."""
    if not on_device(array):
        return array
    try:
        return as_device(name, array).copy_to_host()
    except NotImplementedError as error:  # Numba copies no reversed arrays
        raise TypeError(f"{name} must be an array of positive strides to be copied from the device: {error}") from error


def total(values: Any) -> float:
    """Sum in float64, computed where the values are."""
    if on_device(values):
        from .kernels import cuda

        return cuda.total(values)
    return float(np.sum(values, dtype=np.float64))


class Moved:
    """Device copies of the labels and weights of data sets, so that they are moved once and not at every call."""

    def __init__(self) -> None:
        self._copies: WeakKeyDictionary[Any, dict[str, tuple[NDArray[Any], Any]]] = WeakKeyDictionary()

    def __call__(self, dataset: Any, name: str, array: Any) -> Any:
        """The device copy of `array`, which is `name` of `dataset` now: made anew if its values have changed."""
        if array is None or on_device(array):
            return array
        from .kernels import cuda

        copies = self._copies.setdefault(dataset, {})
        found = copies.get(name)
        if found is None or not np.array_equal(found[0], array):
            found = copies[name] = (np.array(array), cuda.moved(array))
        return found[1]


moved = Moved()


def beside(array: NDArray[Any], other: Any) -> Any:
    """A copy of `array` on the device if `other` is there, else itself."""
    if not on_device(other):
        return array
    from .kernels import cuda

    return cuda.moved(array)
