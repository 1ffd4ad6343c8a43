"""Binary and multilabel rows on a CUDA device: a thread takes an element, as `elementwise` does on the CPU."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda as numba_cuda

from ..batch import Batch
from . import cuda
from .cuda import (
    LARGEST,
    LIMIT,
    ONE,
    ZERO,
    DeviceArray,
    Gradients,
    absolute,
    bound,
    bound64,
    inlined,
    maximum,
    minimum,
    refused,
)  # fmt: skip
from .formulas import RowParameters

log_odds = bound64["log_odds"]


@lru_cache
def elementwise_kernel(row: Any, valued: bool, real: type, several: bool, weighted: bool) -> Any:
    """The kernel for rows of one label, or of several with `parameters` for each or for all.

    `row` is computed in `real`: one number if `valued`, else a gradient and a Hessian. The kernel puts a 1 into
    `invalid` if it meets a value to refuse.
    """

    @numba_cuda.jit
    def kernel(y, z, w, parameters, inverse_max_step, by_column, first, second, invalid):
        n = z.shape[0]
        for i in range(numba_cuda.grid(1), z.size, numba_cuda.gridsize(1)):
            if several:
                r, c = (i % n, i // n) if by_column else (i // z.shape[1], i % z.shape[1])
                label, margin = real(y[r, c]), real(z[r, c])
                j = c % parameters.shape[0]
            else:
                r, j = i, 0
                label, margin = real(y[i]), real(z[i])
            alpha0, alpha1, gamma0, gamma1 = parameters[j, 0], parameters[j, 1], parameters[j, 2], parameters[j, 3]
            weight = real(w[r]) if weighted else real(ONE)
            bad = not (label >= ZERO and label <= ONE and weight >= ZERO and weight <= LARGEST)
            if valued:
                one = weight * row(label, margin, alpha0, alpha1, gamma0, gamma1)
                other = ZERO
            else:
                one, other = row(label, margin, alpha0, alpha1, gamma0, gamma1, inverse_max_step)
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
                invalid[0] = 1

    return kernel


@inlined
def log_loss(y, z, alpha0, alpha1, gamma0, gamma1):
    """-y log eta - (1 - y) log(1 - eta), of the posterior eta."""
    x = log_odds(minimum(maximum(z, -LIMIT), LIMIT), alpha0, alpha1, gamma0, gamma1)
    return math.log1p(math.exp(-absolute(x))) + ((1.0 - y) * x if x > 0 else -y * x)


@inlined
def squared_error(y, z, alpha0, alpha1, gamma0, gamma1):
    """(eta - y)²."""
    x = log_odds(minimum(maximum(z, -LIMIT), LIMIT), alpha0, alpha1, gamma0, gamma1)
    e = math.exp(-absolute(x))
    error = (1.0 if x >= 0 else e) / (1.0 + e) - y
    return error * error


SCORES = {"log_loss": log_loss, "brier": squared_error}


def gradient_hessian(
    batch: Batch, parameters: tuple[RowParameters, ...], *, exact: bool, max_step: float, in_engine: bool = False,
    out: Gradients | None = None,
) -> tuple[DeviceArray, DeviceArray, bool]:  # fmt: skip
    """`elementwise.gradient_hessian` on the device; into `out`, of an earlier call, if it is given."""
    inputs, order = cuda.inputs(batch)
    shape = inputs[1].shape
    gradient, hessian = cuda.results(shape, order, out)
    row = bound["gradient_exact" if exact else "gradient_expected"]
    kernel = elementwise_kernel(row, False, np.float32, len(shape) > 1, batch.sample_weight is not None)
    scalars = cuda.constants(parameters, np.float32), np.float32(1 / max_step), order == "F"
    return gradient, hessian, cuda.run(kernel, math.prod(shape), inputs, scalars, [gradient, hessian])


def losses(batch: Batch, parameters: tuple[RowParameters, ...]) -> tuple[DeviceArray, bool]:
    """`elementwise.losses` on the device."""
    return _values(batch, parameters, bound["focal_loss"], np.float32)


def scores(score: str, batch: Batch, parameters: tuple[RowParameters, ...]) -> tuple[DeviceArray, bool]:
    """Weighted log loss or squared error of the posterior, of each element, and whether to look for a bad value."""
    return _values(batch, parameters, SCORES[score], np.float64)


def _values(batch: Batch, parameters: tuple[RowParameters, ...], row: Any, real: type) -> tuple[DeviceArray, bool]:
    inputs, order = cuda.inputs(batch)
    shape = inputs[1].shape
    result = numba_cuda.device_array(shape, real, order=order)
    kernel = elementwise_kernel(row, True, real, len(shape) > 1, batch.sample_weight is not None)
    scalars = cuda.constants(parameters, real), real(0), order == "F"
    return result, cuda.run(kernel, math.prod(shape), inputs, scalars, [result, result])
