"""The loss that a classifier trains with: class weights under any of their names, and how classes were sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation
from ..base import Float64s
from ..focal import FocalLoss
from ..posterior import Loss
from ..softmax import SoftmaxFocalLoss

Setting = float | str | ArrayLike | Mapping[Any, float] | None

ALPHA = (
    'None, "balanced", one positive number for each class, or a number in (0, 1): the weight of the second of two '
    "classes, and of more 0.5, which weighs all alike"
)


@dataclass(frozen=True, eq=False)
class Weighting:
    """The parameters of a classifier that determine its loss, for given classes.

    Parameters
    ----------
    classes : ndarray of shape (K,)
    gamma, alpha, hessian, max_step
        The classifier's `focal_` parameters.
    class_weights : mapping
        Those of the engine's own class weight parameters that are set: each is one weight per class, a mapping, or
        "balanced".
    """

    classes: NDArray[Any]
    gamma: Any
    alpha: Any
    hessian: Any
    max_step: Any
    class_weights: Mapping[str, Any]

    def loss(self, codes: NDArray[np.intp], sample_weight: Any) -> tuple[Loss, float]:
        """The loss, and the factor by which the rows must weigh more so that the classes have the requested weights.

        For two classes alpha sums to 1. Class weights are taken as they are, since penalties and
        min_child_weight are measured against them.
        """
        n_classes, alpha, gamma = self.classes.size, self._alpha(), self.gamma
        newton: Any = {"hessian": self.hessian, "max_step": self.max_step}
        if isinstance(gamma, np.ndarray) and gamma.ndim:
            gamma = tuple(gamma.tolist())  # FocalLoss itself takes an array as one gamma for each label of a row
        if isinstance(alpha, str):
            alpha = np.array(SoftmaxFocalLoss.balanced(codes, 0.0, sample_weight=sample_weight).alpha)
        if n_classes > 2:
            if isinstance(alpha, float) and alpha == 0.5:
                alpha = np.full(n_classes, 0.5)
            if isinstance(alpha, float):
                raise ValueError(f"focal_alpha must be {ALPHA}; got {alpha!r} for {n_classes} classes")
            return SoftmaxFocalLoss(n_classes, gamma, alpha, **newton), 1.0
        scale = 1.0
        if isinstance(alpha, np.ndarray):
            scale = float(alpha.sum())
            alpha = float(alpha[1] / scale)
        return FocalLoss(gamma, alpha, **newton), scale

    def continued(self, before: Loss, codes: NDArray[np.intp], sample_weight: Any) -> Loss:
        """The loss of the model to continue, which must be the one that is set.

        Raises
        ------
        ValueError
            If another loss is set.
        """
        if any(isinstance(value, str) for value in (self.alpha, *self.class_weights.values())):
            return before  # with the frequencies that it was first trained on
        asked, _ = self.loss(codes, sample_weight)
        if asked != before:
            raise ValueError(f"the model to continue was trained with {before!r}, but this classifier has {asked!r}")
        return before

    def _alpha(self) -> float | str | Float64s | None:
        """focal_alpha, or the engine's own class weights, which are the same under another name."""
        alpha = self.alpha
        alike = alpha is None or (np.isscalar(alpha) and alpha == 0.5)
        if len(self.class_weights) + (not alike) > 1:
            given = [*([] if alike else ["focal_alpha"]), *self.class_weights]
            raise ValueError(f"only one of {', '.join(given)} may be given: they all weigh the classes")
        for name, value in self.class_weights.items():
            return by_class(name, value, self.classes, missing=1.0)
        if np.isscalar(alpha) and not isinstance(alpha, str):
            return validation.number("focal_alpha", alpha, validation.Interval(0, 1, ""), ALPHA)
        return None if alpha is None else by_class("focal_alpha", alpha, self.classes, missing=None)


def by_class(name: str, value: Any, classes: NDArray[Any], missing: float | None) -> Float64s | str:
    """A setting with one positive number for each class, in their order, or "balanced".

    A mapping may leave out classes if `missing` gives their value.
    """
    if isinstance(value, str):
        if value != "balanced":
            raise ValueError(f'{name} must be "balanced" or one positive number for each class, got {value!r}')
        return value
    if isinstance(value, Mapping):
        labels = classes.tolist()
        unknown = [key for key in value if key not in labels]
        absent = [label for label in labels if label not in value]
        if unknown or (absent and missing is None):
            raise ValueError(f"{name} must have the classes {labels} as keys, got {list(value)}")
        value = [value.get(label, missing) for label in labels]
    numbers = validation.array(name, value).astype(np.float64)
    if numbers.shape != classes.shape or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"{name} must be one positive number for each of {classes.tolist()}, got {value!r}")
    return numbers


def rates_by_class(value: Setting, classes: NDArray[Any]) -> Float64s | None:
    """`sampling_rates` with one number for each class."""
    if value is None:
        return None
    of_first = bool(np.isscalar(value)) and not isinstance(value, str)
    if of_first and classes.size > 2:
        raise ValueError(f"sampling_rates must be one number for each of {classes.tolist()}, got {value!r}")
    rates = by_class("sampling_rates", [value, 1.0] if of_first else value, classes, missing=1.0)
    if isinstance(rates, str):
        raise ValueError(f"sampling_rates must be positive numbers, got {value!r}")
    return rates
