"""How FocalXGBClassifier evaluates in training: metrics from probabilities, exact and in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import xgboost as xgb

from .. import engines
from ..metrics import Metric
from . import metrics
from .leaves import Runs, with_round


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
            elif posterior.n_classes == 2 and metrics.RANKED_BY["xgboost"].fullmatch(metric):
                theirs.append(metric)
                self._add(metric, None, True)
            else:
                # under this name an early stopping of the user's own would minimize it
                found = metrics.ours("precision_average" if metric == "average_precision" else metric, posterior.loss)
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
            proba = metrics.probabilities(self._posterior, margin)
            return metric(y, proba, sample_weight=sample_weight) if weighted else metric(y, proba)

        return score

    def early_stopping(self, rounds: int) -> Any:
        """By the last metric that was asked for, as XGBoost does it."""
        name, maximize = list(self._maximize.items())[-1]
        return xgb.callback.EarlyStopping(rounds=rounds, metric_name=name, maximize=maximize)

    def __call__(self, margin: Any, data: xgb.DMatrix) -> list[tuple[str, float]]:
        rows = engines.read_batch(margin, data, None)
        self._values.append(
            [(name, float(score(rows.labels, rows.margins, rows.sample_weight))) for name, score in self._ours.items()]
        )
        return self._values[-1]

    def correct(self, history: dict[str, dict[str, list[float]]]) -> None:
        """Put the last round's values as they are, and in the order that was asked for, into XGBoost's record.

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
    """Keeps the record right in each round, and only then calls the others, whose order XGBoost does not keep.

    Parameters
    ----------
    evaluation : Evaluation
    note : (str, str) or None
        Name and text of an attribute that the booster has from the first round on, so that checkpoints have it.
    others : sequence of callbacks
    """

    def __init__(self, evaluation: Evaluation, note: tuple[str, str] | None, others: Sequence[Any]) -> None:
        super().__init__()
        self._evaluation, self._note, self._others = evaluation, note, others
        self.runs: Runs = []
        """What each round was trained with."""

    def before_training(self, model: Any) -> Any:
        if self._note is not None:
            model.set_attr(**dict([self._note]))
        for callback in self._others:
            model = callback.before_training(model)
        return model

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
        self._evaluation.correct(evals_log)
        return any(callback.after_iteration(model, epoch, evals_log) for callback in self._others)


TRAINING = ("learning_rate", "reg_alpha", "reg_lambda", "max_delta_step")
"""What a leaf's value depends on; XGBoost keeps it in no file."""


def training_parameters(booster: xgb.Booster) -> dict[str, float]:
    """The parameters `TRAINING` as they are now."""
    found = json.loads(booster.save_config())["learner"]["gradient_booster"].get("tree_train_param", {})
    return {name: float(found.get(name, 0.0)) for name in TRAINING}
