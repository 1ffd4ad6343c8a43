"""The parameters that both classifiers have besides their engine's: documented, checked, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from inspect import cleandoc
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..posterior import Loss
from .weighting import by_class

Class = TypeVar("Class", bound=type)

PARAMETERS = ("focal_gamma", "focal_alpha", "focal_hessian", "focal_max_step", "sampling_rates")
"""Ours, among the parent's parameters."""

PARAMETERS_TEXT = """focal_gamma : float or (float, float), default 0.5
    Focusing parameter, by which easy rows fade. Two classes may have one each, as a pair. 0 is cross-entropy.
focal_alpha : float, "balanced", array_like or mapping of one number per class, or None, default 0.5
    Weight of the classes. A number in (0, 1) is the weight of the second of two classes; the first has the rest.
    0.5 weighs any number of classes alike, with half the gradients of None, so that the penalties count double.
    "balanced" is the inverse of the (weighted) class frequencies. The engine's own class weights are taken for
    such weights, so they do not shift the probabilities.
focal_hessian : {"expected", "exact"}, default "expected"
    Which Hessian the engine gets; see `FocalLoss`.
focal_max_step : float, default 10.0
    Bound on the step that a row asks for, in margins; see `FocalLoss`.
sampling_rates : float, array_like or mapping of one number per class, or None, default None
    The share of each class's rows that training has. A number is that of the first of two classes: 0.1 for a tenth.
    `predict_proba` then returns the population's probabilities. Metrics in training describe the rows as they are."""

ATTRIBUTES_TEXT = """classes_ : ndarray of shape (K,)
    Labels, which may be of any kind; in the order of the columns of `predict_proba`.
loss_ : FocalLoss or SoftmaxFocalLoss
    The loss that the model was trained with.
posterior_ : Posterior
    What turns margins into probabilities.
start_ : float, or ndarray of shape (K,)
    The margin at which boosting started. It is inside the booster.
state_ : FittedState
    All that is known beside the booster."""


def documented(classifier: Class) -> Class:
    """Put the texts that both classes share into a docstring."""
    text = classifier.__doc__
    if text is not None:  # under -OO it is None
        classifier.__doc__ = (
            cleandoc(text).replace("<parameters>", PARAMETERS_TEXT).replace("<attributes>", ATTRIBUTES_TEXT)
        )
    return classifier


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown parameters whose name is close to one of ours.

    Raises
    ------
    ValueError
    """
    for name in set(given) - set(known) - set(PARAMETERS):
        near = get_close_matches(name, PARAMETERS, 1, 0.75)
        if near or name.startswith("focal_"):
            meant = f", did you mean {near[0]}?" if near else f": ours are {', '.join(PARAMETERS)}"
            raise ValueError(f"{name} is not a parameter{meant}")


def as_json(given: Mapping[str, Any], names: Iterable[str], loss: Loss, classes: NDArray[Any]) -> dict[str, Any]:
    """The parameters of these names as JSON values, with gamma and max_step as the loss has them."""
    found = {name: given.get(name) for name in names}
    for name in ("focal_alpha", "class_weight", "sampling_rates"):
        value = found.get(name)
        if value is not None and not np.isscalar(value):
            found[name] = np.asarray(by_class(name, value, classes, missing=1.0)).tolist()
    found = {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}
    return found | {"focal_gamma": loss.gamma, "focal_max_step": str(loss.max_step)}  # JSON has no infinity


def from_json(stored: Mapping[str, Any], classes: NDArray[Any]) -> dict[str, Any]:
    """The parameters that `as_json` made, as a classifier takes them."""
    result = dict(stored)
    result["focal_max_step"] = float(stored["focal_max_step"])
    if isinstance(stored["focal_gamma"], list):
        result["focal_gamma"] = tuple(stored["focal_gamma"])
    if isinstance(stored.get("class_weight"), list):
        result["class_weight"] = dict(zip(classes.tolist(), stored["class_weight"], strict=True))
    return result
