"""What people use instead: published packages as they are, and the code that is copied from page to page.

The packages come with `pip install '.[peers]'`; those that are not installed are left out, and named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from boostfocal import FocalLoss

Array = NDArray[Any]
Derivatives = tuple[Array, Array]
Rows = Callable[[Array, Array], Derivatives]


class Labels(NamedTuple):
    """A data set as far as an objective looks at it, without the copy that engines make of the labels."""

    labels: Array

    def get_label(self) -> Array:
        return self.labels


def imbalance_xgboost(y: Array, margin: Array, gamma: float) -> Derivatives:
    from imxgboost.focal_loss import Focal_Binary_Loss

    return Focal_Binary_Loss(gamma).focal_binary_object(margin, Labels(y))


def imlightgbm(y: Array, margin: Array, gamma: float) -> Derivatives:
    from imlightgbm.objective import binary_focal_objective

    return binary_focal_objective(y, margin, gamma)


def gbdt_cbl(y: Array, margin: Array, gamma: float) -> Derivatives:
    from gbdtCBL.binary import FLLoss

    return FLLoss(gamma)(y, margin)


def bokbokbok(y: Array, margin: Array, gamma: float, alpha: float = 1.0) -> Derivatives:
    from bokbokbok.loss_functions.classification import WeightedFocalLoss

    return WeightedFocalLoss(alpha, gamma)(margin, Labels(y))


def numerical_differentiation(y: Array, margin: Array, gamma: float, step: float = 1e-6) -> Derivatives:
    """Differences of the loss, as in many posts, which took them from the late `scipy.misc.derivative`."""

    def loss(z: Array) -> Array:
        p = 1 / (1 + np.exp(-z))
        p_true = y * p + (1 - y) * (1 - p)
        return -((1 - p_true) ** gamma) * np.log(p_true)

    here, above, below = loss(margin), loss(margin + step), loss(margin - step)
    return (above - below) / (2 * step), (above - 2 * here + below) / step**2


def formula_in_numpy(y: Array, margin: Array, gamma: float) -> Derivatives:
    """The exact derivatives as they stand in a paper, in the probability of the true class."""
    p = 1 / (1 + np.exp(-margin))
    sign = 2 * y - 1
    p_true = np.where(y == 1, p, 1 - p)
    log_p, rest = np.log(p_true), 1 - p_true
    gradient = sign * rest**gamma * (gamma * p_true * log_p - rest)
    hessian = p_true * rest**gamma * (rest * (1 + 2 * gamma) + gamma * log_p * (rest - gamma * p_true))
    return gradient, hessian


def careful_numpy(y: Array, margin: Array, out: tuple[Array, Array] | None = None, block: int = 16384) -> Derivatives:
    """Gamma 2, expected Hessian, steps up to 10: float32, in blocks that stay in cache, stable in the tails."""
    gradient, hessian = out or (np.empty_like(margin), np.empty_like(margin))
    one, two, five = np.float32([1, 2, 5])
    for start in range(0, margin.size, block):
        rows = slice(start, start + block)
        z, label = margin[rows], y[rows]
        e = np.exp(-np.abs(z))
        likely = one / (one + e)
        unlikely = e * likely
        log_likely = -np.log1p(e)
        log_unlikely = log_likely - np.abs(z)
        positive = z >= 0
        s, t = np.where(positive, likely, unlikely), np.where(positive, unlikely, likely)
        s_log_s = s * np.where(positive, log_likely, log_unlikely)
        t_log_t = t * np.where(positive, log_unlikely, log_likely)
        s2, t2, st = s * s, t * t, s * t
        down = s2 * (s - two * t_log_t)
        up = t2 * (t - two * s_log_s)
        bend0 = s2 * (five * st + two * t_log_t * (s - two * t))
        bend1 = t2 * (five * st + two * s_log_s * (t - two * s))
        np.subtract((one - label) * down, label * up, out=gradient[rows])
        expected = (down * bend1 + up * bend0) / (down + up)
        np.maximum(expected, np.abs(gradient[rows]) * np.float32(0.1), out=hessian[rows])
    return gradient, hessian


class Package(NamedTuple):
    """A published package: how it is called, imported, where its users start, and on which engines."""

    module: str
    rows: Callable[..., Derivatives]
    engines: dict[str, float]  # the starting margin of its users
    knobs: Mapping[str, tuple[float, ...]] = MappingProxyType({})


PACKAGES = {
    "imbalance-xgboost": Package("imxgboost", imbalance_xgboost, {"xgboost": 0.5}),
    "imlightgbm": Package("imlightgbm", imlightgbm, {"lightgbm": 0.0}),
    "gbdtCBL": Package("gbdtCBL", gbdt_cbl, {"xgboost": 0.0, "lightgbm": 0.0}),
    "bokbokbok": Package("bokbokbok", bokbokbok, {"xgboost": 0.5, "lightgbm": 0.0}, {"alpha": (1.0, 3.0, 10.0)}),
}


def installed() -> dict[str, Package]:
    return {name: package for name, package in PACKAGES.items() if find_spec(package.module)}


def missing() -> list[str]:
    return [name for name in PACKAGES if name not in installed()]


def of_classes(n_classes: int, gamma: float) -> dict[str, Rows]:
    """The multiclass focal losses of the packages."""
    found: dict[str, Rows] = {}
    if find_spec("gbdtCBL"):
        from gbdtCBL.lgbmulti import LGBFLMulti
        from gbdtCBL.xgbmulti import XGBFLMulti

        found |= {"gbdtCBL, for XGBoost": XGBFLMulti(gamma), "gbdtCBL, for LightGBM": LGBFLMulti(gamma)}
    if find_spec("imlightgbm"):
        from imlightgbm.objective import multiclass_focal_objective

        found["imlightgbm"] = partial(multiclass_focal_objective, gamma=gamma, num_class=n_classes)
    return found


@dataclass(frozen=True)
class PeerLoss:
    """A package's objective in the shape that the comparison trains: as its users do, from their start."""

    rows: Callable[..., Derivatives]
    gamma: float
    start: float
    knobs: tuple[tuple[str, float], ...] = ()

    def __call__(self, margin: Array, data: Any) -> Derivatives:
        with np.errstate(all="ignore"):
            return self.rows(data.get_label(), margin, self.gamma, **dict(self.knobs))

    def optimal_margin(self, y: Array) -> float:
        return self.start

    def predict_proba(self, margin: Array) -> NDArray[np.float64]:
        """The sigmoid, which all of them take for the probability."""
        return expit(np.nan_to_num(np.asarray(margin, np.float64)))

    @property
    def metric(self) -> Any:
        own = FocalLoss(self.gamma).metric

        def focal(margin: Array, data: Any) -> Any:  # ours refuses NaN, which some packages' margins become
            return own(np.nan_to_num(margin), data)

        return focal
