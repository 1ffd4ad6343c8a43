"""How FocalLGBMClassifier trains: data sets, metrics from probabilities, parameters of each round, new leaf values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from ..base import Float64s
from ..metrics import Metric, by_name
from ..metrics.registry import RANKED_BY
from ..posterior import Posterior
from .labels import check_rows, encode
from .leaves import Penalties, Runs, by_round, first_rounds, refitted, with_round
from .parameters import PARAMETERS
from .state import FittedState

OBJECTIVE_ALIASES = ("objective_type", "app", "application", "loss")
METRIC_ALIASES = ("metric", "metrics", "metric_types")
UNBALANCED = ("is_unbalance", "unbalance", "unbalanced_sets")
BOOSTING = ("boosting", "boost", "boosting_type")
LINEAR = ("linear_tree", "linear_trees")
BAGGING_BY_LABEL = {
    f"{label}_bagging_fraction": [f"{label}_{name}" for name in ("bagging_fraction", "sub_row", "subsample", "bagging")]
    for label in ("pos", "neg")
}
TRAINING = {
    "lambda_l1": ("reg_alpha", "l1_regularization"), "lambda_l2": ("reg_lambda", "lambda", "l2_regularization"),
    "max_delta_step": ("max_tree_output", "max_leaf_output"),
}  # fmt: skip
"""What a leaf's value depends on beside its learning rate, which the trees keep; and its aliases."""


def train(
    model: Any, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, previous: Any,
    options: Mapping[str, Any],
) -> tuple[lgb.Booster, FittedState, dict[str, Any]]:  # fmt: skip
    classes, start, init_score = state.classes, state.start, options["init_score"]
    if np.unique(codes).size < classes.size:
        raise ValueError(f"y must have rows of every class of the model to continue, {classes.tolist()}")
    parameters = {k: v for k, v in model.get_params().items() if k not in PARAMETERS}
    named = [name for alias in METRIC_ALIASES for name in listed(parameters.pop(alias, None))]
    for alias in (*OBJECTIVE_ALIASES, *UNBALANCED, "scale_pos_weight"):
        parameters.pop(alias, None)
    theirs, ours = evaluated([*listed(options["eval_metric"]), *named], state.posterior, parameters)
    parameters |= {"objective": state.loss, "class_weight": None, "metric": theirs or "None"}
    if classes.size > 2:
        parameters["num_class"] = classes.size

    coded = [
        (
            _as_rows(rows),
            codes if rows is X and labels is options["y"] else encode(f"eval_set[{i}]", labels, classes),
        )
        for i, (rows, labels) in enumerate(options["eval_set"])
    ]
    beside = {name: options[name] for name in ("eval_sample_weight", "eval_init_score", "eval_names")}
    for i, (rows, labels) in enumerate(coded):
        check_rows(f"eval_set[{i}][0]", rows, labels.size)
    for name, given in beside.items():
        if given is not None and not isinstance(given, Mapping) and len(given) != len(coded):
            raise ValueError(f"{name} must have one for each of {len(coded)} validation sets, got {len(given)}")
    by_row = init_score is not None
    if by_row and coded and beside["eval_init_score"] is None:
        raise ValueError("eval_init_score must be given with init_score, or the validation sets would start at 0")
    if not by_row and previous is None:
        init_score = _tiled(start, codes)
        if beside["eval_init_score"] is None:
            beside["eval_init_score"] = [_tiled(start, labels) for _, labels in coded]

    before: Runs = []
    if previous is not None:
        before = first_rounds(previous.state_.extras["training"] or [], previous.booster_.current_iteration())
    watch = _Watch(parameters, before)
    arguments: dict[str, Any] = {
        "sample_weight": sample_weight, "init_score": init_score, "eval_metric": ours or None,
        "eval_names": beside["eval_names"], "eval_sample_weight": beside["eval_sample_weight"],
        "eval_init_score": beside["eval_init_score"] if coded else None, "feature_name": options["feature_name"],
        "categorical_feature": options["categorical_feature"], "callbacks": [*(options["callbacks"] or []), watch],
        "init_model": None if previous is None else previous._as_trained(),
    }  # fmt: skip
    if "eval_X" in signature(lgb.LGBMModel.fit).parameters:  # where `eval_set` is deprecated
        arguments |= {"eval_X": tuple(x for x, _ in coded) or None, "eval_y": tuple(y for _, y in coded) or None}
    else:
        arguments["eval_set"] = coded or None
    plain = _fit(parameters, X, codes, arguments)
    linear = any(parameters.get(alias) for alias in LINEAR)
    inside = not by_row and not linear and plain.booster_.num_trees() > 0
    if inside and previous is None:
        add_to_first_trees(plain.booster_, start)
    known = previous is None or previous.state_.extras["training"] is not None
    extras = {"start_inside": inside, "training": watch.runs if known else None}
    names = ("_evals_result", "_best_iteration", "_best_score", "_fitted_with_feature_names")  # the last from 4.7 on
    history = {name: getattr(plain, name) for name in names if hasattr(plain, name)}
    return plain.booster_, replace(state, start_by_row=by_row, extras=extras), history


def refit(model: Any, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> lgb.Booster:
    state, text = model.state_, model.booster_.model_to_string()
    if not state.extras["start_inside"] or "\n[boosting: dart]" in text:
        raise ValueError('boosting_type must be "gbdt" and linear_tree off for the leaves to be refitted')
    if any(part not in ("", "0") for part in stored(text, "monotone_constraints").split(",")):
        raise ValueError("monotone_constraints must be left out for the leaves to be refitted, which breaks them")
    if float(stored(text, "path_smooth") or 0) > 0:
        raise ValueError("path_smooth must be 0 for the leaves to be refitted: they depend on those above them")
    booster = copied(model.booster_)
    found = model._raw(X, pred_leaf=True).astype(np.intp)  # up to the best iteration
    trees = booster.dump_model()["tree_info"]
    inside = state.start + state.offset
    classes = [number % inside.size for number in range(len(trees))]
    shifts = [inside[number] if number < inside.size else 0.0 for number in range(len(trees))]
    values = [
        np.array([booster.get_leaf_output(number, leaf) for leaf in range(tree["num_leaves"])]) - shifts[number]
        for number, tree in enumerate(trees)
    ]
    rounds = by_round(state.extras["training"] or [], len(trees) // inside.size)
    penalties = [Penalties(*(one[name] for name in TRAINING)) for one in rounds for _ in range(inside.size)]
    rates = [tree["shrinkage"] for tree in trees]
    new = refitted(model.loss_, codes, sample_weight, found, values, classes, rates, penalties, state.start, decay)
    for number, leaves in enumerate(new):
        for leaf, value in enumerate(leaves):
            booster.set_leaf_output(number, leaf, value + shifts[number])
    return booster


class _Watch:
    """A LightGBM callback that notes the parameters of each round."""

    order, before_iteration = 1000, False  # after those that change parameters

    def __init__(self, parameters: Mapping[str, Any], before: Runs) -> None:
        self._given, self.runs = parameters, before

    def __call__(self, environment: Any) -> None:
        current = {}
        for name, aliases in TRAINING.items():
            values = [environment.params.get(alias, self._given.get(alias)) for alias in (name, *aliases)]
            current[name] = float(next((value for value in values if value is not None), 0.0))
        self.runs = with_round(self.runs, current)


def _fit(parameters: dict[str, Any], X: Any, codes: NDArray[np.intp], arguments: dict[str, Any]) -> lgb.LGBMModel:
    """A plain model of LightGBM, which takes numbered classes as they are."""
    try:
        return lgb.LGBMModel(**parameters).fit(X, codes, **arguments)
    except lgb.basic.LightGBMError as error:
        # LightGBM drops features that no split can use, and fails under a custom objective if that leaves none
        if "num_features" not in str(error):
            raise
        return lgb.LGBMModel(**parameters | {"feature_pre_filter": False}).fit(X, codes, **arguments)


def add_to_first_trees(booster: lgb.Booster, by: Float64s) -> None:
    """Add numbers to the leaves of the first tree of each class: LightGBM does not save init_score."""
    for number, tree in enumerate(booster.dump_model(num_iteration=1)["tree_info"]):
        for leaf in range(tree["num_leaves"]):
            booster.set_leaf_output(number, leaf, booster.get_leaf_output(number, leaf) + by[number])


def copied(booster: lgb.Booster) -> lgb.Booster:
    return lgb.Booster(model_str=booster.model_to_string())


def stored(text: str, name: str) -> str:
    """A parameter of training in LightGBM's text."""
    return text.partition(f"\n[{name}: ")[2].partition("]")[0]


def underscored(name: str) -> str:
    return "_".join(name.split())  # LightGBM's names have no spaces


def _tiled(start: Float64s, labels: NDArray[Any]) -> Float64s:
    """The starting margin of each row, as LightGBM takes it."""
    return np.tile(start, (labels.size, 1)) if start.size > 1 else np.full(labels.size, start[0])


def _as_rows(rows: Any) -> Any:
    return np.asarray(rows) if isinstance(rows, (list, tuple)) else rows


def sets(eval_set: Any, eval_X: Any, eval_y: Any) -> list[tuple[Any, Any]]:
    """The validation sets, given in one way or the other."""
    if (eval_X is None) != (eval_y is None):
        raise ValueError("eval_X and eval_y must be given together")
    if eval_X is not None and eval_set is not None:
        raise ValueError("only one of eval_set, and eval_X with eval_y, may be given")
    sets = [eval_set] if isinstance(eval_set, tuple) and len(eval_set) == 2 else list(eval_set or [])
    if eval_X is not None:
        both = [one if isinstance(one, tuple) else (one,) for one in (eval_X, eval_y)]
        sets += zip(*both, strict=True)
    return sets


# --- metrics ---------------------------------------------------------------------------------------

NO_METRIC = ("", "none", "null", "custom", "na")


def evaluated(asked: list[Any], posterior: Posterior, parameters: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Metric names that LightGBM computes correctly, up to the first that it does not, then callables.

    Raises
    ------
    TypeError, ValueError
        For metrics that are neither, two metrics of one name, and options of LightGBM metrics that we compute here.
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
        elif not (several or ours) and RANKED_BY["lightgbm"].fullmatch(metric.lower()):
            theirs.append(metric.lower())
        elif metric.lower() not in NO_METRIC:
            ours.append(by_name(metric.lower(), posterior.loss, posterior.n_classes))
    names = [metric.name for metric in ours if isinstance(metric, Metric)]
    for name in [*theirs, *names]:
        if [*theirs, *names].count(name) > 1:
            raise ValueError(f"eval_metric must be metrics of different names, got two of {name!r}")
    return theirs, ours


def _of_user(metric: Callable[..., Any], posterior: Posterior) -> Callable[..., Any]:
    """A user's metric on probabilities. It has as many parameters as the user's, since LightGBM counts them."""

    def proba(margin: Any) -> NDArray[np.float64]:
        return posterior.given_to_metrics(margin)

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
