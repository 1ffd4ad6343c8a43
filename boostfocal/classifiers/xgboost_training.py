"""How FocalXGBClassifier trains: data sets, metrics from probabilities, notes in each round, and new leaf values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from .. import devices, engines, validation
from ..base import Float64s
from ..device_training import TrainingOnDevice
from ..metrics import Metric, by_name
from ..metrics.registry import RANKED_BY
from . import files
from .labels import check_rows, encode
from .leaves import Penalties, Runs, by_round, first_rounds, refitted, with_round
from .state import FittedState


def train(
    model: Any, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, previous: Any,
    options: Mapping[str, Any],
) -> tuple[xgb.Booster, FittedState, dict[str, Any]]:  # fmt: skip
    base_margin, eval_set = options["base_margin"], options["eval_set"]
    if base_margin is not None and eval_set and options["base_margin_eval_set"] is None:
        raise ValueError("base_margin_eval_set must be given with base_margin, or the validation sets would start at 0")
    n_classes = state.classes.size
    parameters = model.get_xgb_params() | {"disable_default_eval_metric": 1}
    if n_classes > 2:
        parameters["num_class"] = n_classes
    if previous is None:  # XGBoost keeps it; given again, it would shift the existing trees
        start = state.start if base_margin is None else np.zeros_like(state.start)
        parameters["base_score"] = start.tolist() if start.size > 1 else float(start[0])
    missing: float | str | None = None if np.isnan(model.missing) else float(model.missing)
    if missing in (np.inf, -np.inf):
        missing = str(missing)  # JSON has no infinity
    before = (
        []
        if previous is None
        else first_rounds(previous.state_.extras["training"] or [], rounds_used(previous._Booster))
    )
    state = replace(state, start_by_row=base_margin is not None, extras={"missing": missing, "training": before})
    evaluation = Evaluation(model.eval_metric, state.posterior)
    callbacks = list(model.callbacks or [])
    if model.early_stopping_rounds is not None:
        callbacks.append(evaluation.early_stopping(model.early_stopping_rounds))
    ours = Callbacks(evaluation, state, callbacks)
    with xgb.config_context(verbosity=model.verbosity or xgb.get_config()["verbosity"]):
        train, evals = _matrices(model, X, codes, sample_weight, state, options)
        on_device = str(model.device).startswith(("cuda", "gpu")) and devices.compute()
        rounds = [TrainingOnDevice(state.loss, X, codes, sample_weight, model.missing)] if on_device else []
        results: dict[str, Any] = {}
        booster = xgb.train(
            parameters | evaluation.parameters,
            train,
            model.get_num_boosting_rounds(),
            evals=evals,
            evals_result=results,
            obj=state.loss,
            custom_metric=evaluation if evals else None,
            verbose_eval=options["verbose"],
            xgb_model=None if previous is None else previous._as_trained(),
            callbacks=[*rounds, ours],
        )
    constrained = any(_constraints(model.monotone_constraints))
    known = previous is None or previous.state_.extras["training"] is not None
    extras = {"missing": missing, "training": [*before, *ours.runs] if known else None, "constrained": constrained}
    return booster, replace(state, extras=extras), results


def _matrices(
    model: Any, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, options: Mapping[str, Any]
) -> tuple[xgb.DMatrix, list[tuple[xgb.DMatrix, str]]]:
    """The training set, and the validation sets with their names."""
    eval_set, base_margin, weights = options["eval_set"], options["base_margin"], options["feature_weights"]
    beside: dict[str, Sequence[Any]] = {}
    for name in ("sample_weight_eval_set", "base_margin_eval_set"):
        given = options[name]
        beside[name] = [None] * len(eval_set) if given is None else list(given)
        if len(beside[name]) != len(eval_set):
            raise ValueError(f"{name} must have one for each of {len(eval_set)} eval_set, got {len(beside[name])}")
    shared = {
        "missing": model.missing, "enable_categorical": model.enable_categorical, "feature_types": model.feature_types,
        "feature_weights": weights if weights is not None else model.feature_weights, "group": None, "qid": None,
    }  # fmt: skip
    train = model._create_dmatrix(
        ref=None, data=X, label=codes, weight=sample_weight, base_margin=base_margin, **shared
    )
    evals = []
    for i, (X_eval, y_eval) in enumerate(eval_set):
        weight, margin = (beside[name][i] for name in beside)
        given_weight = options["given_weight"]
        if X_eval is X and y_eval is options["y"] and weight is given_weight and margin is base_margin:
            evals.append((train, f"validation_{i}"))
            continue
        labels = encode(f"eval_set[{i}]", y_eval, state.classes)
        check_rows(f"eval_set[{i}][0]", X_eval, labels.size)
        held_out = model._create_dmatrix(
            ref=train, data=X_eval, label=labels, weight=weight, base_margin=margin, **shared
        )
        evals.append((held_out, f"validation_{i}"))
    return train, evals


def refit(model: Any, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> xgb.Booster:
    extras = model.state_.extras
    if extras.get("constrained"):
        raise ValueError("monotone_constraints must be left out for the leaves to be refitted, which breaks them")
    document = json.loads(bytes(model._Booster.save_raw("json")))
    booster = document["learner"]["gradient_booster"]
    if booster["name"] != "gbtree" or "weight_drop" in booster["model"]:
        raise ValueError("booster must be gbtree for its leaves to be refitted")
    stored = booster["model"]
    if int(stored["gbtree_model_param"]["num_parallel_tree"]) > 1:
        raise ValueError("num_parallel_tree must be 1 for the leaves to be refitted")
    found = np.reshape(model.apply(X), (codes.size, -1)).astype(np.intp)  # up to the best iteration
    trees, start = stored["trees"][: found.shape[1]], model.state_.start
    rounds = by_round(extras["training"] or [], len(trees) // start.size)
    trained = [one for one in rounds for _ in range(start.size)]
    penalties = [Penalties(one["reg_alpha"], one["reg_lambda"], one["max_delta_step"]) for one in trained]
    present = [np.array(tree["split_conditions"], np.float64) for tree in trees]
    rates, classes = [one["learning_rate"] for one in trained], stored["tree_info"][: len(trees)]
    new = refitted(model.loss_, codes, sample_weight, found, present, classes, rates, penalties, start, decay)
    for tree, values in zip(trees, new, strict=True):
        leaf = np.array(tree["left_children"]) == -1
        tree["split_conditions"] = np.where(leaf, values, tree["split_conditions"]).tolist()
    result = model._Booster.copy()
    result.load_model(bytearray(json.dumps(document).encode()))
    return result


# --- metrics and notes ---------------------------------------------------------------------------


class Evaluation:
    """The metrics that were asked for: those that XGBoost computes, and ours in one callable."""

    def __init__(self, asked: Any, posterior: Any) -> None:
        default = "logloss" if posterior.n_classes == 2 else "mlogloss"
        listed = [asked] if isinstance(asked, str) or callable(asked) else default if asked is None else asked
        if not isinstance(listed, Sequence):
            raise TypeError(f"eval_metric must be a name, a callable or a list of them, got {asked!r}")
        self._posterior = posterior
        self._ours: dict[str, Callable[..., Any]] = {}
        self._maximize: dict[str, bool | None] = {}
        theirs = []
        for metric in [listed] if isinstance(listed, str) else listed or [default]:
            if isinstance(metric, Metric):
                self._add(metric.name, metric.score, metric.greater_is_better)
            elif callable(metric):
                name = getattr(metric, "__name__", None)
                if name is None:
                    raise TypeError(f"eval_metric must be callables with a __name__, which logs show, got {metric!r}")
                self._add(name, self._of_user(metric), None)  # by its name, as XGBoost does it
            elif not isinstance(metric, str):
                raise TypeError(f"eval_metric must be a name, a callable or a list of them, got {metric!r}")
            elif posterior.n_classes == 2 and RANKED_BY["xgboost"].fullmatch(metric):
                theirs.append(metric)
                self._add(metric, None, True)
            else:
                # under this name a user's own early stopping would minimize it
                found = by_name(
                    "precision_average" if metric == "average_precision" else metric,
                    posterior.loss,
                    posterior.n_classes,
                )
                self._add(found.name, found.score, found.greater_is_better)
        self.parameters: dict[str, Any] = {"eval_metric": theirs} if theirs else {}
        self._values: list[list[tuple[str, float]]] = []

    def _add(self, name: str, score: Callable[..., Any] | None, maximize: bool | None) -> None:
        if name in self._maximize:
            raise ValueError(f"eval_metric must be metrics of different names, got two of {name!r}")
        self._maximize[name] = maximize
        if score is not None:
            self._ours[name] = score

    def _of_user(self, metric: Callable[..., Any]) -> Callable[..., Any]:
        weighted = "sample_weight" in signature(metric).parameters

        def score(y: Any, margin: Any, sample_weight: Any) -> Any:
            proba = self._posterior.given_to_metrics(margin)
            return metric(y, proba, sample_weight=sample_weight) if weighted else metric(y, proba)

        return score

    def early_stopping(self, rounds: int) -> Any:
        """Stop by the last metric that was asked for, as XGBoost does."""
        name, maximize = list(self._maximize.items())[-1]
        return xgb.callback.EarlyStopping(rounds=rounds, metric_name=name, maximize=maximize)

    def __call__(self, margin: Any, data: xgb.DMatrix) -> list[tuple[str, float]]:
        rows = engines.read_batch(margin, data, None)
        self._values.append(
            [(name, float(score(rows.labels, rows.margins, rows.sample_weight))) for name, score in self._ours.items()]
        )
        return self._values[-1]

    def correct(self, history: dict[str, dict[str, list[float]]]) -> None:
        """Put the last round's exact values into XGBoost's record, in the order that was asked for.

        XGBoost passes a custom metric on as text with six decimals, too few for the Brier score of rare events,
        and records its own metrics first.
        """
        for record, values in zip(history.values(), self._values, strict=False):
            for name, value in values:
                record[name][-1] = value
            for name in self._maximize:
                if name in record:
                    record[name] = record.pop(name)
        self._values.clear()


class Callbacks(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Corrects the record in each round, and only then calls the other callbacks, whose order XGBoost does not keep.

    Parameters
    ----------
    evaluation : Evaluation
    state : FittedState
        The content of the booster's note from the first round on, so that checkpoints have it.
    others : sequence of callbacks
    """

    def __init__(self, evaluation: Evaluation, state: FittedState, others: Sequence[Any]) -> None:
        super().__init__()
        self._evaluation, self._state, self._others = evaluation, state, others
        self._before: Runs = state.extras["training"]
        self.runs: Runs = []
        """What each round of this training was trained with."""

    def before_training(self, model: Any) -> Any:
        self._write_note(model)
        for callback in self._others:
            model = callback.before_training(model)
        return model

    def _write_note(self, model: Any) -> None:
        state = replace(self._state, extras={**self._state.extras, "training": [*self._before, *self.runs]})
        if (note := noted(state)) is not None:
            model.set_attr(**dict([note]))

    def after_training(self, model: Any) -> Any:
        for callback in self._others:
            model = callback.after_training(model)
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        return any(callback.before_iteration(model, epoch, evals_log) for callback in self._others)

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        # only callbacks change a parameter between rounds, and reading them takes a while
        current = training_parameters(model) if self._others or not self.runs else self.runs[-1][1]
        self.runs = with_round(self.runs, current)
        if self._others:  # one of them may save the booster
            self._write_note(model)
        self._evaluation.correct(evals_log)
        return any(callback.after_iteration(model, epoch, evals_log) for callback in self._others)


TRAINING = ("learning_rate", "reg_alpha", "reg_lambda", "max_delta_step")
"""What a leaf's value depends on; XGBoost keeps it in no file."""


def training_parameters(booster: xgb.Booster) -> dict[str, float]:
    """The present values of the parameters `TRAINING`."""
    found = json.loads(booster.save_config())["learner"]["gradient_booster"].get("tree_train_param", {})
    return {name: float(found.get(name, 0.0)) for name in TRAINING}


def noted(state: FittedState) -> tuple[str, str] | None:
    """The attribute that keeps the state; None for labels that no file can hold (the classifier can be pickled)."""
    try:
        return files.KEY, files.note(state)
    except TypeError:
        return None


def rounds_used(booster: xgb.Booster) -> int:
    """The number of rounds that a classifier predicts with."""
    best = booster.attr("best_iteration")
    return int(booster.num_boosted_rounds()) if best is None else int(best) + 1


def set_base_score(booster: xgb.Booster, start: Float64s) -> None:
    booster.set_param({"base_score": start.tolist() if start.size > 1 else float(start[0])})


def _constraints(monotone: Any) -> list[int]:
    """Monotone constraints in any form that XGBoost takes: text, a sequence, or a mapping by name."""
    if isinstance(monotone, str):
        return [int(part) for part in monotone.strip("() ").split(",") if part.strip()]
    return [int(one) for one in (monotone.values() if isinstance(monotone, Mapping) else monotone or ())]


def given_parameters(parameters: Mapping[str, Any]) -> dict[str, float]:
    """The parameters that leaf values depend on, given under any of XGBoost's names, or its defaults."""
    names = {"learning_rate": ("eta", 0.3), "reg_alpha": ("alpha", 0.0), "reg_lambda": ("lambda", 1.0)}
    names["max_delta_step"] = ("max_delta_step", 0.0)
    finite = validation.Interval(-np.inf, np.inf, "")
    return {
        name: validation.number(name, parameters.get(name, parameters.get(alias, default)), finite, "a finite number")
        for name, (alias, default) in names.items()
    }
