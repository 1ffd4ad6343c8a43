"""Who is compared, and the hyperparameters each may choose from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boostfocal import FocalLoss

Knob = Mapping[str, Any]


@dataclass(frozen=True)
class Contender:
    """A way to train a booster.

    Attributes
    ----------
    name : str
    knobs : mapping
        Its own hyperparameters beside the shared ones: the values to choose from, the usual one first.
    custom : bool
        Whether it trains with our objective, or the engine's own.
    """

    name: str
    knobs: Mapping[str, tuple[Any, ...]]
    custom: bool

    def loss(self, knobs: Knob, labels: NDArray[Any]) -> FocalLoss | None:
        """Our objective at these knobs, or None for the engine's own log loss."""
        if not self.custom:
            return None
        gamma, alpha = knobs.get("gamma", 0.0), knobs["alpha"]
        return FocalLoss.balanced(labels, gamma) if alpha == "balanced" else FocalLoss(gamma, alpha)

    def positive_weight(self, knobs: Knob, labels: NDArray[Any]) -> float | None:
        """The weight of positive rows under log loss, or None."""
        if "positive_weight" not in knobs:
            return None
        ratio = float((labels == 0).sum() / labels.sum())
        return ratio if knobs["positive_weight"] == "n0/n1" else math.sqrt(ratio)


ALPHAS = (0.25, None, 0.75, "balanced")

LOG_LOSS = Contender("log loss", {"max_delta_step": (0, 1, 3)}, custom=False)
WEIGHTED = Contender("weighted log loss", {"positive_weight": ("n0/n1", "sqrt(n0/n1)")}, custom=False)
GAMMA_0 = Contender("gamma 0", {"alpha": ALPHAS}, custom=True)
FOCAL = Contender("focal loss", {"gamma": (2.0, 1.0, 0.5, 3.0), "alpha": ALPHAS}, custom=True)
CONTENDERS = (LOG_LOSS, WEIGHTED, GAMMA_0, FOCAL)


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters; None is the engine's default."""

    learning_rate: float
    reg_lambda: float | None
    min_child_hessian: float | None
    knobs: Knob


def draw_trials(contender: Contender, n: int, seed: int) -> list[Trial]:
    """The first trial is the usual setting, the others random.

    Trial i has the same shared hyperparameters for every contender of a split (common random
    numbers), so that none of them is luckier.
    """
    shared = np.random.default_rng([seed, 0])
    own = np.random.default_rng([seed, 1])
    trials = [Trial(0.1, None, None, {name: values[0] for name, values in contender.knobs.items()})]
    while len(trials) < n:
        rate, l2, hessian = np.exp(shared.uniform(np.log([0.02, 0.1, 0.01]), np.log([0.3, 100.0, 10.0])))
        knobs = {name: values[own.integers(len(values))] for name, values in contender.knobs.items()}
        trials.append(Trial(float(rate), float(l2), float(hessian), knobs))
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


def engine_parameters(engine: Engine, trial: Trial) -> dict[str, Any]:
    """A trial's hyperparameters by the engine's names; the defaults are left to the engine."""
    values = {theirs: getattr(trial, ours) for ours, theirs in SHARED_NAMES[engine].items()}
    if trial.knobs.get("max_delta_step"):
        values["max_delta_step"] = trial.knobs["max_delta_step"]
    return {name: value for name, value in values.items() if value is not None}
