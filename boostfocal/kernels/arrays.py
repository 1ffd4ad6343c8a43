"""Arrays as the compiled kernels take them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def is_plain(rows: Array, dtype: type[np.floating[Any]]) -> bool:
    """Whether a kernel takes the array as it is; copying others is cheaper than compiling for them, too."""
    if rows.dtype != dtype:
        return False
    flags = rows.flags
    return (flags.c_contiguous or flags.f_contiguous) and flags.writeable and flags.aligned


def order(array: Array) -> Any:
    """The memory order of a result that belongs to `array`."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def copy_to(lanes: Array, rows: Array) -> None:
    """Copy numbers of any type; float64 margins beyond float32 become infinite, which is their limit."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(lanes, rows, casting="unsafe")
