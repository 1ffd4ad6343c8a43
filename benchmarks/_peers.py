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
from boostfocal.compare import training
from boostfocal.compare.contenders import Contender, Engine
from boostfocal.compare.training import Data, Fitted, Job

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
class Peer(Contender):
    """A published package, from the margin where its users start."""

    start: float


def peers(engine: Engine) -> list[Contender]:
    """Those that are installed and have an objective for the engine."""
    return [
        Peer(name, {"gamma": (2.0, 1.0, 0.5, 3.0), **package.knobs}, True, package.engines[engine])
        for name, package in installed().items()
        if engine in package.engines
    ]


def train(job: Job, data: Data, rows: Array, validation: Array | None = None) -> Fitted:
    """One fit of any contender. A package's objective is trained as its users do: natively, read by the sigmoid."""
    if not isinstance(job.contender, Peer):
        return training.train(job, data, rows, validation)
    package, start = installed()[job.contender.name], job.contender.start
    gamma = job.hyperparameters["gamma"]
    knobs = {name: value for name, value in job.hyperparameters.items() if name in package.knobs}
    focal = FocalLoss(gamma).metric

    def objective(margin: Array, dataset: Any) -> Derivatives:
        with np.errstate(all="ignore"):
            return package.rows(dataset.get_label(), margin, gamma, **knobs)

    def metric(margin: Array, dataset: Any) -> Any:  # ours refuses NaN, which some packages' margins become
        return focal(np.nan_to_num(margin), dataset)

    own = _xgboost if job.engine == "xgboost" else _lightgbm
    margins, best = own(job, data, rows, validation, start, objective, metric)
    return Fitted(lambda matrix: expit(np.nan_to_num(np.asarray(margins(matrix), np.float64))), best)


Trained = tuple[Callable[[Array], Array], int]
"""Margins of rows, and the rounds that were best."""


def _xgboost(
    job: Job, data: Data, rows: Array, validation: Array | None, start: float, objective: Any, metric: Any
) -> Trained:
    import xgboost

    kinds = ["c" if i in data.categorical else "q" for i in range(data.matrix.shape[1])]
    options = {"feature_types": kinds, "enable_categorical": True, "nthread": job.threads}
    train_set = xgboost.QuantileDMatrix(data.matrix[rows], data.labels[rows], **options)
    stop: dict[str, Any] = {}
    if validation is not None:
        held_out = xgboost.QuantileDMatrix(data.matrix[validation], data.labels[validation], ref=train_set, **options)
        stop = {"evals": [(held_out, "validation")], "early_stopping_rounds": training.PATIENCE}
    parameters = {"nthread": job.threads, "seed": job.seed, "base_score": start, "disable_default_eval_metric": 1}
    booster = xgboost.train(
        parameters | job.parameters,
        train_set,
        job.rounds,
        verbose_eval=False,
        obj=objective,
        custom_metric=metric,
        **stop,
    )
    best = booster.best_iteration + 1 if validation is not None else job.rounds

    def margins(matrix: Array) -> Array:
        return booster.predict(xgboost.DMatrix(matrix, **options), iteration_range=(0, best), output_margin=True)

    return margins, best


def _lightgbm(
    job: Job, data: Data, rows: Array, validation: Array | None, start: float, objective: Any, metric: Any
) -> Trained:
    import lightgbm

    parameters = {
        "num_threads": job.threads, "seed": job.seed, "verbosity": -1, "deterministic": True, "force_row_wise": True,
        "objective": objective, "metric": "None", **job.parameters,
    }  # fmt: skip

    def dataset(chosen: Array, reference: Any = None) -> Any:
        return lightgbm.Dataset(
            data.matrix[chosen], data.labels[chosen], init_score=np.full(chosen.size, start), reference=reference,
            categorical_feature=data.categorical, params={"verbosity": -1, "num_threads": job.threads},
        )  # fmt: skip

    train_set = dataset(rows)
    stop: dict[str, Any] = {}
    if validation is not None:
        callbacks = [lightgbm.early_stopping(training.PATIENCE, verbose=False)]
        stop = {"valid_sets": [dataset(validation, train_set)], "callbacks": callbacks}
    booster = lightgbm.train(parameters, train_set, job.rounds, feval=metric, **stop)
    best = (booster.best_iteration or booster.current_iteration()) if validation is not None else job.rounds
    return lambda matrix: booster.predict(matrix, num_iteration=best, num_threads=job.threads) + start, best
