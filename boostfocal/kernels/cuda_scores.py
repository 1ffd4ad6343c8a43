"""Log loss and squared error of the posterior on a CUDA device, in float64 as on the CPU."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from . import rows
from .cuda import (
    LARGEST,
    DeviceArray,
    absolute,
    constants,
    inlined,
    inputs_on_device,
    losses,
    maximum,
    minimum,
    run,
    scale,
    where,
)
from .rows import RowParameters

LIMIT, SMALLEST = np.float64(1e300), np.finfo(np.float64).tiny


@inlined
def log(x):
    return math.log(x if x > SMALLEST else SMALLEST)


formulas = rows.bind(
    {
        "ONE": np.float64(1), "LARGEST": LIMIT, "TINY": SMALLEST, "absolute": absolute, "exp": math.exp,
        "log": log, "log1p": math.log1p, "minimum": minimum, "maximum": maximum, "scale": scale, "where": where,
    },
    inlined,
)  # fmt: skip
against_rest, log_odds, log_posterior = (formulas[name] for name in ("against_rest", "log_odds", "log_posterior"))


@inlined
def log_loss(y, z, weight0, weight1, gamma0, gamma1):
    """-y log eta - (1 - y) log(1 - eta), of the posterior eta."""
    x = log_odds(minimum(maximum(z, -LIMIT), LIMIT), weight0, weight1, gamma0, gamma1)
    return math.log1p(math.exp(-absolute(x))) + ((1.0 - y) * x if x > 0 else -y * x)


@inlined
def squared_error(y, z, weight0, weight1, gamma0, gamma1):
    """(eta - y)²."""
    x = log_odds(minimum(maximum(z, -LIMIT), LIMIT), weight0, weight1, gamma0, gamma1)
    e = math.exp(-absolute(x))
    error = (1.0 if x >= 0 else e) / (1.0 + e) - y
    return error * error


@lru_cache
def class_scores_kernel(brier: bool, weighted: bool) -> Any:
    """The kernel for log loss, or squared error, of the posterior of rows of K classes, as `softmax_kernel`."""

    @inlined
    def log_eta(shift, is_top, others, log_total, log_q_top, weight, gamma):
        p, q, log_p, log_q = against_rest(shift, math.exp(shift), is_top, others, 1.0 / (1.0 + others), log_total)
        return log_posterior(p, q, log_p, log_q_top if is_top else log_q, weight, gamma)

    @cuda.jit
    def kernel(y, z, w, alphas, gamma, result, found):
        n, n_classes = z.shape
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
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
            log_q_top = second - highest + log(below_second) - log_total
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
                found[0] = 1

    return kernel


def scores(
    brier: bool, labels: Any, margins: Any, weights: Any, parameters: tuple[RowParameters, ...]
) -> tuple[DeviceArray, bool]:
    """Weighted log loss or squared error of the posterior, of each element, and whether to look for a bad value."""
    row = squared_error if brier else log_loss
    return losses(labels, margins, weights, parameters, row, np.float64)


def class_scores(
    brier: bool, labels: Any, margins: Any, sample_weight: Any, weights: NDArray[np.float64], gamma: float
) -> tuple[DeviceArray, bool]:
    """Weighted log loss or squared error of the posterior, of each row, and whether to look for a bad value."""
    inputs, _ = inputs_on_device(labels, margins, sample_weight)
    result = cuda.device_array(inputs[1].shape[:1], np.float64)
    scalars = constants(weights, np.float64), np.float64(gamma)
    return result, run(
        class_scores_kernel(brier, sample_weight is not None), result.shape[0], inputs, scalars, [result]
    )
