"""What the kernels of a CUDA device share: primitives, launching, sums.

The formulas are those of `formulas`, with the device's own exp and log. `cuda_elementwise` and `cuda_softmax` compute
what `elementwise` and `softmax` do on the CPU, and cut numbers off at the same places.
"""

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, float64
from numpy.typing import NDArray

from ..batch import Batch
from ..devices import to_device
from . import formulas

THREADS = 128  # a block
MIN_BLOCKS = 128  # for fewer Numba warns; threads without a row cost nothing
MAX_BLOCKS = 4096  # beyond, threads take several rows

ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
LARGEST = np.finfo(np.float32).max
QUARTER = np.float32(LARGEST / 4)  # margins of classes are cut here, so that their differences are finite
HUGE, TINY = np.float32(formulas.HUGE), np.float32(1e-37)
LOWEST = np.float32(-87)  # exp is zero below
DEEP = np.float32(-1e34)  # log q is cut here: gamma times it is finite

DeviceArray = Any
"""A device array of Numba."""

Gradients = tuple[DeviceArray, DeviceArray]
"""Gradient and Hessian."""

inlined = cuda.jit(device=True, inline="always")  # (compiling calls would want a device, and PTX needs none)


@inlined
def exp(x):
    return np.float32(math.exp(x)) if x >= LOWEST else ZERO


@inlined
def log(x):
    return np.float32(math.log(x if x > TINY else TINY))


@inlined
def root(x):
    return np.float32(math.sqrt(x))


@inlined
def log1p(x):
    return np.float32(math.log1p(x))


@inlined
def power(q, log_q, gamma):
    """q**gamma: whole powers and a root by multiplication, since exp(gamma log q) loses digits where q is small."""
    whole = int(gamma)
    rest = gamma - np.float32(whole)
    result = ONE
    if rest == HALF:
        result = root(q)
    elif rest != ZERO:
        result = exp(rest * (log_q if log_q > DEEP else DEEP))
    factor = q
    while whole > 0:
        if whole & 1:
            result *= factor
        factor *= factor
        whole >>= 1
    return result


@inlined
def scale(gamma, x):
    return gamma * x


@inlined
def minimum(a, b):
    return b if b < a else a  # keeps a NaN in a


@inlined
def maximum(a, b):
    return b if b > a else a


@inlined
def where(condition, a, b):
    return a if condition else b


@inlined
def swap_unless(condition, a, b):
    return where(condition, a, b), where(condition, b, a)


@inlined
def absolute(x):
    return -x if x < ZERO else x


bound = formulas.bind(
    {
        "ONE": ONE, "LARGEST": LARGEST, "HUGE": HUGE, "TINY": TINY, "absolute": absolute, "exp": exp, "log": log,
        "log1p": log1p, "minimum": minimum, "maximum": maximum, "power": power, "scale": scale, "where": where,
        "swap_unless": swap_unless,
    },
    inlined,
)  # fmt: skip


@inlined
def refused(value):
    """Whether a result is not finite, as for a NaN margin."""
    return not (absolute(value) <= LARGEST)


# --- in float64, for scores of the posterior ----------------------------------------------------------

LIMIT, SMALLEST = np.float64(1e300), np.finfo(np.float64).tiny


@inlined
def log64(x):
    return math.log(x if x > SMALLEST else SMALLEST)


bound64 = formulas.bind(
    {
        "ONE": np.float64(1), "LARGEST": LIMIT, "TINY": SMALLEST, "absolute": absolute, "exp": math.exp,
        "log": log64, "log1p": math.log1p, "minimum": minimum, "maximum": maximum, "scale": scale, "where": where,
        "swap_unless": swap_unless,
    },
    inlined,
)  # fmt: skip


# --- running -------------------------------------------------------------------------------------


def _grid(n: int) -> tuple[int, int]:
    return min(max(-(-n // THREADS), MIN_BLOCKS), MAX_BLOCKS), THREADS


def _device() -> int:
    return getattr(cuda.current_context().device, "id", 0)  # the simulator's one has no number


class _Flags(threading.local):
    """A number for each device, of this thread alone, which is 0 between launches.

    It lies in host memory that the device writes to: reading it takes no copy.
    """

    def __init__(self) -> None:
        self._of_device: dict[int, DeviceArray] = {}

    def here(self) -> DeviceArray:
        device = _device()
        if device not in self._of_device:
            flag = cuda.mapped_array(1, np.int32)
            flag[0] = 0
            self._of_device[device] = flag
        return self._of_device[device]


_flags = _Flags()


def run(kernel: Any, n_threads: int, inputs: list[Any], scalars: tuple[Any, ...], out: list[DeviceArray]) -> bool:
    """Launch a kernel, and tell whether it met a value to refuse; when this returns, the results are there.

    The smallest copy takes as long as a kernel over ten million rows, so flags and `constants` are not copied.
    """
    if not n_threads:
        return False
    flag = _flags.here()
    kernel[_grid(n_threads)](*inputs, *scalars, *out, flag)
    cuda.synchronize()
    invalid = bool(flag[0])
    flag[0] = 0
    return invalid


def constants(values: Any, real: type) -> DeviceArray:
    """A loss's parameters on the device."""
    array: NDArray[Any] = np.array(values, real)
    return _constants(array.tobytes(), array.shape, real, _device())


@lru_cache(maxsize=64)
def _constants(content: bytes, shape: tuple[int, ...], real: type, device: int) -> DeviceArray:
    return cuda.to_device(np.frombuffer(content, real).reshape(shape))


def results(shape: tuple[int, ...], order: str, out: Gradients | None) -> Gradients:
    """Where a gradient and a Hessian go: into `out`, of an earlier call for the same rows, or into new arrays."""
    return out or (cuda.device_array(shape, np.float32, order=order), cuda.device_array(shape, np.float32, order=order))


def inputs(batch: Batch) -> tuple[list[DeviceArray], Any]:
    """Labels, margins and weights on the device, and the memory order of results beside the margins."""
    labels, margins = to_device(batch.labels), to_device(batch.margins)
    by_column = margins.ndim > 1 and margins.is_f_contiguous() and not margins.is_c_contiguous()
    weights = labels if batch.sample_weight is None else to_device(batch.sample_weight)
    return [labels, margins, weights], "F" if by_column else "C"


@cuda.jit
def sum_kernel(values, partial):
    """The sum of each block's values; `partial` has one place per block."""
    shared = cuda.shared.array(THREADS, float64)
    mine = 0.0
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        mine += values[i]
    thread = cuda.threadIdx.x
    shared[thread] = mine
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            shared[thread] += shared[thread + step]
        cuda.syncthreads()
        step //= 2
    if thread == 0:
        partial[cuda.blockIdx.x] = shared[0]


def total(values: DeviceArray) -> float:
    """Sum in float64, of numbers of shape (n,) or (n, L)."""
    flat = values if values.ndim == 1 else values.ravel(order="F" if values.is_f_contiguous() else "C")
    blocks, _ = _grid(flat.shape[0])
    partial = cuda.device_array(blocks, np.float64)
    sum_kernel[blocks, THREADS](flat, partial)
    return float(partial.copy_to_host().sum())
