"""Which metrics FocalLGBMClassifier has LightGBM compute, and which are computed here from probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import Metric
from ..posterior import Posterior
from . import metrics

NO_METRIC = ("", "none", "null", "custom", "na")


def evaluated(asked: list[Any], posterior: Posterior, parameters: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Names that LightGBM computes rightly, up to the first that it does not, and callables; in this order.

    Raises
    ------
    TypeError, ValueError
        For metrics that are neither, two of one name, and options of LightGBM's metrics that are computed here.
    """
    several = posterior.n_classes > 2
    for name, plain in (("multi_error_top_k", (None, 1)), ("auc_mu_weights", (None, ""))):
        if parameters.get(name) not in plain:
            raise ValueError(f"{name} must be left out: the metrics that it is for are not LightGBM's here")
    theirs: list[str] = []
    ours: list[Any] = []
    for metric in asked or ["multi_logloss" if several else "binary_logloss"]:
        if isinstance(metric, Metric):
            ours.append(metric)
        elif callable(metric):
            ours.append(_of_user(metric, posterior))
        elif not isinstance(metric, str):
            raise TypeError(f"eval_metric must be a name, a callable or a list of them, got {metric!r}")
        elif not (several or ours) and metrics.RANKED_BY["lightgbm"].fullmatch(metric.lower()):
            theirs.append(metric.lower())
        elif metric.lower() not in NO_METRIC:
            ours.append(metrics.ours(metric.lower(), posterior.loss))
    names = [metric.name for metric in ours if isinstance(metric, Metric)]
    for name in [*theirs, *names]:
        if [*theirs, *names].count(name) > 1:
            raise ValueError(f"eval_metric must be metrics of different names, got two of {name!r}")
    return theirs, ours


def _of_user(metric: Callable[..., Any], posterior: Posterior) -> Callable[..., Any]:
    """A user's metric on probabilities. It has as many parameters as the user's, since LightGBM counts them."""

    def proba(margin: Any) -> NDArray[np.float64]:
        return metrics.probabilities(posterior, margin)

    count = len(signature(metric).parameters)
    if not 2 <= count <= 4:
        raise TypeError(
            f"eval_metric must take (labels, probabilities), with weights and group or without, and give (name, value, "
            f"is_higher_better), got {getattr(metric, '__name__', metric)!r} with {count} parameters"
        )
    if count == 2:
        return lambda y, margin: metric(y, proba(margin))
    if count == 3:
        return lambda y, margin, weight: metric(y, proba(margin), weight)
    return lambda y, margin, weight, group: metric(y, proba(margin), weight, group)


def listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",")]
    return [] if value is None else list(value) if isinstance(value, (list, tuple, set)) else [value]
