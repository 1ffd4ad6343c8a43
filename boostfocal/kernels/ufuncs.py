"""Kernels on NumPy, where nothing compiles them: the same loops, but each turn computes all lanes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

import numpy as np

from . import formulas
from .threads import DONE, INVALID, NEXT

LARGEST = np.finfo(np.float32).max
LARGEST_BITS = LARGEST.view(np.int32)
LOWEST = np.float32(-87)
TINY = np.float32(1e-37)

_lock = Lock()


def exp(x: Any) -> Any:
    return np.exp(x) * (x >= LOWEST)


def log(x: Any) -> Any:
    return np.log(np.maximum(x, TINY))


def where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, *(np.float32(one) if isinstance(one, float) else one for one in (a, b)))


def swap_unless(condition: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return np.where(condition, a, b), np.where(condition, b, a)


BOUND = formulas.bind(
    {
        "ONE": np.float32(1), "LARGEST": LARGEST, "HUGE": np.float32(formulas.HUGE), "TINY": TINY,
        "absolute": np.absolute, "exp": exp, "log": log, "log1p": np.log1p, "minimum": np.minimum,
        "maximum": np.maximum, "scale": formulas.scale, "where": where, "power": formulas.power,
        "swap_unless": swap_unless,
    },
    lambda formula: formula,
)  # fmt: skip


class Signs:
    """Whether a sign bit of the added numbers is set."""

    any = False

    def add(self, numbers: Any) -> None:
        self.any |= bool(numbers.min() < 0)

    def add_unless(self, condition: Any) -> None:
        self.any |= not condition.all()


class Ufuncs:
    """What kernels are written with on NumPy; `simd.Simd` has the same for LLVM."""

    formulas, TINY = BOUND, TINY
    exp, log_total, where = staticmethod(exp), np.log1p, staticmethod(where)
    minimum, maximum, absolute, number = np.minimum, np.maximum, np.absolute, np.float32

    @staticmethod
    def bits(x: Any) -> Any:
        return x.view(np.int32)

    @staticmethod
    def nonfinite(x: Any) -> Any:
        return LARGEST_BITS - (x.astype(np.float32, copy=False).view(np.int32) & np.int32(0x7FFFFFFF))

    @staticmethod
    def index(number: Any) -> Any:
        return number.astype(np.intp)

    @staticmethod
    def pick(classes: Any, k: Any, field: int, i: slice) -> Any:
        return classes[k, field, np.arange(i.start, i.stop)]

    @staticmethod
    def lanes(n: int) -> Iterator[slice]:
        yield slice(0, n)

    @staticmethod
    def loop(n: int) -> range:
        return range(n)

    @staticmethod
    def parts(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
        return ((begin, min(begin + step, stop)) for begin in range(start, stop, step))

    @staticmethod
    def claimed(progress: Any, n: int, step: int) -> Iterator[tuple[int, int, Signs]]:
        while True:
            with _lock:
                start = int(progress[NEXT])
                progress[NEXT] += step
            if start >= n:
                return
            signs, stop = Signs(), min(start + step, n)
            yield start, stop, signs
            with _lock:
                progress[INVALID] |= signs.any
                progress[DONE] += stop - start

    @staticmethod
    def fetch(matrix: Any, start: int, count: int, to: Any) -> None:
        to[:, :count] = matrix[start : start + count].T

    @staticmethod
    def store(classes: Any, field: int, matrix: Any, start: int, count: int) -> None:
        matrix[start : start + count] = classes[:, field, :count].T


def interpreted(kernel: Callable[..., None]) -> Callable[..., None]:
    """A kernel that NumPy computes; the kernel itself deals with overflow and NaN."""

    def call(*arguments: Any) -> None:
        with np.errstate(all="ignore"):
            kernel(Ufuncs, *arguments)

    return call
