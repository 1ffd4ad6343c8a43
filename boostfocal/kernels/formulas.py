"""The formulas of one row, written once.

They name only a handful of primitives (`exp`, `log`, `log1p`, `power`, `where`, ...). As they stand
these are NumPy's, so every function here works on float64 arrays; a compiler binds the same text to
the primitives of its device, see `bind`.

Seen from its true class, a row has the probability `p` of that class, `q = 1 - p`, and the class's log
odds against the rest, `x = log p - log q`: the focal loss is a function of x alone, however many
classes there are. Of two classes, with the margin `z` and `s = sigmoid(z)`, `t = 1 - s`, a positive row
has p = s and x = z, a negative one p = t and x = -z. Of K classes p is the softmax of the margins z_k,
and x = z_y - log sum exp of the other margins. The weight of the row's class is `alpha`.
"""

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import numpy as np
from numpy import absolute, exp, finfo, float64, log, log1p, maximum, minimum, where

Value = Any
"""A scalar or an array, of whatever type the bound primitives take."""

RowParameters = tuple[float, float, float, float]
"""alpha0, alpha1, gamma0, gamma1: weight and gamma of negative and of positive rows."""

ONE = 1.0  # a name, because a literal would widen float32 scalars in a compiled kernel
LARGEST = finfo(float64).max  # |z| is cut here, so that infinite margins give limits and not NaN
HUGE = 1e20  # a class so much likelier than that of the largest margin, for its alpha, has all of the posterior
TINY = finfo(float64).tiny  # keeps 0 / 0 out where both magnitudes underflow (gamma > 100)


def swap_unless(condition: Value, a: Value, b: Value) -> tuple[Value, Value]:
    """a and b where the condition holds, b and a elsewhere."""
    if not (isinstance(a, np.ndarray) and a.dtype == float64 and a.size > 1000):
        return where(condition, a, b), where(condition, b, a)
    # by their bits: of a condition that changes from one number to the next, `where` takes three times as long
    bits_a, bits_b = a.view(np.int64), b.view(np.int64)
    differing = bits_a ^ bits_b
    differing &= condition.astype(np.int64) - 1
    return (bits_a ^ differing).view(float64), (bits_b ^ differing).view(float64)


def scale(gamma: Value, x: Value) -> Value:
    """gamma x; compilers may leave x out where gamma is a constant 0."""
    return gamma * x


def power(q: Value, log_q: Value, gamma: Value) -> Value:
    """q**gamma; compilers may use log_q instead."""
    return q**gamma


def sigmoid_and_logs(z: Value) -> tuple[Value, Value, Value, Value]:
    """s, t, log s and log t from exp(-|z|) alone: no cancellation, no overflow."""
    distance = minimum(absolute(z), LARGEST)
    e = exp(-distance)
    likely = ONE / (ONE + e)
    unlikely = e * likely
    log_likely = -log1p(e)
    log_unlikely = log_likely - distance
    positive = z >= 0
    s, t = swap_unless(positive, likely, unlikely)
    log_s, log_t = swap_unless(positive, log_likely, log_unlikely)
    return s, t, log_s, log_t


def loss(q: Value, log_p: Value, log_q: Value, alpha: Value, gamma: Value) -> Value:
    """Focal loss of a row of a known class: -alpha q^gamma log p (Lin et al. 2017, eq. 5)."""
    return -alpha * power(q, log_q, gamma) * log_p


def gradient_factor(p: Value, q: Value, log_p: Value, gamma: Value) -> Value:
    """|dFL/dz| / (alpha q^gamma) = q - gamma p log p: a sum of two terms that are never negative."""
    return q - scale(gamma, p * log_p)


def curvature_factor(p: Value, q: Value, log_p: Value, gamma: Value) -> Value:
    """d²FL/dz² / (alpha q^gamma) = p [q (1 + 2 gamma) + gamma log p (q - gamma p)].

    p log p is taken first: at infinite margins it is 0, where gamma log p alone would overflow.
    """
    return p * q * (ONE + gamma + gamma) + scale(gamma, p * log_p) * (q - gamma * p)


def derivatives(p: Value, q: Value, log_p: Value, log_q: Value, alpha: Value, gamma: Value) -> tuple[Value, Value]:
    """-dFL/dx, which is never negative, and d²FL/dx², of a row of a known class."""
    scaled = alpha * power(q, log_q, gamma)
    return scaled * gradient_factor(p, q, log_p, gamma), scaled * curvature_factor(p, q, log_p, gamma)


# --- two classes ---------------------------------------------------------------------------------


def gradient_exact(
    y: Value, z: Value, alpha0: Value, alpha1: Value, gamma0: Value, gamma1: Value, inverse_max_step: Value
) -> tuple[Value, Value]:
    """dFL/dz and d²FL/dz², linear in y between the two classes (soft labels)."""
    s, t, log_s, log_t = sigmoid_and_logs(z)
    psi0, curvature0 = derivatives(t, s, log_t, log_s, alpha0, gamma0)
    psi1, curvature1 = derivatives(s, t, log_s, log_t, alpha1, gamma1)
    return (ONE - y) * psi0 - y * psi1, (ONE - y) * curvature0 + y * curvature1


def gradient_expected(
    y: Value, z: Value, alpha0: Value, alpha1: Value, gamma0: Value, gamma1: Value, inverse_max_step: Value
) -> tuple[Value, Value]:
    """dFL/dz and the Hessian expected under the posterior, at least |gradient| inverse_max_step.

    With `psi0` and `psi1` the gradient's magnitude for a negative and a positive row, the posterior
    is eta = psi0 / (psi0 + psi1), so eta h1 + (1 - eta) h0 = (psi0 h1 + psi1 h0) / (psi0 + psi1).
    """
    s, t, log_s, log_t = sigmoid_and_logs(z)
    psi0, curvature0 = derivatives(t, s, log_t, log_s, alpha0, gamma0)
    psi1, curvature1 = derivatives(s, t, log_s, log_t, alpha1, gamma1)
    gradient = (ONE - y) * psi0 - y * psi1
    expected = (psi0 * curvature1 + psi1 * curvature0) / maximum(psi0 + psi1, TINY)
    return gradient, maximum(expected, absolute(gradient) * inverse_max_step)


def focal_loss(y: Value, z: Value, alpha0: Value, alpha1: Value, gamma0: Value, gamma1: Value) -> Value:
    """Focal loss of a row, linear in y between the two classes."""
    s, t, log_s, log_t = sigmoid_and_logs(z)
    return (ONE - y) * loss(s, log_t, log_s, alpha0, gamma0) + y * loss(t, log_s, log_t, alpha1, gamma1)


# --- K classes: from one class's side -------------------------------------------------------------


def all_but(e: Value, is_top: Value, others: Value) -> Value:
    """The sum of e over all other classes: of the class of the largest margin it is `others`, as 1 - p would cancel."""
    return where(is_top, others, ONE + (others - e))


def against_rest(
    shift: Value, e: Value, is_top: Value, others: Value, inverse: Value, log_total: Value
) -> tuple[Value, Value, Value, Value]:
    """p, q, log p and log q of a class whose margin is `shift` from the largest, with e = exp(shift).

    `others` sums e over all classes but the one of the largest margin, which has is_top and e = 1; the
    total is 1 + others.
    """
    rest = all_but(e, is_top, others)
    return e * inverse, rest * inverse, shift - log_total, log(rest) - log_total


def other_derivatives(psi: Value, curvature: Value, r: Value, rest: Value) -> tuple[Value, Value]:
    """dFL/dz_k and d²FL/dz_k² for a class k that is not the true one, whose `derivatives` are given.

    By the chain rule: r = p_k / q_y is k's share among the others, `rest` = 1 - r, dx/dz_k = -r, and
    d²x/dz_k² = -r (1 - r).
    """
    return psi * r, curvature * (r * r) + psi * (r * rest)


def posterior_terms(q: Value, psi: Value, curvature: Value, is_top: Value) -> tuple[Value, Value]:
    """psi_over_q = psi / q and excess = (curvature - psi) / q² of a class as the true one.

    The class posterior is eta_y ~ p_y / psi_over_q_y: with it the expected gradient, sum_y eta_y psi_over_q_y
    (p_k - [k=y]), is zero for every k. The excess is left undivided for the class of the largest
    margin, whose q may be tiny.
    """
    inverse = ONE / maximum(q, TINY)
    return psi * inverse, (curvature - psi) * where(is_top, ONE, inverse * inverse)


def posterior(p: Value, psi_over_q: Value, psi_over_q_top: Value, is_top: Value) -> Value:
    """eta of a class, times psi_over_q_top and a constant of the row."""
    return where(is_top, p, p * minimum(psi_over_q_top / maximum(psi_over_q, TINY), HUGE))


def expected_hessian(
    p: Value, q: Value, r: Value, eta: Value, curvature: Value, psi_over_q_top: Value, excess: Value, excess_top: Value
) -> Value:
    """sum_y eta_y d²FL_y/dz_k², with eta as from `posterior`.

    From `other_derivatives`, for k as the true class and for the others:
    eta_k curvature_k + p_k q_k psi_over_q_top + p_k² sum_y!=k eta_y excess_y. `excess` is that sum without the
    class of the largest margin, for which r = p_k / q stands in; for itself r is 0.
    """
    return eta * curvature + p * (q * psi_over_q_top + p * excess) + r * r * excess_top


# --- the posterior, in float64 only ---------------------------------------------------------------


def psi(p: Value, q: Value, log_p: Value, log_q: Value, alpha: Value, gamma: Value) -> Value:
    """-dFL/dx of a row of a known class, the first of its `derivatives`."""
    return alpha * power(q, log_q, gamma) * gradient_factor(p, q, log_p, gamma)


def log_psi(p: Value, q: Value, log_p: Value, log_q: Value, alpha: Value, gamma: Value) -> Value:
    """log(-dFL/dx) from logarithms: nothing underflows, and where q does, -log p / q is its limit 1."""
    steepness = where(q > TINY, -log_p / maximum(q, TINY), ONE)
    return log(alpha) + (gamma + ONE) * log_q + log1p(gamma * (p * steepness))


def log_odds(z: Value, alpha0: Value, alpha1: Value, gamma0: Value, gamma1: Value) -> Value:
    """Log odds of the class posterior, log(psi0) - log(psi1)."""
    s, t, log_s, log_t = sigmoid_and_logs(z)
    return log_psi(t, s, log_t, log_s, alpha0, gamma0) - log_psi(s, t, log_s, log_t, alpha1, gamma1)


def odds(z: Value, alpha0: Value, alpha1: Value, gamma0: Value, gamma1: Value) -> tuple[Value, Value]:
    """psi1 and psi0, to which the class posterior of negatives and of positives is proportional."""
    s, t, log_s, log_t = sigmoid_and_logs(z)
    return psi(s, t, log_s, log_t, alpha1, gamma1), psi(t, s, log_t, log_s, alpha0, gamma0)


def log_odds_and_slope(z: Value, alpha0: Value, alpha1: Value, gamma0: Value, gamma1: Value) -> tuple[Value, Value]:
    """log_odds and its derivative, which is from 1/2 up to 1 + gamma, and not a number where a sigmoid underflows."""
    s, t, log_s, log_t = sigmoid_and_logs(z)
    log_odds = log_psi(t, s, log_t, log_s, alpha0, gamma0) - log_psi(s, t, log_s, log_t, alpha1, gamma1)
    slope0 = curvature_factor(t, s, log_t, gamma0) / gradient_factor(t, s, log_t, gamma0)
    slope1 = curvature_factor(s, t, log_s, gamma1) / gradient_factor(s, t, log_s, gamma1)
    return log_odds, slope0 + slope1


def log_posterior(p: Value, q: Value, log_p: Value, log_q: Value, alpha: Value, gamma: Value) -> Value:
    """log(p q / psi) of a class, which is log eta up to a constant of the row."""
    return log_p + log_q - log_psi(p, q, log_p, log_q, alpha, gamma)


FORMULAS = (
    sigmoid_and_logs, loss, gradient_factor, curvature_factor, derivatives, gradient_exact, gradient_expected,
    focal_loss, all_but, against_rest, other_derivatives, posterior_terms, posterior,
    expected_hessian, psi, log_psi, log_odds, odds, log_posterior,
)  # fmt: skip


def bind(primitives: Mapping[str, Any], compile: Callable[..., Any]) -> dict[str, Any]:
    """The formulas with their primitives replaced, each passed through `compile`, by name."""
    space = dict(primitives)
    for formula in FORMULAS:
        space[formula.__name__] = compile(FunctionType(formula.__code__, space, formula.__name__))
    return space


OF_NUMBERS = bind(
    {
        "ONE": ONE, "LARGEST": float(LARGEST), "HUGE": HUGE, "TINY": float(TINY), "absolute": abs, "exp": math.exp,
        "log": lambda x: math.log(x) if x else -math.inf, "log1p": math.log1p, "minimum": min, "maximum": max,
        "scale": scale, "where": lambda condition, a, b: a if condition else b, "power": power,
        "swap_unless": lambda condition, a, b: (a, b) if condition else (b, a),
    },
    lambda formula: formula,
)  # fmt: skip
"""The formulas of Python's numbers, for a single row, of which NumPy's calls take far longer than the arithmetic."""
