"""Arrays on a CUDA device: telling them from the host's, and copies between the two.

Any array with ``__cuda_array_interface__`` is a device array: of CuPy, cuDF, PyTorch or Numba.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np


def on_device(array: Any) -> bool:
    if array is None or type(array) is np.ndarray:  # nearly all are, and a look for a missing attribute takes long
        return False
    return hasattr(array, "__cuda_array_interface__") or hasattr(array, "__cuda_ndarray__")  # the second is Numba's


@cache
def compute() -> bool:
    """Whether this process can compile kernels for a CUDA device, and run them."""
    if find_spec("numba_cuda") is None:
        return False
    from numba import config, cuda

    if config.ENABLE_CUDASIM or not cuda.is_available():
        return False
    try:
        cuda.jit("void(float32[::1])")(lambda array: None)
    except Exception:  # of a numba-cuda that does not fit NumPy, the driver or the toolkit: whatever it meets there
        return False
    return True


def as_device(name: str, array: Any) -> Any:
    """A device array of any library as Numba's, not copied.

    Raises
    ------
    ImportError
        If the package that computes on the device is missing.
    TypeError
        For arrays with a mask.
    """
    missing = f"{name} is on a CUDA device, which needs numba-cuda: pip install 'boostfocal[cuda]'"
    try:
        from numba import config, cuda
    except ImportError as error:
        raise ImportError(missing) from error
    if not config.ENABLE_CUDASIM and find_spec("numba_cuda") is None:
        raise ImportError(missing)
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


def to_device(array: Any) -> Any:
    """A host array on the device, in a type and byte order that devices have; anything else as it is."""
    if on_device(array):
        return array
    from numba import cuda

    values = np.asarray(array)
    native: Any = np.float64 if values.dtype.itemsize > 8 else values.dtype.newbyteorder("=")
    return cuda.to_device(np.ascontiguousarray(values, native))
