"""What a fitted classifier knows besides its engine's booster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..base import Float64s
from ..focal import FocalLoss
from ..posterior import Loss, Posterior
from ..softmax import SoftmaxFocalLoss
from ..validation import Interval, number
from .categories import Categories, check_categories

POSITIVE = Interval(0, float(np.finfo(np.float32).max), "]")


@dataclass(frozen=True, eq=False)
class FittedState:
    """What the engine's own file does not hold. A classifier has one from the end of fit on, as `state_`.

    Parameters
    ----------
    classes : ndarray of shape (K,)
        Labels, in ascending order.
    posterior : Posterior
        It turns margins into probabilities, and holds the loss of training.
    start : ndarray of float64 of shape (1,) for two classes, else (K,)
        The margin at which boosting started.
    offset : ndarray, shaped as `start`
        By how much the margins were moved after training.
    weight_scale : float, default 1.0
        The factor by which rows weigh more than alpha says.
    start_by_row : bool, default False
        Whether training started from a margin for each row, which predictions then need, too.
    weights_are_costs : bool, default False
        Whether the engine's class weights were given; they are then the costs of `predict`.
    parameters : mapping, optional
        Our parameters and the engine's class weights that the model was trained with, as JSON values.
    categories : mapping of str to list, optional
        Categories of the training table's categorical columns.
    extras : mapping, optional
        Values that only one engine needs, as JSON values.
    """

    classes: NDArray[Any]
    posterior: Posterior
    start: Float64s
    offset: Float64s
    weight_scale: float = 1.0
    start_by_row: bool = False
    weights_are_costs: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    categories: Categories = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loss(self) -> Loss:
        return self.posterior.loss

    @property
    def costs(self) -> Float64s | None:
        """The misclassification cost of a row of each class, if the engine's class weights were given."""
        alpha: Any = self.loss.alpha
        if not self.weights_are_costs:
            return None
        return np.array([1 - alpha, alpha] if isinstance(alpha, float) else alpha)

    def to_json(self) -> dict[str, Any]:
        return {
            "classes": _labels_to_json(self.classes),
            "posterior": self.posterior.to_dict(),
            "start": self.start.tolist(),
            "offset": self.offset.tolist(),
            "weight_scale": self.weight_scale,
            "start_by_row": self.start_by_row,
            "weights_are_costs": self.weights_are_costs,
            "parameters": dict(self.parameters),
            "categories": dict(self.categories),
            "extras": dict(self.extras),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The state that `to_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError, OverflowError
            For values that are missing, of other types, or out of bounds.
        """
        classes = _labels_from_json(values["classes"])
        stored = dict(values["posterior"])
        n_classes = stored.get("n_classes", 2)
        if classes.size != n_classes or not np.array_equal(np.unique(classes), classes):
            raise ValueError(f"classes must be {n_classes} labels in ascending order, got {classes.tolist()[:10]}")
        posterior = Posterior.from_dict(stored)
        shape = (classes.size if classes.size > 2 else 1,)
        start, offset = (np.array(values[key], np.float64) for key in ("start", "offset"))
        if start.shape != shape or offset.shape != shape or not np.isfinite([start, offset]).all():
            raise ValueError(f"start and offset must be {shape[0]} finite numbers, got {start} and {offset}")
        scale = number("weight_scale", values["weight_scale"], POSITIVE)
        by_row, costs = values["start_by_row"], values["weights_are_costs"]
        if not (isinstance(by_row, bool) and isinstance(costs, bool)):
            raise TypeError(f"start_by_row and weights_are_costs must be true or false, got {by_row!r}, {costs!r}")
        parameters, extras = dict(values["parameters"]), dict(values["extras"])
        categories = check_categories(values["categories"])
        return cls(classes, posterior, start, offset, scale, by_row, costs, parameters, categories, extras)


def untrained(loss: Loss, classes: NDArray[Any]) -> FittedState:
    """The state of a booster that was trained elsewhere with this loss; its start is not known yet.

    Raises
    ------
    TypeError, ValueError
        For a multilabel loss, and classes that are not those of the loss.
    """
    one_label = isinstance(loss, FocalLoss) and not loss._n_labels
    if not (one_label or (isinstance(loss, SoftmaxFocalLoss) and loss.n_classes > 2)):
        raise TypeError(
            f"loss must be a FocalLoss of one label a row, or a SoftmaxFocalLoss of three classes or more, got {loss!r}"
        )
    posterior = Posterior(loss)
    n_classes = posterior.n_classes
    if classes.size != n_classes or not np.array_equal(np.unique(classes), classes):
        raise ValueError(f"classes must be {n_classes} labels in ascending order, as of the loss, got {classes}")
    zeros = np.zeros(n_classes if n_classes > 2 else 1)
    names = ("gamma", "alpha", "hessian", "max_step")
    parameters: dict[str, Any] = {f"focal_{name}": getattr(loss, name) for name in names} | {"sampling_rates": None}
    parameters["focal_max_step"] = str(loss.max_step)  # JSON has no infinity
    return FittedState(classes, posterior, zeros, zeros, parameters=parameters)


def check_labels_can_be_saved(labels: NDArray[Any]) -> None:
    """Refuse labels of kinds that a file cannot hold.

    Raises
    ------
    TypeError
    """
    if labels.dtype.kind not in "biuf" and not all(isinstance(value, str) for value in labels.tolist()):
        found = labels.tolist()
        raise TypeError(f"labels must be numbers, bools or text to be saved in a model file, got {found}; use pickle")


def _labels_to_json(labels: NDArray[Any]) -> dict[str, Any]:
    check_labels_can_be_saved(labels)
    if labels.dtype.kind in "biuf":
        return {"dtype": labels.dtype.str, "values": labels.tolist()}
    return {"dtype": "object" if labels.dtype == object else "str", "values": labels.tolist()}


def _labels_from_json(stored: Mapping[str, Any]) -> NDArray[Any]:
    dtype, values = str(stored["dtype"]), list(stored["values"])
    kind = {"object": object, "str": np.str_}.get(dtype) or np.dtype(dtype)
    if dtype not in ("object", "str") and np.dtype(kind).kind not in "biuf":
        raise ValueError(f"dtype must be of numbers, text or object, got {dtype!r}")
    if not all(isinstance(value, (str, int, float)) for value in values):
        raise ValueError(f"labels must be numbers or text, got {values[:10]!r}")
    return np.array(values, dtype=kind)
