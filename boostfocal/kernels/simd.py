"""The primitives of the row formulas as float32 lanes, which LLVM turns into SIMD code, and what else kernels do.

`exp`, `log` and `log1p` are short polynomials: a call into libm would keep a loop over rows scalar. Imported only where
there is something to compile, see `cache`; `ufuncs` has the same for NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir

from . import formulas
from .llvm import DOUBLE, FLOAT, INT, Function, Lane, View, as_real
from .threads import DONE, INVALID, NEXT

LARGEST = float(np.finfo(np.float32).max)
LARGEST_BITS = 0x7F7FFFFF
LOWEST = -87.0  # exp(-87) is just above float32's smallest normal; below, exp is zero
TINY = float(np.float32(1e-37))
LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)  # 1.9e-9 off: under a fused multiply-add one part is enough
ROUND = np.float32(12582912.0)  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits

# Minimax in relative error: exp on |r| <= ln(2) / 2 to 1.9e-9, log1p(x) / x on [0, 1] to 3.0e-8.
E0, E1, E2, E3, E4, E5, E6 = np.array(
    [1.0000000005541648, 1.0000000363230944, 0.499999920798404, 0.16666420170269649,
     0.041668225566092765, 0.0083748157781556314, 0.0013836846136895651], np.float32
)  # fmt: skip
L0, L1, L2, L3, L4, L5, L6, L7, L8 = np.array(
    [0.9999999698798083, -0.49999493136559912, 0.33319096731757582, -0.24842981692976744, 0.19106004994412524,
     -0.1366324250230002, 0.078225917506290012, -0.029505219919230236, 0.0052326900274688853], np.float32
)  # fmt: skip

Value = Any
"""A Lane, or a number that is known when code is written."""


def bits(x: Lane) -> Value:
    return x.make("bitcast", x.value, INT)


def real(bits: Lane) -> Value:
    return bits.make("bitcast", bits.value, FLOAT)


def where(condition: Value, a: Value, b: Value) -> Value:
    if not isinstance(condition, Lane):
        return a if condition else b
    kind = next((one for one in (a, b) if isinstance(one, Lane)), None)
    values = [kind.constant(one) if kind is not None else ir.Constant(FLOAT, float(one)) for one in (a, b)]
    return condition.make("select", condition.value, *values)


def swap_unless(condition: Value, a: Value, b: Value) -> tuple[Value, Value]:
    return where(condition, a, b), where(condition, b, a)


def minimum(a: Lane, b: Value) -> Value:
    return where(b < a if isinstance(b, Lane) else a > b, b, a)  # keeps a NaN in a


def maximum(a: Lane, b: Value) -> Value:
    return where(b > a if isinstance(b, Lane) else a < b, b, a)


def exp(x: Lane) -> Value:
    """exp(x) for x <= 0: 2**n e**r with |r| <= ln(2) / 2, in Estrin's order."""
    shifted = x * LOG2_E + ROUND
    r = x - (shifted - ROUND) * LN_2
    r2 = r * r
    mantissa = (E0 + r * E1) + r2 * ((E2 + r * E3) + r2 * ((E4 + r * E5) + r2 * E6))
    return where(x >= LOWEST, real(bits(mantissa) + (bits(shifted) << 23)), 0.0)


def log1p(x: Lane) -> Value:
    """log(1 + x) for x in [0, 1]."""
    x2 = x * x
    x4 = x2 * x2
    return x * (((L0 + x * L1) + x2 * (L2 + x * L3)) + x4 * (((L4 + x * L5) + x2 * (L6 + x * L7)) + x4 * L8))


def exponent(x: Lane) -> Value:
    number = (bits(x) >> 23) - 127
    return number.make("sitofp", number.value, FLOAT)


def mantissa(x: Lane) -> Value:
    """In [1, 2)."""
    return real((bits(x) & 0x7FFFFF) | 0x3F800000)


def log(x: Lane) -> Value:
    """log(x) for x > 0, to an absolute error; about -88 where x underflowed."""
    return exponent(x) * LN_2 + log1p(mantissa(x) - 1.0)


def log_total(others: Lane) -> Value:
    """log(1 + others) for others >= 0, to a relative error."""
    total = 1.0 + others
    small = others <= 1.0
    part = log1p(where(small, others, mantissa(total) - 1.0))
    return part + where(small, 0.0, exponent(total) * LN_2)


def scale(gamma: Value, x: Lane) -> Value:
    return gamma * x if isinstance(gamma, Lane) or gamma != 0 else 0.0  # for a constant 0, nothing is computed


def power(q: Lane, log_q: Lane, gamma: Value) -> Value:
    """q**gamma, without an exponential for a constant that is a multiple of one half below 8."""
    if isinstance(gamma, Lane):
        return exp(gamma * log_q)
    halves = int(gamma + gamma)
    result: Any = q.call("llvm.sqrt") if halves & 1 else 1.0
    if halves & 2:
        result = result * q
    square = q * q
    if halves & 4:
        result = result * square
    return result * (square * square) if halves & 8 else result


BOUND = formulas.bind(
    {
        "ONE": 1.0, "LARGEST": LARGEST, "HUGE": float(np.float32(formulas.HUGE)), "TINY": TINY, "absolute": abs,
        "exp": exp, "log": log, "log1p": log1p, "minimum": minimum, "maximum": maximum, "scale": scale, "where": where,
        "power": power, "swap_unless": swap_unless,
    },
    lambda formula: formula,
)  # fmt: skip
"""The row formulas on lanes, by name; a gamma that is a constant must be a multiple of one half below 8."""


class Signs:
    """The sign bits of added numbers, as integers: LLVM would join comparisons into one, and keep the loop scalar."""

    def __init__(self, target: Simd) -> None:
        self._joined = target.variable(INT, 0)

    def clear(self) -> None:
        self._joined[0] = 0

    def add(self, numbers: Lane) -> None:
        self._joined[0] = self._joined[0] | numbers

    def add_unless(self, condition: Lane) -> None:
        self.add(condition.make("select", condition.value, ir.Constant(INT, 0), ir.Constant(INT, -1)))

    def any(self) -> Value:
        return self._joined[0] < 0


TILE = 4


class Simd(Function):
    """What kernels are written with, besides arithmetic; `ufuncs.Ufuncs` does the same with NumPy."""

    formulas, TINY = BOUND, TINY
    exp, log_total, bits = staticmethod(exp), staticmethod(log_total), staticmethod(bits)
    where, minimum, maximum = staticmethod(where), staticmethod(minimum), staticmethod(maximum)
    absolute = abs

    @staticmethod
    def nonfinite(x: Lane) -> Value:
        """Its sign bit is set where x is not finite."""
        return LARGEST_BITS - (bits(as_real(x, FLOAT)) & 0x7FFFFFFF)

    @staticmethod
    def number(integer: Lane) -> Value:
        return integer.make("sitofp", integer.value, FLOAT)

    @staticmethod
    def index(number: Lane) -> Value:
        return number.make("fptosi", number.value, INT)

    @staticmethod
    def pick(classes: View, k: Lane, field: int, i: Lane) -> Value:
        return classes[k, field, i]

    def claimed(self, progress: View, n: Any, step: Any) -> Iterator[tuple[Lane, Lane, Signs]]:
        """Pieces of n rows that no other thread has: where each begins and ends, and signs of what is to be refused."""
        signs = Signs(self)
        for start in self.while_less(lambda: self.fetch_add(progress, NEXT, step), n):
            stop = self.least(start + step, n)
            signs.clear()
            yield start, stop, signs
            with self.builder.if_then(signs.any().value):
                progress[INVALID] = 1
            self.fetch_add(progress, DONE, stop - start)

    def fetch(self, matrix: View, start: Any, count: Any, to: View) -> None:
        """to[k, i] = matrix[start + i, k] for `count` rows i and all columns k."""
        if matrix.by_column:
            for k in self.loop(to.shape[0]):
                for i in self.lanes(count):
                    to[k, i] = matrix[start + i, k]
        else:
            self._turn(matrix[start : start + count], to, count, to.shape[0])

    def store(self, classes: View, field: int, matrix: View, start: Any, count: Any) -> None:
        """matrix[start + i, k] = classes[k, field, i] for `count` rows i and all columns k."""
        source = View(self.builder, classes.at(0, field), (classes.shape[0], count), (classes.strides[0], 1))
        if matrix.by_column:
            for k in self.loop(classes.shape[0]):
                for i in self.lanes(count):
                    matrix[start + i, k] = source[k, i]
        else:
            self._turn(source, matrix[start : start + count], classes.shape[0], count)

    def _turn(self, source: View, to: View, n: Any, m: Any) -> None:
        """to[j, i] = source[i, j], each with its second axis contiguous: in tiles, the last of which overlap.

        (LLVM turns loops over rows and columns into a load and a store for each number.)
        """
        builder = self.builder
        with builder.if_else((self.least(n, m) < TILE).value) as (few, many):
            with few:
                for i in self.loop(n):
                    for j in self.loop(m):
                        to[j, i] = source[i, j]
            with many, builder.if_else((n < m).value) as (wide, high):
                with wide:
                    for i in self._tiles(n):
                        for j in self.loop(m - TILE, 0, TILE):
                            self._turn_tile(source, i, j, to)
                        self._turn_tile(source, i, m - TILE, to)
                with high:
                    for j in self._tiles(m):
                        for i in self.loop(n - TILE, 0, TILE):
                            self._turn_tile(source, i, j, to)
                        self._turn_tile(source, n - TILE, j, to)

    def _tiles(self, n: Any) -> Iterator[Lane]:
        for first in self.loop(n, 0, TILE):
            yield self.least(first, n - TILE)

    def _turn_tile(self, source: View, i: Lane, j: Lane, to: View) -> None:
        builder, size = self.builder, 8 if source.kind == DOUBLE else 4
        rows = ir.VectorType(source.kind, TILE)

        def shuffled(a: Any, b: Any, *lanes: int) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT, TILE), lanes))

        def row(view: View, first: Lane, start: Lane) -> Any:
            return builder.bitcast(view.at(first, start), rows.as_pointer())

        a, b, c, d = (builder.load(row(source, i + k, j), align=size) for k in range(TILE))
        low, high = (0, 4, 1, 5), (2, 6, 3, 7)
        ac, bd = ([shuffled(x, y, *lanes) for lanes in (low, high)] for x, y in ((a, c), (b, d)))
        turned = [shuffled(x, y, *lanes) for x, y in zip(ac, bd, strict=True) for lanes in (low, high)]
        for k, value in enumerate(turned):
            builder.store(value, row(to, j + k, i), align=size)
