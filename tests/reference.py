"""The focal loss at high precision; its derivatives come from differentiating that loss numerically.

Apart from `term_magnitudes`, which only scales a tolerance, nothing here uses a formula of a derivative.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from mpmath import MPContext

Gamma = float | tuple[float, float]

mp = MPContext()
mp.dps = 120  # in the tails a difference of losses keeps few of its digits


class Reference(NamedTuple):
    """One margin: the loss, and what follows from it, for a negative row [0] and a positive row [1]."""

    value: tuple[Any, Any]
    gradient: tuple[Any, Any]
    exact: tuple[Any, Any]
    terms: tuple[Any, Any]
    log_odds: Any
    expected: Any


@cache
def derivatives(x: float, gamma: float) -> tuple[Any, Any, Any]:
    """Loss of a row without class weight, and its first two derivatives; x is the margin towards its class."""

    def loss(x: Any) -> Any:
        q, log_p = 1 / (1 + mp.exp(x)), -mp.log1p(mp.exp(-x))
        return -(q ** mp.mpf(gamma)) * log_p

    value, slope, half = mp.taylor(loss, x, 2, chop=False)
    return value, slope, 2 * half


@cache
def term_magnitudes(x: Any, gamma: float) -> Any:
    """Sum of the magnitudes of the second derivative's terms, which cancel where it changes its sign."""
    p, q, g = 1 / (1 + mp.exp(-x)), 1 / (1 + mp.exp(x)), mp.mpf(gamma)
    log_p = -mp.log1p(mp.exp(-x))
    return p * q**g * (q * (1 + 2 * g) + abs(g * log_p) * q + abs(g * log_p) * g * p)


@cache
def row(z: float, gamma: Gamma, alpha: float | None) -> Reference:
    """The margin `z` of FocalLoss(gamma, alpha)."""
    gamma0, gamma1 = gamma if isinstance(gamma, tuple) else (gamma, gamma)
    weight0, weight1 = (1, 1) if alpha is None else (1 - mp.mpf(alpha), mp.mpf(alpha))
    value0, slope0, curvature0 = (weight0 * d for d in derivatives(-z, gamma0))
    value1, slope1, curvature1 = (weight1 * d for d in derivatives(z, gamma1))
    down, up = -slope0, -slope1  # magnitudes: along z the loss rises for negative rows and falls for positive ones
    posterior = down / (down + up)
    return Reference(
        value=(value0, value1),
        gradient=(down, -up),
        exact=(curvature0, curvature1),
        terms=(weight0 * term_magnitudes(-z, gamma0), weight1 * term_magnitudes(z, gamma1)),
        log_odds=mp.log(down) - mp.log(up),
        expected=posterior * curvature1 + (1 - posterior) * curvature0,
    )


class ClassReference(NamedTuple):
    """One row of K margins; `[y][k]` is for the true class y and the derivative by z_k."""

    value: list[Any]
    gradient: list[list[Any]]
    exact: list[list[Any]]
    terms: list[Any]  # [y]: of exact[y][y]
    posterior: list[Any]
    expected: list[Any]


@cache
def class_row(z: tuple[float, ...], gamma: float, alpha: tuple[float, ...]) -> ClassReference:
    """SoftmaxFocalLoss(K, gamma, alpha) at the margins `z`, from the loss alone.

    Derivatives are numerical, and the posterior is where the expected gradient is zero, a linear system.
    """
    k_all = range(len(z))
    e = [mp.exp(mp.mpf(margin) - mp.mpf(max(z))) for margin in z]

    def loss(y: int, moved: int, step: Any) -> Any:
        others = sum(e[j] for j in k_all if j not in (y, moved))
        own = e[y] * mp.exp(step) if moved == y else e[y]
        rest = others if moved == y else others + e[moved] * mp.exp(step)
        return mp.mpf(alpha[y]) * (rest / (own + rest)) ** mp.mpf(gamma) * mp.log1p(rest / own)

    terms = [[mp.taylor(lambda x, y=y, k=k: loss(y, k, x), 0, 2, chop=False) for k in k_all] for y in k_all]
    gradient = [[terms[y][k][1] for k in k_all] for y in k_all]
    exact = [[2 * terms[y][k][2] for k in k_all] for y in k_all]
    # one equation is superfluous, as gradients sum to zero over k: that eta sums to one takes its place
    biggest = max(k_all, key=lambda k: z[k])
    rows = [k for k in k_all if k != biggest]
    system = mp.matrix([[gradient[y][k] / abs(gradient[k][k]) for y in k_all] for k in rows] + [[1] * len(z)])
    posterior = list(mp.lu_solve(system, mp.matrix([0] * len(rows) + [1])))
    expected = [sum(posterior[y] * exact[y][k] for y in k_all) for k in k_all]
    odds = [mp.log(e[y] / sum(e[j] for j in k_all if j != y)) for y in k_all]
    magnitudes = [mp.mpf(alpha[y]) * term_magnitudes(odds[y], gamma) for y in k_all]
    return ClassReference([terms[y][0][0] for y in k_all], gradient, exact, magnitudes, posterior, expected)


def column(margins: np.ndarray, gamma: Gamma, alpha: float | None, what: str, label: int | None = None) -> np.ndarray:
    """One quantity of `Reference` for each margin, as float64."""
    picked = [getattr(row(float(z), gamma, alpha), what) for z in margins]
    return np.array([float(value if label is None else value[label]) for value in picked])


def margins(dtype: type[np.floating]) -> np.ndarray:
    """Margins to test at: dense near 0, where the exact Hessian changes sign, and far into both tails."""
    rng = np.random.default_rng(0)
    tails = np.array([35, 50, 86.9, 87.1, 103.9, 300, 700])
    return np.concatenate(
        [np.linspace(-4, 4, 17), rng.uniform(-30, 30, 16), rng.uniform(-100, 100, 6), tails, -tails]
    ).astype(dtype)
