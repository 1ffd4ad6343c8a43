"""The primitives of the row formulas as float32 lanes, which LLVM turns into SIMD code.

`exp`, `log` and `log1p` are short polynomials: a call into libm would keep a loop over rows scalar.
Imported only where there is something to compile: see `cache`.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import formulas

# `cache.Kernel` calls what is compiled: no wrappers for C and Python, a third of the time that compiling takes, and no
# counting of references, which would need Numba's runtime.
OPTIONS: Any = {
    "error_model": "numpy", "fastmath": {"contract", "nsz"},
    "no_cfunc_wrapper": True, "no_cpython_wrapper": True, "_nrt": False,
}  # fmt: skip
compiled = njit(**OPTIONS)
inlined = njit(**OPTIONS, forceinline=True)  # a call left in the loop would keep it scalar

Scalar = Any

ONE = np.float32(1)
ZERO = np.float32(0)
LARGEST = np.finfo(np.float32).max
LARGEST_BITS = LARGEST.view(np.int32)
LOWEST = np.float32(-87)  # exp(-87) is just above float32's smallest normal; below, exp is zero
HUGE = np.float32(formulas.HUGE)
TINY = np.float32(1e-37)
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


@inlined
def bits(x: Scalar) -> Scalar:
    return np.float32(x).view(np.int32)


@inlined
def join(a: Scalar, b: Scalar) -> Scalar:
    return np.int32(a | b)  # Numba would widen it to 64 bits, and halve the lanes


@inlined
def exp(x: Scalar) -> Scalar:
    """exp(x) for x <= 0: 2**n e**r with |r| <= ln(2) / 2, in Estrin's order."""
    shifted = x * LOG2_E + ROUND
    r = x - (shifted - ROUND) * LN_2
    r2 = r * r
    mantissa = (E0 + r * E1) + r2 * ((E2 + r * E3) + r2 * ((E4 + r * E5) + r2 * E6))
    result = np.int32(bits(mantissa) + np.int32(bits(shifted) << np.int32(23))).view(np.float32)
    return result if x >= LOWEST else ZERO


@inlined
def log1p(x: Scalar) -> Scalar:
    """log(1 + x) for x in [0, 1]."""
    x2 = x * x
    x4 = x2 * x2
    return x * (((L0 + x * L1) + x2 * (L2 + x * L3)) + x4 * (((L4 + x * L5) + x2 * (L6 + x * L7)) + x4 * L8))


@inlined
def exponent(x: Scalar) -> Scalar:
    return np.float32(np.int32(np.int32(bits(x) >> np.int32(23)) - np.int32(127)))


@inlined
def mantissa(x: Scalar) -> Scalar:
    """In [1, 2)."""
    return np.int32(np.int32(bits(x) & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(np.float32)


@inlined
def log(x: Scalar) -> Scalar:
    """log(x) for x > 0, to an absolute error; about -88 where x underflowed."""
    return exponent(x) * LN_2 + log1p(mantissa(x) - ONE)


@inlined
def log_total(others: Scalar) -> Scalar:
    """log(1 + others) for others >= 0, to a relative error."""
    total = ONE + others
    small = others <= ONE
    part = log1p(others if small else mantissa(total) - ONE)
    return part + (ZERO if small else exponent(total) * LN_2)


@inlined
def minimum(a: Scalar, b: Scalar) -> Scalar:
    return b if b < a else a  # keeps a NaN in a


@inlined
def maximum(a: Scalar, b: Scalar) -> Scalar:
    return b if b > a else a


@inlined
def scale(gamma: Scalar, x: Scalar) -> Scalar:
    return gamma * x if gamma != ZERO else ZERO  # of a constant 0, LLVM drops x and all that led to it


@inlined
def where(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return a if condition else b


@inlined
def swap_unless(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return where(condition, a, b), where(condition, b, a)


@inlined
def power_any(q: Scalar, log_q: Scalar, gamma: Scalar) -> Scalar:
    return exp(gamma * log_q)


@inlined
def power_halves(q: Scalar, log_q: Scalar, gamma: Scalar) -> Scalar:
    """q**gamma for a constant multiple of one half below 8: LLVM folds the tests away."""
    halves: Any = np.int32(gamma + gamma)
    result = np.sqrt(q) if halves & 1 else ONE
    if halves & 2:
        result = result * q
    square = q * q
    if halves & 4:
        result = result * square
    if halves & 8:
        result = result * (square * square)
    return result


@lru_cache  # what kernels share is compiled once
def bound_formulas(halves: bool) -> dict[str, Any]:
    """The row formulas on lanes, by name; with `halves` gamma must be a compiled constant that is `in_halves`."""
    primitives = {
        "ONE": ONE, "LARGEST": LARGEST, "HUGE": HUGE, "TINY": TINY, "absolute": abs, "exp": exp, "log": log,
        "log1p": log1p, "minimum": minimum, "maximum": maximum, "scale": scale, "where": where,
        "swap_unless": swap_unless,
        "power": power_halves if halves else power_any,
    }  # fmt: skip
    return formulas.bind(primitives, inlined)


# --- what the kernels share ----------------------------------------------------------------------


@inlined
def nonfinite(x: Scalar) -> Scalar:
    """Its sign bit is set where x is not finite; kernels gather the sign bits of what is to be refused.

    In integers, since LLVM would make one condition of several comparisons, and keep the loop scalar.
    """
    return np.int32(LARGEST_BITS - np.int32(bits(x) & np.int32(0x7FFFFFFF)))


TILE = 4


def _turn_tile(context: Any, source: Any, i: Any, j: Any, to: Any) -> Any:
    """to[j : j + 4, i : i + 4] = source[i : i + 4, j : j + 4].T, each with its second axis contiguous.

    (From loops over rows and columns LLVM makes a load and a store for each number.)
    """

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source_type, _, _, to_type = signature.args
        source, i, j, to = arguments
        lane = target.get_data_type(source_type.dtype)
        alignment = target.get_abi_sizeof(lane)

        def row(array_type: Any, array: Any, first: Any, offset: int, start: Any) -> Any:
            structure = target.make_array(array_type)(target, builder, array)
            index = [builder.add(first, first.type(offset)), start]
            pointer = cgutils.get_item_pointer(target, builder, array_type, structure, index)
            return builder.bitcast(pointer, ir.VectorType(lane, TILE).as_pointer())

        def shuffle(a: Any, b: Any, *lanes: int) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), TILE), lanes))

        a, b, c, d = (builder.load(row(source_type, source, i, k, j), align=alignment) for k in range(TILE))
        low, high = (0, 4, 1, 5), (2, 6, 3, 7)
        ac, bd = [shuffle(a, c, *lanes) for lanes in (low, high)], [shuffle(b, d, *lanes) for lanes in (low, high)]
        turned = [shuffle(x, y, *lanes) for x, y in zip(ac, bd, strict=True) for lanes in (low, high)]
        for k, value in enumerate(turned):
            builder.store(value, row(to_type, to, j, k, i), align=alignment)
        return target.get_dummy_value()

    return types.void(source, i, j, to), generate


turn_tile: Any = intrinsic(_turn_tile)
