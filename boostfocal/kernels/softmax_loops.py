"""The loops over rows and classes that `softmax` runs."""

from typing import Any

import numpy as np

from . import simd
from .claims import claim, complete
from .simd import (
    LARGEST,
    ONE,
    TILE,
    TINY,
    ZERO,
    bits,
    compiled,
    exp,
    inlined,
    join,
    log_total,
    maximum,
    minimum,
    nonfinite,
    turn_tile,
    where,
)
from .softmax import BLOCK, CLASS_FIELDS, ROW_FIELDS

QUARTER = np.float32(LARGEST / 4)

# fields of the rows' buffer, and of a class's
(
    WEIGHT,
    LABEL,
    TOP,
    OTHERS,
    THIRDS,
    INVERSE,
    LOG_TOTAL,
    OWN_SHIFT,
    OWN_E,
    OWN_ALPHA,
    PSI,
    CURVATURE,
    RATIO,
    PER_OTHERS,
) = (BLOCK * i for i in range(ROW_FIELDS))
TOP_ALPHA, PSI_OVER_Q_TOP, EXCESS_TOP, TOTAL, EXCESS_SUM = (
    CURVATURE,
    OWN_SHIFT,
    OWN_E,
    OWN_ALPHA,
    THIRDS,
)  # when those are done with
SHIFT, E, CLASS_CURVATURE, ETA, EXCESS = (BLOCK * i for i in range(CLASS_FIELDS))
GRADIENT, HESSIAN = SHIFT, CLASS_CURVATURE  # likewise


@inlined
def clamp(z):
    """A quarter of float32's range, so that the difference of two margins is finite; keeps NaN."""
    return minimum(maximum(z, -QUARTER), QUARTER)


@inlined
def index(number):
    """Of a class: unsigned, so that Numba does not make a negative one count from the end."""
    return np.uint32(number)


@compiled
def move(source, to):
    for i in range(source.size):
        to[i] = source[i]


@compiled
def turn(source, to):
    """to[j, i] = source[i, j], each with its second axis contiguous: in tiles, the last of which overlap."""
    n, m = source.shape
    if min(n, m) < TILE:
        for i in range(n):
            for j in range(m):
                to[j, i] = source[i, j]
    elif n < m:
        for i in range(0, n, TILE):
            first = min(i, n - TILE)
            for j in range(0, m - TILE, TILE):
                turn_tile(source, first, j, to)
            turn_tile(source, first, m - TILE, to)
    else:
        for j in range(0, m, TILE):
            first = min(j, m - TILE)
            for i in range(0, n - TILE, TILE):
                turn_tile(source, i, first, to)
            turn_tile(source, n - TILE, first, to)


@compiled
def fetch_rows(z, start, stop, margins):
    turn(z[start:stop], margins[:, : stop - start])


@compiled
def fetch_columns(z, start, stop, margins):
    for k in range(margins.shape[0]):
        move(z[start:stop, k], margins[k])


@compiled
def store_rows(classes, field, out, start, stop):
    turn(classes[:, field : field + stop - start], out[start:stop])


@compiled
def store_columns(classes, field, out, start, stop):
    for k in range(classes.shape[0]):
        move(classes[k, field : field + stop - start], out[start:stop, k])


@compiled
def load(margins, peak, classes, row):
    """Each row's largest margin, and the distances from it; the sign bit of the result is set for a NaN."""
    signs = np.int32(0)
    for i in range(BLOCK):
        peak[i] = -QUARTER
        row[TOP + i] = ZERO
    for k in range(classes.shape[0]):
        column, number = margins[k], np.float32(k)
        for i in range(BLOCK):
            margin, highest, top = clamp(column[i]), peak[i], row[TOP + i]
            higher = margin > highest
            column[i] = margin
            peak[i] = where(higher, margin, highest)
            row[TOP + i] = where(higher, number, top)
            signs = join(signs, nonfinite(np.float32(margin)))
    for k in range(classes.shape[0]):
        column, c = margins[k], classes[k]
        for i in range(BLOCK):
            c[SHIFT + i] = column[i] - peak[i]
    return signs


def build(formula: str, gamma: float | None, layout: str) -> Any:
    """Compile the loops for margins of a layout; with `gamma`, which must be one of COMPILED, as a constant.

    As in `elementwise`, they return True if they met a value to refuse.
    """
    bound = simd.bound_formulas(halves=gamma is not None)
    against_rest, derivatives, loss = bound["against_rest"], bound["derivatives"], bound["loss"]
    other_derivatives, expected_hessian = bound["other_derivatives"], bound["expected_hessian"]
    posterior_terms, posterior = bound["posterior_terms"], bound["posterior"]
    constant = gamma is not None
    gamma_constant = np.float32(gamma or 0)
    fetch, store = (fetch_columns, store_columns) if layout == "F" else (fetch_rows, store_rows)
    valued, expected = formula == "focal_loss", formula == "gradient_expected"

    @compiled
    def block(classes, row, alphas, gamma, inverse_max_step):
        if constant:
            gamma = gamma_constant
        n_classes = alphas.size
        beyond = np.float32(n_classes)
        signs = np.int32(0)

        # exponentials and their sums
        for i in range(BLOCK):
            row[OTHERS + i] = ZERO
            row[THIRDS + i] = ZERO
        for k in range(n_classes):
            c, number = classes[k], np.float32(k)
            for i in range(BLOCK):
                e = exp(c[SHIFT + i])
                c[E + i] = e
                other = where(row[TOP + i] == number, ZERO, e)
                row[OTHERS + i] += other
                if not expected:
                    row[THIRDS + i] += where(row[LABEL + i] == number, ZERO, other)
        for i in range(BLOCK):
            row[INVERSE + i] = ONE / (ONE + row[OTHERS + i])
            row[PER_OTHERS + i] = ONE / maximum(row[OTHERS + i], TINY)
            row[LOG_TOTAL + i] = log_total(row[OTHERS + i])

        # the true class
        for i in range(BLOCK):
            label = row[LABEL + i]
            k = index(label) if label >= ZERO and label < beyond else index(ZERO)
            signs = join(signs, np.int32(0) if label == np.float32(k) else np.int32(-1))
            row[OWN_SHIFT + i] = classes[k, SHIFT + i]
            row[OWN_E + i] = classes[k, E + i]
            row[OWN_ALPHA + i] = alphas[k]
        for i in range(BLOCK):
            signs = join(signs, bits(row[WEIGHT + i]))
            p, q, log_p, log_q = against_rest(
                row[OWN_SHIFT + i], row[OWN_E + i], row[LABEL + i] == row[TOP + i],
                row[OTHERS + i], row[INVERSE + i], row[LOG_TOTAL + i],
            )  # fmt: skip
            if valued:
                value = row[WEIGHT + i] * loss(q, log_p, log_q, row[OWN_ALPHA + i], gamma)
                signs = join(signs, nonfinite(value))
                row[CURVATURE + i] = value
            else:
                psi, curvature = derivatives(p, q, log_p, log_q, row[OWN_ALPHA + i], gamma)
                row[PSI + i] = psi
                row[CURVATURE + i] = curvature
                row[RATIO + i] = row[INVERSE + i] / maximum(q, TINY)
        if valued:
            return signs

        # the posterior; the gradient, and the Hessian expected under it
        if expected:
            for i in range(BLOCK):
                row[TOP_ALPHA + i] = alphas[index(row[TOP + i])]
            for i in range(BLOCK):
                p, q, log_p, log_q = against_rest(
                    ZERO, ONE, True, row[OTHERS + i], row[INVERSE + i], row[LOG_TOTAL + i]
                )
                psi, curvature = derivatives(p, q, log_p, log_q, row[TOP_ALPHA + i], gamma)
                psi_over_q, excess = posterior_terms(q, psi, curvature, True)
                row[PSI_OVER_Q_TOP + i] = psi_over_q
                row[EXCESS_TOP + i] = excess * row[INVERSE + i]
                row[TOTAL + i] = ZERO
                row[EXCESS_SUM + i] = ZERO
            for k in range(n_classes):
                c, number, alpha = classes[k], np.float32(k), alphas[k]
                for i in range(BLOCK):
                    is_top = row[TOP + i] == number
                    p, q, log_p, log_q = against_rest(
                        c[SHIFT + i], c[E + i], is_top, row[OTHERS + i], row[INVERSE + i], row[LOG_TOTAL + i]
                    )
                    psi, curvature = derivatives(p, q, log_p, log_q, alpha, gamma)
                    psi_over_q, excess = posterior_terms(q, psi, curvature, is_top)
                    eta = posterior(p, psi_over_q, row[PSI_OVER_Q_TOP + i], is_top)
                    excess = where(is_top, ZERO, eta * excess)
                    c[CLASS_CURVATURE + i] = curvature
                    c[ETA + i] = eta
                    c[EXCESS + i] = excess
                    row[TOTAL + i] += eta
                    row[EXCESS_SUM + i] += excess
            for i in range(BLOCK):
                row[TOTAL + i] = row[WEIGHT + i] / row[TOTAL + i]
                row[PSI + i] *= row[WEIGHT + i]
            for k in range(n_classes):
                c, number = classes[k], np.float32(k)
                for i in range(BLOCK):
                    is_top = row[TOP + i] == number
                    e, others = c[E + i], row[OTHERS + i]
                    q = where(is_top, others, ONE + (others - e)) * row[INVERSE + i]
                    r = where(is_top, ZERO, e * row[PER_OTHERS + i])
                    hessian = row[TOTAL + i] * expected_hessian(
                        e * row[INVERSE + i], q, r, c[ETA + i], c[CLASS_CURVATURE + i], row[PSI_OVER_Q_TOP + i],
                        row[EXCESS_SUM + i] - c[EXCESS + i], row[EXCESS_TOP + i],
                    )  # fmt: skip
                    gradient = row[PSI + i] * where(row[LABEL + i] == number, -ONE, e * row[RATIO + i])
                    hessian = maximum(hessian, abs(gradient) * inverse_max_step)
                    c[GRADIENT + i] = gradient
                    c[HESSIAN + i] = hessian
                    signs = join(signs, nonfinite(gradient + hessian))
            return signs

        # the gradient and the exact Hessian
        for k in range(n_classes):
            c, number = classes[k], np.float32(k)
            for i in range(BLOCK):
                own, psi, curvature = row[LABEL + i] == number, row[PSI + i], row[CURVATURE + i]
                r, top = c[E + i] * row[RATIO + i], row[TOP + i]
                # of the largest margin's class 1 - r would cancel, where another is the true one
                cancels, thirds = (top == number) & (top != row[LABEL + i]), row[THIRDS + i] * row[RATIO + i]
                gradient, hessian = other_derivatives(psi, curvature, r, where(cancels, thirds, ONE - r))
                gradient = where(own, -psi, gradient) * row[WEIGHT + i]
                hessian = where(own, curvature, hessian) * row[WEIGHT + i]
                c[GRADIENT + i] = gradient
                c[HESSIAN + i] = hessian
                signs = join(signs, nonfinite(gradient + hessian))
        return signs

    @compiled
    def pieces(
        progress,
        step,
        margins,
        peak,
        classes,
        row,
        y,
        z,
        z_start,
        w,
        alphas,
        gamma,
        inverse_max_step,
        first,
        second,
        out_start,
    ):
        n = y.size
        begin = claim(progress, step)
        while begin < n:
            end = min(begin + step, n)
            signs = np.int32(0)
            for start in range(begin, end, BLOCK):
                stop = min(start + BLOCK, end)
                fetch(z, z_start + start, z_start + stop, margins)
                signs = join(signs, load(margins, peak, classes, row))
                move(y[start:stop], row[LABEL:])
                if w.size == n:
                    move(w[start:stop], row[WEIGHT:])
                signs = join(signs, block(classes, row, alphas, gamma, inverse_max_step))
                if valued:
                    move(row[CURVATURE : CURVATURE + stop - start], first[out_start + start :])
                else:
                    store(classes, GRADIENT, first, out_start + start, out_start + stop)
                    store(classes, HESSIAN, second, out_start + start, out_start + stop)
            complete(progress, end - begin, signs < 0)
            begin = claim(progress, step)

    return pieces
