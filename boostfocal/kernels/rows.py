"""The formulas of one row, written once.

They name only a handful of primitives (`exp`, `log`, `log1p`, `power`, `where`, ...). As they stand
these are NumPy's, so every function here works on float64 arrays; a compiler binds the same text to
the primitives of its device, see `bind`.

Notation: `z` is the margin, `s = sigmoid(z)` the sigmoid's probability of class 1 and `t = 1 - s`.
Seen from the true class, `p` is the sigmoid's probability of that class and `q = 1 - p`: (s, t) for
a positive row, (t, s) for a negative one. `weight` is alpha for class 1 and 1 - alpha for class 0.
"""

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from numpy import absolute, exp, finfo, float64, log, log1p, maximum, minimum, where

Value = Any
"""A scalar or an array, of whatever type the bound primitives take."""

RowParameters = tuple[float, float, float, float]
"""weight0, weight1, gamma0, gamma1: class weight and gamma of negative and of positive rows."""

ONE = 1.0  # a name, because a literal would widen float32 scalars in a compiled kernel
LARGEST = finfo(float64).max  # |z| is cut here, so that infinite margins give limits and not NaN
TINY = finfo(float64).tiny  # keeps 0 / 0 out where both magnitudes underflow (gamma > 100)


def scale(gamma: Value, x: Value) -> Value:
    """gamma x; compilers may leave x out where gamma is a constant 0."""
    return gamma * x


def power(q: Value, log_q: Value, gamma: Value) -> Value:
    """q**gamma; compilers may use log_q instead."""
    return q**gamma


def sides(z: Value) -> tuple[Value, Value, Value, Value]:
    """s, t, log s and log t from exp(-|z|) alone: no cancellation, no overflow."""
    distance = minimum(absolute(z), LARGEST)
    e = exp(-distance)
    likely = ONE / (ONE + e)
    unlikely = e * likely
    log_likely = -log1p(e)
    log_unlikely = log_likely - distance
    up = z >= 0
    return (
        where(up, likely, unlikely),
        where(up, unlikely, likely),
        where(up, log_likely, log_unlikely),
        where(up, log_unlikely, log_likely),
    )


def loss(q: Value, log_p: Value, log_q: Value, weight: Value, gamma: Value) -> Value:
    """Focal loss of a row of a known class: -weight q^gamma log p (Lin et al. 2017, eq. 5)."""
    return -weight * power(q, log_q, gamma) * log_p


def slope(p: Value, q: Value, log_p: Value, gamma: Value) -> Value:
    """|dFL/dz| / (weight q^gamma) = q - gamma p log p: a sum of two terms that are never negative."""
    return q - scale(gamma, p * log_p)


def bend(p: Value, q: Value, log_p: Value, gamma: Value) -> Value:
    """d²FL/dz² / (weight q^gamma) = p [q (1 + 2 gamma) + gamma log p (q - gamma p)].

    p log p is taken first: at infinite margins it is 0, where gamma log p alone would overflow.
    """
    return p * q * (ONE + gamma + gamma) + scale(gamma, p * log_p) * (q - gamma * p)


def gradient_exact(
    y: Value, z: Value, weight0: Value, weight1: Value, gamma0: Value, gamma1: Value, per_step: Value
) -> tuple[Value, Value]:
    """dFL/dz and d²FL/dz², linear in y between the two classes (soft labels)."""
    s, t, log_s, log_t = sides(z)
    scale0 = weight0 * power(s, log_s, gamma0)
    scale1 = weight1 * power(t, log_t, gamma1)
    gradient = (ONE - y) * (scale0 * slope(t, s, log_t, gamma0)) - y * (scale1 * slope(s, t, log_s, gamma1))
    hessian = (ONE - y) * (scale0 * bend(t, s, log_t, gamma0)) + y * (scale1 * bend(s, t, log_s, gamma1))
    return gradient, hessian


def gradient_expected(
    y: Value, z: Value, weight0: Value, weight1: Value, gamma0: Value, gamma1: Value, per_step: Value
) -> tuple[Value, Value]:
    """dFL/dz and the Hessian expected under the posterior, at least |gradient| per_step.

    With `down` and `up` the gradient's magnitude for a negative and a positive row, the posterior
    is eta = down / (down + up), so eta h1 + (1 - eta) h0 = (down h1 + up h0) / (down + up).
    """
    s, t, log_s, log_t = sides(z)
    scale0 = weight0 * power(s, log_s, gamma0)
    scale1 = weight1 * power(t, log_t, gamma1)
    down = scale0 * slope(t, s, log_t, gamma0)
    up = scale1 * slope(s, t, log_s, gamma1)
    bend0 = scale0 * bend(t, s, log_t, gamma0)
    bend1 = scale1 * bend(s, t, log_s, gamma1)
    gradient = (ONE - y) * down - y * up
    expected = (down * bend1 + up * bend0) / maximum(down + up, TINY)
    return gradient, maximum(expected, absolute(gradient) * per_step)


def values(y: Value, z: Value, weight0: Value, weight1: Value, gamma0: Value, gamma1: Value) -> Value:
    """Focal loss of a row, linear in y between the two classes."""
    s, t, log_s, log_t = sides(z)
    return (ONE - y) * loss(s, log_t, log_s, weight0, gamma0) + y * loss(t, log_s, log_t, weight1, gamma1)


def log_odds(z: Value, weight0: Value, weight1: Value, gamma0: Value, gamma1: Value) -> Value:
    """Log odds of the class posterior, log(down) - log(up), from logarithms: nothing underflows."""
    s, t, log_s, log_t = sides(z)
    down = log(weight0) + gamma0 * log_s + log(slope(t, s, log_t, gamma0))
    up = log(weight1) + gamma1 * log_t + log(slope(s, t, log_s, gamma1))
    return down - up


FORMULAS = (sides, loss, slope, bend, gradient_exact, gradient_expected, values)


def bind(primitives: Mapping[str, Any], compile: Callable[..., Any]) -> dict[str, Any]:
    """The formulas with their primitives replaced, each passed through `compile`, by name."""
    space = dict(primitives)
    for formula in FORMULAS:
        space[formula.__name__] = compile(FunctionType(formula.__code__, space, formula.__name__))
    return space
