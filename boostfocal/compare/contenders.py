"""Who is compared, and the hyperparameters each may choose from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boostfocal import FocalLoss, SoftmaxFocalLoss
from boostfocal.base import FocalLossBase

Hyperparameters = Mapping[str, Any]


@dataclass(frozen=True)
class Contender:
    """A way to train a booster.

    Attributes
    ----------
    name : str
    hyperparameters : mapping
        Its own hyperparameters besides the shared ones: the values to choose from, the usual one first.
    custom : bool
        Whether it trains with our objective rather than the engine's own.
    """

    name: str
    hyperparameters: Mapping[str, tuple[Any, ...]]
    custom: bool

    def for_classes(self, n_classes: int) -> "Contender":
        """This contender with the hyperparameters that make sense for so many classes."""
        if n_classes == 2:
            return self
        return replace(
            self,
            hyperparameters={name: CLASS_ALPHAS if name == "alpha" else v for name, v in self.hyperparameters.items()},
        )

    def loss(self, hyperparameters: Hyperparameters, labels: NDArray[Any], n_classes: int) -> FocalLossBase | None:
        """Our objective at these hyperparameters, or None for the engine's own log loss."""
        if not self.custom:
            return None
        gamma, alpha = hyperparameters.get("gamma", 0.0), hyperparameters["alpha"]
        if n_classes > 2:
            if alpha == "balanced":
                return SoftmaxFocalLoss.balanced(labels, gamma, n_classes=n_classes)
            weights = None if alpha is None else class_weights(alpha, labels, n_classes)
            return SoftmaxFocalLoss(n_classes, gamma, weights)
        return FocalLoss.balanced(labels, gamma) if alpha == "balanced" else FocalLoss(gamma, alpha)

    def weights(
        self, hyperparameters: Hyperparameters, labels: NDArray[Any], n_classes: int
    ) -> NDArray[np.float64] | None:
        """The weight of each class's rows under log loss, or None."""
        return (
            class_weights(hyperparameters["class_weight"], labels, n_classes)
            if "class_weight" in hyperparameters
            else None
        )


def class_weights(kind: str, labels: NDArray[Any], n_classes: int) -> NDArray[np.float64]:
    """Inverse class frequencies or their roots: 1 for negative rows, or 1 on average over the rows of K classes."""
    counts = np.bincount(labels, minlength=n_classes)
    weights = counts[0] / counts if kind == "balanced" else np.sqrt(counts[0] / counts)
    return np.asarray(weights if n_classes == 2 else weights * counts.sum() / (weights @ counts))


ALPHAS = (0.25, None, 0.75, "balanced")
CLASS_ALPHAS = (None, "balanced", "sqrt(balanced)")

LOG_LOSS = Contender("log loss", {"max_delta_step": (0, 1, 3)}, custom=False)
WEIGHTED = Contender("weighted log loss", {"class_weight": ("balanced", "sqrt(balanced)")}, custom=False)
GAMMA_0 = Contender("gamma 0", {"alpha": ALPHAS}, custom=True)
FOCAL = Contender("focal loss", {"gamma": (2.0, 1.0, 0.5, 3.0), "alpha": ALPHAS}, custom=True)
CONTENDERS = (LOG_LOSS, WEIGHTED, GAMMA_0, FOCAL)


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters; None is the engine's default."""

    learning_rate: float
    reg_lambda: float | None
    min_child_hessian: float | None
    hyperparameters: Hyperparameters


def draw_trials(contender: Contender, n: int, seed: int) -> list[Trial]:
    """The first trial is the usual setting, the others random.

    Trial i has the same shared hyperparameters for every contender of a split (common random
    numbers), so that none of them is luckier.
    """
    shared = np.random.default_rng([seed, 0])
    own = np.random.default_rng([seed, 1])
    trials = [Trial(0.1, None, None, {name: values[0] for name, values in contender.hyperparameters.items()})]
    while len(trials) < n:
        rate, l2, hessian = np.exp(shared.uniform(np.log([0.02, 0.1, 0.01]), np.log([0.3, 100.0, 10.0])))
        hyperparameters = {
            name: values[own.integers(len(values))] for name, values in contender.hyperparameters.items()
        }
        trials.append(Trial(float(rate), float(l2), float(hessian), hyperparameters))
    return trials


Engine = Literal["xgboost", "lightgbm"]

SHARED_NAMES: Mapping[Engine, Mapping[str, str]] = {
    "xgboost": {
        "learning_rate": "learning_rate",
        "reg_lambda": "reg_lambda",
        "min_child_hessian": "min_child_weight",
    },
    "lightgbm": {
        "learning_rate": "learning_rate",
        "reg_lambda": "lambda_l2",
        "min_child_hessian": "min_sum_hessian_in_leaf",
    },
}


Device = Literal["cpu", "cuda", "gpu"]

DEVICES: Mapping[Engine, Mapping[Device, Mapping[str, str]]] = {
    "xgboost": {"cpu": {}, "cuda": {"device": "cuda"}, "gpu": {"device": "cuda"}},
    "lightgbm": {"cpu": {}, "cuda": {"device_type": "cuda"}, "gpu": {"device_type": "gpu"}},
}


def engine_parameters(engine: Engine, trial: Trial, device: Device) -> dict[str, Any]:
    """A trial's hyperparameters and the device under the engine's names; defaults are left to the engine."""
    values = {theirs: getattr(trial, ours) for ours, theirs in SHARED_NAMES[engine].items()}
    if trial.hyperparameters.get("max_delta_step"):
        values["max_delta_step"] = trial.hyperparameters["max_delta_step"]
    return {name: value for name, value in values.items() if value is not None} | dict(DEVICES[engine][device])
