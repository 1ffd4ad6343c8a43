"""Rows on a CUDA device: a thread takes a row, or of several labels an element.

The formulas are those of `rows`, with the device's own exp and log. `elementwise` and `softmax` are the same
for the CPU; where numbers are cut off, it is at the same places.
"""

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, float64
from numpy.typing import NDArray

from . import rows
from .rows import RowParameters

THREADS = 128  # a block
MIN_BLOCKS = 128  # for fewer Numba warns; threads without a row cost nothing
MAX_BLOCKS = 4096  # beyond, threads take several rows

ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
LARGEST = np.finfo(np.float32).max
QUARTER = np.float32(LARGEST / 4)  # margins of classes are cut here, so that their differences are finite
HUGE, TINY = np.float32(rows.HUGE), np.float32(1e-37)
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
def absolute(x):
    return -x if x < ZERO else x


formulas = rows.bind(
    {
        "ONE": ONE, "LARGEST": LARGEST, "HUGE": HUGE, "TINY": TINY, "absolute": absolute, "exp": exp, "log": log,
        "log1p": log1p, "minimum": minimum, "maximum": maximum, "power": power, "scale": scale, "where": where,
    },
    inlined,
)  # fmt: skip
against_rest, derivatives, loss = formulas["against_rest"], formulas["derivatives"], formulas["loss"]
posterior_terms, posterior = formulas["posterior_terms"], formulas["posterior"]
other_derivatives, expected_hessian = formulas["other_derivatives"], formulas["expected_hessian"]


@inlined
def refused(value):
    """Whether a result is not finite, as of a NaN margin."""
    return not (absolute(value) <= LARGEST)


@lru_cache
def elementwise_kernel(row: Any, valued: bool, real: type, several: bool, weighted: bool) -> Any:
    """The kernel for rows of one label, or of several with `parameters` for each or for all.

    `row` is computed in `real`: one number if `valued`, else a gradient and a Hessian. The kernel puts a 1 into
    `found` if it meets a value to refuse.
    """

    @cuda.jit
    def kernel(y, z, w, parameters, per_step, by_column, first, second, found):
        n = z.shape[0]
        for i in range(cuda.grid(1), z.size, cuda.gridsize(1)):
            if several:
                r, c = (i % n, i // n) if by_column else (i // z.shape[1], i % z.shape[1])
                label, margin = real(y[r, c]), real(z[r, c])
                j = c % parameters.shape[0]
            else:
                r, j = i, 0
                label, margin = real(y[i]), real(z[i])
            weight0, weight1, gamma0, gamma1 = parameters[j, 0], parameters[j, 1], parameters[j, 2], parameters[j, 3]
            weight = real(w[r]) if weighted else real(ONE)
            bad = not (label >= ZERO and label <= ONE and weight >= ZERO and weight <= LARGEST)
            if valued:
                one = weight * row(label, margin, weight0, weight1, gamma0, gamma1)
                other = ZERO
            else:
                one, other = row(label, margin, weight0, weight1, gamma0, gamma1, per_step)
                one *= weight
                other *= weight
            if several:
                first[r, c] = one
                if not valued:
                    second[r, c] = other
            else:
                first[i] = one
                if not valued:
                    second[i] = other
            if bad or refused(one):
                found[0] = 1

    return kernel


@inlined
def clamp(z):
    return minimum(maximum(z, -QUARTER), QUARTER)


@inlined
def side(shift, is_top, others, inverse, log_total, weight, gamma):
    """p, q, pull, curve, pace and surplus of a class as the true one: see `rows`."""
    p, q, log_p, log_q = against_rest(shift, exp(shift), is_top, others, inverse, log_total)
    pull, curve = derivatives(p, q, log_p, log_q, weight, gamma)
    pace, surplus = posterior_terms(q, pull, curve, is_top)
    return p, q, pull, curve, pace, surplus


@lru_cache
def softmax_kernel(formula: str, weighted: bool) -> Any:
    """The kernel for rows of K classes: its loops over the classes read their margins again, and store nothing.

    It puts a 1 into `found` if it meets a value to refuse.
    """
    valued, expected = formula == "values", formula == "gradient_expected"

    @cuda.jit
    def kernel(y, z, w, alphas, gamma, per_step, first, second, found):
        n, n_classes = z.shape
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            weight = np.float32(w[i]) if weighted else ONE
            given = np.float32(y[i])
            label = int(given) if given >= ZERO and given < np.float32(n_classes) else 0
            bad = not (weight >= ZERO and weight <= LARGEST) or given != np.float32(label)

            top, highest = 0, clamp(z[i, 0])
            for k in range(n_classes):
                margin = clamp(z[i, k])
                bad = bad or margin != margin
                if margin > highest:
                    top, highest = k, margin
            others, thirds = ZERO, ZERO
            for k in range(n_classes):
                e = exp(np.float32(clamp(z[i, k]) - highest)) if k != top else ZERO
                others += e
                thirds += e if k != label else ZERO
            inverse, log_total = ONE / (ONE + others), log1p(others)

            # the true class
            own_shift = np.float32(clamp(z[i, label]) - highest)
            if valued:
                _, q, log_p, log_q = against_rest(own_shift, exp(own_shift), label == top, others, inverse, log_total)
                value = weight * loss(q, log_p, log_q, alphas[label], gamma)
                first[i] = value
                if bad or refused(value):
                    found[0] = 1
                continue
            _, own_q, own_pull, own_curve, _, _ = side(
                own_shift, label == top, others, inverse, log_total, alphas[label], gamma
            )
            ratio = inverse / maximum(own_q, TINY)

            # the posterior, and the sums of the Hessian expected under it
            pace_top, surplus_top, total, surplus_sum = ONE, ZERO, ZERO, ZERO
            if expected:
                _, _, _, _, pace_top, surplus_top = side(ZERO, True, others, inverse, log_total, alphas[top], gamma)
                surplus_top *= inverse
                for k in range(n_classes):
                    shift = np.float32(clamp(z[i, k]) - highest)
                    p, _, _, _, pace, surplus = side(shift, k == top, others, inverse, log_total, alphas[k], gamma)
                    eta = posterior(p, pace, pace_top, k == top)
                    total += eta
                    surplus_sum += eta * surplus if k != top else ZERO

            for k in range(n_classes):
                shift = np.float32(clamp(z[i, k]) - highest)
                e = exp(shift)
                r = e * ratio
                # of the largest margin's class 1 - r would cancel, where another is the true one
                rest = thirds * ratio if k == top and k != label else ONE - r
                gradient, hessian = other_derivatives(own_pull, own_curve, r, rest)
                if k == label:
                    gradient, hessian = -own_pull, own_curve
                if expected:
                    p, q, _, curve, pace, surplus = side(shift, k == top, others, inverse, log_total, alphas[k], gamma)
                    eta = posterior(p, pace, pace_top, k == top)
                    share = ZERO if k == top else e / maximum(others, TINY)
                    without = surplus_sum - (eta * surplus if k != top else ZERO)
                    hessian = expected_hessian(p, q, share, eta, curve, pace_top, without, surplus_top) / total
                    hessian = maximum(hessian, absolute(gradient) * per_step)
                gradient *= weight
                hessian *= weight
                first[i, k] = gradient
                second[i, k] = hessian
                bad = bad or refused(gradient) or refused(hessian)
            if bad:
                found[0] = 1

    return kernel


@cuda.jit
def sum_kernel(values, partial):
    """The sum of each block's values; `partial` has one place a block."""
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


# --- running -------------------------------------------------------------------------------------


def _grid(n: int) -> tuple[int, int]:
    return min(max(-(-n // THREADS), MIN_BLOCKS), MAX_BLOCKS), THREADS


def moved(array: Any) -> DeviceArray:
    """An array of the host on the device, in a type and byte order that devices have; Numba's own are there."""
    if hasattr(array, "__cuda_ndarray__"):
        return array
    native = np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return cuda.to_device(np.ascontiguousarray(array, native))


def _device() -> int:
    return getattr(cuda.current_context().device, "id", 0)  # the simulator's one has no number


class _Flags(threading.local):
    """A number on each device, of this thread alone, which is 0 between launches."""

    def __init__(self) -> None:
        self._of_device: dict[int, DeviceArray] = {}

    def here(self) -> DeviceArray:
        device = _device()
        if device not in self._of_device:
            self._of_device[device] = cuda.to_device(np.zeros(1, np.int32))
        return self._of_device[device]


_flags = _Flags()


def run(kernel: Any, n_threads: int, inputs: list[Any], scalars: tuple[Any, ...], out: list[DeviceArray]) -> bool:
    """Launch a kernel, and tell whether it met a value to refuse; when this returns, the results are there.

    The smallest copy to the device takes as long as a kernel of ten million rows: flags and `constants` stay there.
    """
    if not n_threads:
        return False
    flag = _flags.here()
    kernel[_grid(n_threads)](*inputs, *scalars, *out, flag)
    found = bool(flag.copy_to_host()[0])
    if found:
        flag.copy_to_device(np.zeros(1, np.int32))
    return found


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


def inputs_on_device(labels: Any, margins: Any, weights: Any) -> tuple[list[DeviceArray], Any]:
    """Labels, margins and weights on the device, and the memory order of results beside the margins."""
    y, z = moved(labels), moved(margins)
    by_column = z.ndim > 1 and z.is_f_contiguous() and not z.is_c_contiguous()
    return [y, z, y if weights is None else moved(weights)], "F" if by_column else "C"


def gradient_hessian(
    labels: Any, margins: Any, weights: Any, parameters: tuple[RowParameters, ...], exact: bool, max_step: float,
    out: Gradients | None = None,
) -> tuple[DeviceArray, DeviceArray, bool]:  # fmt: skip
    """`elementwise.gradient_hessian` on the device, of arrays of which some are there already."""
    inputs, order = inputs_on_device(labels, margins, weights)
    shape = inputs[1].shape
    gradient, hessian = results(shape, order, out)
    row = formulas["gradient_exact" if exact else "gradient_expected"]
    kernel = elementwise_kernel(row, False, np.float32, len(shape) > 1, weights is not None)
    scalars = constants(parameters, np.float32), np.float32(1 / max_step), order == "F"
    return gradient, hessian, run(kernel, math.prod(shape), inputs, scalars, [gradient, hessian])


def losses(
    labels: Any, margins: Any, weights: Any, parameters: tuple[RowParameters, ...],
    row: Any = formulas["values"], real: type = np.float32,
) -> tuple[DeviceArray, bool]:  # fmt: skip
    """`elementwise.losses` on the device, or another number of each element."""
    inputs, order = inputs_on_device(labels, margins, weights)
    shape = inputs[1].shape
    result = cuda.device_array(shape, real, order=order)
    kernel = elementwise_kernel(row, True, real, len(shape) > 1, weights is not None)
    scalars = constants(parameters, real), real(0), order == "F"
    return result, run(kernel, math.prod(shape), inputs, scalars, [result, result])


def class_gradient_hessian(
    labels: Any, margins: Any, sample_weight: Any, weights: NDArray[np.float64], gamma: float, exact: bool,
    max_step: float, out: Gradients | None = None,
) -> tuple[DeviceArray, DeviceArray, bool]:  # fmt: skip
    """`softmax.gradient_hessian` on the device, of arrays of which some are there already."""
    inputs, order = inputs_on_device(labels, margins, sample_weight)
    shape = inputs[1].shape
    gradient, hessian = results(shape, order, out)
    kernel = softmax_kernel("gradient_exact" if exact else "gradient_expected", sample_weight is not None)
    scalars = constants(weights, np.float32), np.float32(gamma), np.float32(1 / max_step)
    return gradient, hessian, run(kernel, shape[0], inputs, scalars, [gradient, hessian])


def class_losses(
    labels: Any, margins: Any, sample_weight: Any, weights: NDArray[np.float64], gamma: float
) -> tuple[DeviceArray, bool]:
    """`softmax.losses` on the device."""
    inputs, _ = inputs_on_device(labels, margins, sample_weight)
    result = cuda.device_array(inputs[1].shape[:1], np.float32)
    kernel = softmax_kernel("values", sample_weight is not None)
    scalars = constants(weights, np.float32), np.float32(gamma), np.float32(0)
    return result, run(kernel, result.shape[0], inputs, scalars, [result, result])


def total(values: DeviceArray) -> float:
    """Sum in float64, of numbers of shape (n,) or (n, L)."""
    flat = values if values.ndim == 1 else values.ravel(order="F" if values.is_f_contiguous() else "C")
    blocks, _ = _grid(flat.shape[0])
    partial = cuda.device_array(blocks, np.float64)
    sum_kernel[blocks, THREADS](flat, partial)
    return float(partial.copy_to_host().sum())
