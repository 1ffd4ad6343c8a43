"""Who is compared, and the hyperparameters each may choose from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Hyperparameters = Mapping[str, Any]

Engine = Literal["xgboost", "lightgbm"]

CLASSES: Mapping[Engine, tuple[tuple[str, str], tuple[str, str]]] = {
    "xgboost": (("xgboost", "XGBClassifier"), ("boostfocal", "FocalXGBClassifier")),
    "lightgbm": (("lightgbm", "LGBMClassifier"), ("boostfocal", "FocalLGBMClassifier")),
}
"""Module and name of the engine's own classifier, and of ours."""


@dataclass(frozen=True)
class Recipe:
    """The classifier to train, its own parameters, and the sample weight of each class, or None."""

    module: str
    name: str
    parameters: dict[str, Any]
    class_weights: NDArray[np.float64] | None

    @property
    def focal(self) -> bool:
        """Whether it is one of our classifiers."""
        return self.module == "boostfocal"


@dataclass(frozen=True)
class Contender:
    """A way to train a booster.

    Attributes
    ----------
    name : str
    hyperparameters : mapping
        Its own hyperparameters besides the shared ones: the values to choose from, the usual one first.
    custom : bool
        Whether it is our classifier rather than the engine's own.
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

    def recipe(self, engine: Engine, hyperparameters: Hyperparameters, labels: NDArray[Any], n_classes: int) -> Recipe:
        """What to train on rows of these labels."""
        if self.custom:
            alpha = hyperparameters["alpha"]
            if alpha == "sqrt(balanced)":
                alpha = class_weights(alpha, labels, n_classes).tolist()
            parameters = {"focal_gamma": hyperparameters.get("gamma", 0.0), "focal_alpha": alpha}
            return Recipe(*CLASSES[engine][1], parameters, None)
        kind = hyperparameters.get("class_weight")
        weights = None if kind is None else class_weights(kind, labels, n_classes)
        return Recipe(*CLASSES[engine][0], {}, weights)


def class_weights(kind: str, labels: NDArray[Any], n_classes: int) -> NDArray[np.float64]:
    """Inverse class frequencies or their roots: 1 for negative rows, or 1 on average over the rows of K classes."""
    counts = np.bincount(labels, minlength=n_classes)
    weights = counts[0] / counts if kind == "balanced" else np.sqrt(counts[0] / counts)
    weights = weights if n_classes == 2 else weights * counts.sum() / (weights @ counts)
    return np.array([_written(weight) for weight in weights])


def _written(number: float) -> float:
    """Four digits: the code of the winner shows all that was used."""
    return float(f"{number:.4g}")


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
    min_child_weight: float | None
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
        trials.append(Trial(_written(rate), _written(l2), _written(hessian), hyperparameters))
    return trials


Device = Literal["cpu", "cuda", "gpu"]

DEVICES: Mapping[Engine, Mapping[Device, Mapping[str, str]]] = {
    "xgboost": {"cpu": {}, "cuda": {"device": "cuda"}, "gpu": {"device": "cuda"}},
    "lightgbm": {"cpu": {}, "cuda": {"device_type": "cuda"}, "gpu": {"device_type": "gpu"}},
}


def shared_parameters(engine: Engine, trial: Trial, device: Device) -> dict[str, Any]:
    """What a trial asks of any classifier of the engine, and the device; defaults are left to the engine."""
    names = ("learning_rate", "reg_lambda", "min_child_weight")
    found = {name: value for name in names if (value := getattr(trial, name)) is not None}
    if step := trial.hyperparameters.get("max_delta_step"):
        found["max_delta_step"] = step
    return found | dict(DEVICES[engine][device])
