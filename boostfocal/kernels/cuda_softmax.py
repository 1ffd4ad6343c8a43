"""Rows of K classes on a CUDA device: a thread takes a row, as `softmax` does on the CPU."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda as numba_cuda
from numpy.typing import NDArray

from ..batch import Batch
from . import cuda
from .cuda import (
    LARGEST,
    LIMIT,
    ONE,
    QUARTER,
    TINY,
    ZERO,
    DeviceArray,
    Gradients,
    absolute,
    bound,
    bound64,
    exp,
    inlined,
    log1p,
    log64,
    maximum,
    minimum,
    refused,
)  # fmt: skip

against_rest, derivatives, loss = bound["against_rest"], bound["derivatives"], bound["loss"]
posterior_terms, posterior = bound["posterior_terms"], bound["posterior"]
other_derivatives, expected_hessian = bound["other_derivatives"], bound["expected_hessian"]
against_rest64, log_posterior = bound64["against_rest"], bound64["log_posterior"]


@inlined
def clamp(z):
    return minimum(maximum(z, -QUARTER), QUARTER)


@inlined
def side(shift, is_top, others, inverse, log_total, alpha, gamma):
    """p, q, psi, curvature, psi_over_q and excess of a class as the true one: see `formulas`."""
    p, q, log_p, log_q = against_rest(shift, exp(shift), is_top, others, inverse, log_total)
    psi, curvature = derivatives(p, q, log_p, log_q, alpha, gamma)
    psi_over_q, excess = posterior_terms(q, psi, curvature, is_top)
    return p, q, psi, curvature, psi_over_q, excess


@lru_cache
def softmax_kernel(formula: str, weighted: bool) -> Any:
    """The kernel for rows of K classes: its loops over the classes read their margins again, and store nothing.

    It puts a 1 into `invalid` if it meets a value to refuse.
    """
    valued, expected = formula == "focal_loss", formula == "gradient_expected"

    @numba_cuda.jit
    def kernel(y, z, w, alphas, gamma, inverse_max_step, first, second, invalid):
        n, n_classes = z.shape
        for i in range(numba_cuda.grid(1), n, numba_cuda.gridsize(1)):
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
                    invalid[0] = 1
                continue
            _, own_q, own_pull, own_curve, _, _ = side(
                own_shift, label == top, others, inverse, log_total, alphas[label], gamma
            )
            ratio = inverse / maximum(own_q, TINY)

            # the posterior, and the sums of the Hessian expected under it
            psi_over_q_top, excess_top, total, excess_sum = ONE, ZERO, ZERO, ZERO
            if expected:
                _, _, _, _, psi_over_q_top, excess_top = side(
                    ZERO, True, others, inverse, log_total, alphas[top], gamma
                )
                excess_top *= inverse
                for k in range(n_classes):
                    shift = np.float32(clamp(z[i, k]) - highest)
                    p, _, _, _, psi_over_q, excess = side(shift, k == top, others, inverse, log_total, alphas[k], gamma)
                    eta = posterior(p, psi_over_q, psi_over_q_top, k == top)
                    total += eta
                    excess_sum += eta * excess if k != top else ZERO

            for k in range(n_classes):
                shift = np.float32(clamp(z[i, k]) - highest)
                e = exp(shift)
                r = e * ratio
                # for the class of the largest margin, 1 - r would cancel if another class is the true one
                rest = thirds * ratio if k == top and k != label else ONE - r
                gradient, hessian = other_derivatives(own_pull, own_curve, r, rest)
                if k == label:
                    gradient, hessian = -own_pull, own_curve
                if expected:
                    p, q, _, curvature, psi_over_q, excess = side(
                        shift, k == top, others, inverse, log_total, alphas[k], gamma
                    )
                    eta = posterior(p, psi_over_q, psi_over_q_top, k == top)
                    share = ZERO if k == top else e / maximum(others, TINY)
                    without = excess_sum - (eta * excess if k != top else ZERO)
                    hessian = expected_hessian(p, q, share, eta, curvature, psi_over_q_top, without, excess_top) / total
                    hessian = maximum(hessian, absolute(gradient) * inverse_max_step)
                gradient *= weight
                hessian *= weight
                first[i, k] = gradient
                second[i, k] = hessian
                bad = bad or refused(gradient) or refused(hessian)
            if bad:
                invalid[0] = 1

    return kernel


@lru_cache
def class_scores_kernel(brier: bool, weighted: bool) -> Any:
    """The kernel for log loss, or squared error, of the posterior of rows of K classes, as `softmax_kernel`."""

    @inlined
    def log_eta(shift, is_top, others, log_total, log_q_top, alpha, gamma):
        p, q, log_p, log_q = against_rest64(shift, math.exp(shift), is_top, others, 1.0 / (1.0 + others), log_total)
        return log_posterior(p, q, log_p, log_q_top if is_top else log_q, alpha, gamma)

    @numba_cuda.jit
    def kernel(y, z, w, alphas, gamma, result, invalid):
        n, n_classes = z.shape
        for i in range(numba_cuda.grid(1), n, numba_cuda.gridsize(1)):
            weight = np.float64(w[i]) if weighted else 1.0
            given = np.float64(y[i])
            label = int(given) if given >= 0 and given < n_classes else 0
            bad = not (weight >= 0 and weight <= LARGEST) or given != label
            top, highest, second = 0, -LIMIT, -LIMIT
            for k in range(n_classes):
                margin = minimum(maximum(np.float64(z[i, k]), -LIMIT), LIMIT)
                bad = bad or margin != margin
                if margin > highest:
                    top, second, highest = k, highest, margin
                elif margin > second:
                    second = margin
            others, below_second = 0.0, 0.0
            for k in range(n_classes):
                margin = minimum(maximum(np.float64(z[i, k]), -LIMIT), LIMIT)
                others += math.exp(margin - highest) if k != top else 0.0
                below_second += math.exp(margin - second) if k != top else 0.0
            log_total = math.log1p(others)
            log_q_top = second - highest + log64(below_second) - log_total
            largest = -LIMIT
            for k in range(n_classes):
                shift = minimum(maximum(np.float64(z[i, k]), -LIMIT), LIMIT) - highest
                largest = maximum(largest, log_eta(shift, k == top, others, log_total, log_q_top, alphas[k], gamma))
            total, squares, own = 0.0, 0.0, 0.0
            for k in range(n_classes):
                shift = minimum(maximum(np.float64(z[i, k]), -LIMIT), LIMIT) - highest
                score = log_eta(shift, k == top, others, log_total, log_q_top, alphas[k], gamma) - largest
                e = math.exp(score)
                total += e
                squares += e * e
                own = score if k == label else own
            value = squares / (total * total) - 2.0 * math.exp(own) / total + 1.0 if brier else math.log(total) - own
            result[i] = weight * value
            if bad:
                invalid[0] = 1

    return kernel


def gradient_hessian(
    batch: Batch, alpha: NDArray[np.float64], gamma: float, *, exact: bool, max_step: float, in_engine: bool = False,
    out: Gradients | None = None,
) -> tuple[DeviceArray, DeviceArray, bool]:  # fmt: skip
    """`softmax.gradient_hessian` on the device; into `out`, of an earlier call, if it is given."""
    inputs, order = cuda.inputs(batch)
    shape = inputs[1].shape
    gradient, hessian = cuda.results(shape, order, out)
    kernel = softmax_kernel("gradient_exact" if exact else "gradient_expected", batch.sample_weight is not None)
    scalars = cuda.constants(alpha, np.float32), np.float32(gamma), np.float32(1 / max_step)
    return gradient, hessian, cuda.run(kernel, shape[0], inputs, scalars, [gradient, hessian])


def losses(batch: Batch, alpha: NDArray[np.float64], gamma: float) -> tuple[DeviceArray, bool]:
    """`softmax.losses` on the device."""
    inputs, _ = cuda.inputs(batch)
    result = numba_cuda.device_array(inputs[1].shape[:1], np.float32)
    kernel = softmax_kernel("focal_loss", batch.sample_weight is not None)
    scalars = cuda.constants(alpha, np.float32), np.float32(gamma), np.float32(0)
    return result, cuda.run(kernel, result.shape[0], inputs, scalars, [result, result])


def scores(score: str, batch: Batch, alpha: NDArray[np.float64], gamma: float) -> tuple[DeviceArray, bool]:
    """Weighted log loss or squared error of the posterior, of each row, and whether to look for a bad value."""
    inputs, _ = cuda.inputs(batch)
    result = numba_cuda.device_array(inputs[1].shape[:1], np.float64)
    kernel = class_scores_kernel(score == "brier", batch.sample_weight is not None)
    scalars = cuda.constants(alpha, np.float64), np.float64(gamma)
    return result, cuda.run(kernel, result.shape[0], inputs, scalars, [result])
