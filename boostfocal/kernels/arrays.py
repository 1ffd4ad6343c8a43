"""Arguments as the compiled kernels take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Type(NamedTuple):
    """The type of a kernel's argument."""

    name: str
    extents: tuple[int | None, ...] | None  # None for a scalar; in an array, for an extent that is not a constant
    by_column: bool

    @classmethod
    def parse(cls, text: str) -> Type:
        """Parse "int64", "float32[:, 5]", or "float64[:, :].T" for an array whose first axis is contiguous."""
        name, bracket, rest = text.partition("[")
        axes, _, by_column = rest.partition("]")
        extents = tuple(None if one.strip() == ":" else int(one) for one in axes.split(",")) if bracket else None
        return cls(name, extents, by_column == ".T")


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
