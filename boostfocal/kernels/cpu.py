"""The row formulas compiled for the CPU: float32 lanes, chunks of rows, several threads.

`exp` and `log1p` are short polynomials, so that LLVM turns the loop over rows into SIMD code; a call
into libm would keep it scalar. Nothing is cached on disk: compiling takes about half a second per
process and kind of gamma, and works where no directory is writable.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from joblib import cpu_count
from numba import njit
from numpy.typing import NDArray

from . import rows
from .rows import RowParameters

CHUNK = 65536  # rows that are copied to a buffer at once: it stays in the second-level cache
BLOCK = 1024  # margins that the kernel makes float32 at once, in the first-level cache
ROWS_PER_THREAD = 100_000  # below this, handing rows to another thread costs more than it saves

OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
compiled = njit(**OPTIONS)
inlined = njit(**OPTIONS, forceinline=True)  # a call left in the loop would keep it scalar

Kernel = Callable[..., bool]
Scalar = Any
Rows = NDArray[Any]


# --- primitives ----------------------------------------------------------------------------------

ONE = np.float32(1)
MARGINS = 1  # position among the inputs: labels, margins, weights
INFINITY = np.float32(np.inf)
ZERO = np.float32(0)
LARGEST = np.finfo(np.float32).max
LOWEST = np.float32(-87)  # exp(-87) is just above float32's smallest normal; below, exp is zero
TINY = np.float32(1e-37)
LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)  # 1.9e-9 off: under a fused multiply-add one part is enough
ROUND = np.float32(12582912.0)  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits

# Minimax in relative error: exp on |r| <= ln(2) / 2 to 7.5e-8, log1p(x) / x on [0, 1] to 1.9e-7.
E0, E1, E2, E3, E4, E5 = np.array(
    [1.0000000720785887, 0.9999996901454802, 0.4999889046802701, 0.16667578359564106,
     0.04191587662295756, 0.00829758370123396], np.float32
)  # fmt: skip
L0, L1, L2, L3, L4, L5, L6, L7 = np.array(
    [0.9999998056663508, -0.4999740539008409, 0.33275479682791326, -0.24495462296639722,
     0.17745239961749096, -0.10768169143418772, 0.04408961614385927, -0.008539204095111172], np.float32
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
    mantissa = (E0 + r * E1) + r2 * ((E2 + r * E3) + r2 * (E4 + r * E5))
    result = np.int32(bits(mantissa) + np.int32(bits(shifted) << np.int32(23))).view(np.float32)
    return result if x >= LOWEST else ZERO


@inlined
def log1p(x: Scalar) -> Scalar:
    """log(1 + x) for x in [0, 1]."""
    x2 = x * x
    return x * (((L0 + x * L1) + x2 * (L2 + x * L3)) + (x2 * x2) * ((L4 + x * L5) + x2 * (L6 + x * L7)))


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


def _in_halves(gamma: float) -> bool:
    return gamma < 8 and (2 * gamma).is_integer()


# --- compilation ---------------------------------------------------------------------------------


def _formulas(halves: bool) -> dict[str, Any]:
    primitives = {
        "ONE": ONE, "LARGEST": LARGEST, "TINY": TINY, "absolute": abs, "exp": exp, "log1p": log1p,
        "minimum": minimum, "maximum": maximum, "scale": scale, "where": where,
        "power": power_halves if halves else power_any,
    }  # fmt: skip
    return rows.bind(primitives, inlined)


@lru_cache(maxsize=512)  # a sweep over gammas must not compile twice
def _kernel(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool = False) -> Kernel:
    """Compile the loop over rows; with `gammas`, which must be multiples of one half, as constants.

    The loop returns True if it met a value to refuse: it gathers the sign bits of y, 1 - y and the
    weight, and those of results that are not finite. `wide` takes float64 margins, and makes them
    float32 a block at a time: converted in the loop itself, they would halve its lanes.
    """
    row = _formulas(halves=gammas is not None)[formula]
    constant = gammas is not None
    constant0, constant1 = (np.float32(gamma) for gamma in gammas or (0, 0))

    if formula == "values":

        @compiled
        def block(y, z, w, weight0, weight1, gamma0, gamma1, out):
            if constant:
                gamma0, gamma1 = constant0, constant1
            signs = np.int32(0)
            for i in range(z.size):
                value = row(y[i], z[i], weight0, weight1, gamma0, gamma1)
                if weighted:
                    value *= w[i]
                    signs = join(signs, bits(w[i]))
                out[i] = value
                finite = np.int32(0) if abs(value) < INFINITY else np.int32(-1)
                signs = join(signs, join(finite, join(bits(y[i]), bits(ONE - y[i]))))
            return signs < 0

        @compiled
        def blocks(y, z, w, weight0, weight1, gamma0, gamma1, out):
            margins = np.empty(BLOCK, np.float32)
            suspicious = False
            for start in range(0, z.size, BLOCK):
                part = slice(start, min(start + BLOCK, z.size))
                lanes = as_float32(z[part], margins)
                suspicious |= block(y[part], lanes, w[part], weight0, weight1, gamma0, gamma1, out[part])
            return suspicious

    else:

        @compiled
        def block(y, z, w, weight0, weight1, gamma0, gamma1, per_step, gradient, hessian):
            if constant:
                gamma0, gamma1 = constant0, constant1
            signs = np.int32(0)
            for i in range(z.size):
                slope, bend = row(y[i], z[i], weight0, weight1, gamma0, gamma1, per_step)
                if weighted:
                    slope *= w[i]
                    bend *= w[i]
                    signs = join(signs, bits(w[i]))
                gradient[i] = slope
                hessian[i] = bend
                finite = np.int32(0) if abs(slope) < INFINITY else np.int32(-1)
                signs = join(signs, join(finite, join(bits(y[i]), bits(ONE - y[i]))))
            return signs < 0

        @compiled
        def blocks(y, z, w, weight0, weight1, gamma0, gamma1, per_step, gradient, hessian):
            margins = np.empty(BLOCK, np.float32)
            suspicious = False
            for start in range(0, z.size, BLOCK):
                part = slice(start, min(start + BLOCK, z.size))
                lanes = as_float32(z[part], margins)
                suspicious |= block(
                    y[part], lanes, w[part], weight0, weight1, gamma0, gamma1, per_step, gradient[part], hessian[part]
                )
            return suspicious

    return blocks if wide else block


@compiled
def as_float32(z, buffer):
    """The margins as the formulas take them; beyond float32 they become infinite, which is their limit."""
    lanes = buffer[: z.size]
    for i in range(z.size):
        lanes[i] = z[i]
    return lanes


# --- running -------------------------------------------------------------------------------------


def threads(n_rows: int) -> int:
    """Threads for a call: the CPUs this process may use, at most OMP_NUM_THREADS, one if it is small."""
    wanted = max(1, n_rows // ROWS_PER_THREAD)
    if wanted == 1:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(wanted, _cpus(), int(limit) if limit.isdigit() and int(limit) > 0 else wanted)


@lru_cache(maxsize=1)
def _cpus() -> int:
    return int(cpu_count())  # affinity and container quota; reading them costs as much as 100k rows


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The helping threads of this process: a forked child has another id, and starts its own."""
    return ThreadPoolExecutor(max(1, _cpus() - 1), thread_name_prefix="boostfocal")


def _run(kernel: Kernel, inputs: list[Rows], scalars: list[np.float32], out: list[Rows]) -> bool:
    """Apply a kernel to every chunk; threads take chunks as they get done. True: a value to refuse."""
    size = inputs[0].size
    helpers = threads(size) - 1
    # as they are, rows go in few large pieces, two a thread, so that one that is held up takes fewer
    step = -(-size // (2 * helpers + 2 if helpers else 1)) if all(map(_is_lane, inputs, range(3))) else CHUNK
    starts: Iterator[int] = iter(range(0, size, step))  # shared: taking the next start is atomic

    def work() -> bool:
        suspicious = False
        buffers: list[Rows | None] = [None] * len(inputs)
        for start in starts:
            part = slice(start, min(start + step, size))
            lanes = [_lane(array[part], buffers, index) for index, array in enumerate(inputs)]
            suspicious |= kernel(*lanes, *scalars, *(array[part] for array in out))
        return suspicious

    if not helpers:
        return work()
    helping = [_pool(os.getpid()).submit(work) for _ in range(helpers)]
    suspicious = work()
    for future in helping:
        if not future.cancel():  # one that has not begun, as other callers keep the pool busy, has nothing left to do
            suspicious |= future.result()
    return suspicious


def _is_lane(rows: Rows, index: int) -> bool:
    """Whether the kernel takes them as they are: contiguous, writeable, float32, or float64 margins.

    (For other types and for read-only arrays Numba would compile again; copying them is cheaper.)
    """
    known = rows.dtype == np.float32 or (index == MARGINS and rows.dtype == np.float64)
    return known and rows.flags.c_contiguous and rows.flags.writeable


def _lane(part: Rows, buffers: list[Rows | None], index: int) -> Rows:
    """The rows as the kernel takes them, if need be in a buffer."""
    if _is_lane(part, index):
        return part
    buffer = buffers[index]
    if buffer is None:
        buffer = buffers[index] = np.empty(CHUNK, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # float64 margins beyond float32 become infinite: cut later
        np.copyto(buffer[: part.size], part, casting="unsafe")
    return buffer[: part.size]


def _call(
    formula: str, inputs: tuple[Rows, Rows, Rows | None], parameters: RowParameters, *more: float, n_out: int
) -> tuple[list[NDArray[np.float32]], bool]:
    labels, margins, weights = inputs
    gammas = parameters[2:]
    constants = gammas if all(map(_in_halves, gammas)) else None
    wide = _is_lane(margins, MARGINS) and margins.dtype == np.float64
    kernel = _kernel(formula, constants, weights is not None, wide)
    out = [np.empty(margins.size, np.float32) for _ in range(n_out)]
    scalars = [np.float32(value) for value in (*parameters, *more)]
    rows_in = [labels, margins, labels[:1] if weights is None else weights]
    return out, _run(kernel, rows_in, scalars, out)


def gradient_hessian(
    labels: Rows, margins: Rows, weights: Rows | None, parameters: RowParameters, exact: bool, max_step: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Weighted gradient and Hessian of 1-d arrays of one length, and whether to look for a bad value."""
    formula = "gradient_exact" if exact else "gradient_expected"
    (gradient, hessian), suspicious = _call(formula, (labels, margins, weights), parameters, 1 / max_step, n_out=2)
    return gradient, hessian, suspicious


def losses(
    labels: Rows, margins: Rows, weights: Rows | None, parameters: RowParameters
) -> tuple[NDArray[np.float32], bool]:
    """Weighted loss of each row, and whether to look for a bad value."""
    (values,), suspicious = _call("values", (labels, margins, weights), parameters, n_out=1)
    return values, suspicious
