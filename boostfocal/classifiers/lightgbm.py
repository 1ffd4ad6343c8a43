"""FocalLGBMClassifier: LightGBM's scikit-learn classifier, trained with focal loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation
from ..base import Float64s, Hessian
from ..posterior import Loss
from . import base, files
from .labels import as_labels, check_rows, encode
from .leaves import Penalties, Runs, by_round, first_rounds, refitted, with_round
from .lightgbm_evaluation import evaluated, listed
from .parameters import PARAMETERS, check_names, documented
from .state import FittedState, untrained
from .weighting import Setting

if TYPE_CHECKING:
    from .trees import Ensemble

OWN_OBJECTIVES = (None, "binary", "multiclass")
"""What an LGBMClassifier has there by itself."""

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


@documented
class FocalLGBMClassifier(base.FocalClassifier, lgb.LGBMClassifier):  # type: ignore[misc]
    """`lightgbm.LGBMClassifier` with focal loss: true probabilities, the optimal start, metrics that are right.

    It takes every parameter of `LGBMClassifier` but `objective`, which it sets itself, and is used in the
    same way. Two classes are trained with `FocalLoss`, more with `SoftmaxFocalLoss`. `predict_proba` is the
    class posterior, which undoes alpha; `predict` its most probable class; `decision_function` the margin.

    Parameters
    ----------
    <parameters>
    **kwargs
        Parameters of `LGBMClassifier`. Metrics, here and in `fit`, may be LightGBM's names and ours, each
        computed from the true probabilities.

    Attributes
    ----------
    <attributes>

    Examples
    --------
    >>> import numpy as np
    >>> from boostfocal import FocalLGBMClassifier
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> y = np.where(X[:, 0] + X[:, 1] > 2, "fraud", "good")
    >>> model = FocalLGBMClassifier(n_estimators=20, verbosity=-1).fit(X, y)
    >>> model.classes_
    array(['fraud', 'good'], dtype='<U5')
    >>> model.predict_proba(X).shape
    (1000, 2)
    """

    CLASS_WEIGHTS = ("class_weight", "scale_pos_weight", "is_unbalance")

    def __init__(
        self,
        *,
        focal_gamma: Any = 0.5,
        focal_alpha: Setting = 0.5,
        focal_hessian: Hessian = "expected",
        focal_max_step: float = 10.0,
        sampling_rates: Setting = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.focal_gamma = focal_gamma
        self.focal_alpha = focal_alpha
        self.focal_hessian = focal_hessian
        self.focal_max_step = focal_max_step
        self.sampling_rates = sampling_rates

    def _process_params(self, stage: str) -> dict[str, Any]:
        """Without ours, of which LightGBM would warn."""
        return {k: v for k, v in super()._process_params(stage).items() if k not in PARAMETERS}

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        init_score: ArrayLike | None = None,
        eval_set: Sequence[tuple[Any, Any]] | tuple[Any, Any] | None = None,
        eval_names: list[str] | None = None,
        eval_sample_weight: Sequence[ArrayLike] | None = None,
        eval_class_weight: None = None,
        eval_init_score: Sequence[ArrayLike] | None = None,
        eval_metric: Any = None,
        feature_name: Any = "auto",
        categorical_feature: Any = "auto",
        callbacks: list[Callable[..., Any]] | None = None,
        init_model: str | Path | FocalLGBMClassifier | None = None,
        *,
        eval_X: Any = None,
        eval_y: Any = None,
    ) -> Self:
        """Fit to labels of any kind; the parameters are those of `LGBMClassifier.fit`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Also pandas, sparse, with missing values and categories, as LightGBM takes it.
        y : array_like of shape (n,)
            Labels of two classes or more.
        sample_weight : array_like of shape (n,), optional
        init_score : array_like of shape (n,) or (n, K), optional
            A starting margin for each row in place of the optimal constant one. It is not in the model:
            predictions want theirs.
        eval_set : (X, y) or sequence of them, optional
            Validation sets; labels that `y` does not have are refused. Or `eval_X` and `eval_y`, one or a
            tuple of them.
        eval_names : list of str, optional
        eval_sample_weight, eval_init_score : sequence of array_like, optional
            For each validation set; with `init_score` the second is needed.
        eval_class_weight : None
            Refused: class weights are part of the loss.
        eval_metric : str, callable or list of them, optional
            Names of LightGBM or ours, metrics of this package, or callables as LightGBM takes them, which
            are given probabilities. "binary_logloss" or "multi_logloss" if no metric is named anywhere.
        feature_name, categorical_feature, callbacks
            As LightGBM takes them.
        init_model : FocalLGBMClassifier or path of its file, optional
            A model to continue, with its classes, loss and start.

        Returns
        -------
        self
        """
        if eval_class_weight is not None:
            raise ValueError("eval_class_weight must be left out: class weights are part of the loss (focal_alpha)")
        return self._fit(X, y, sample_weight, init_model, {
            "y": y, "init_score": init_score, "eval_set": _sets(eval_set, eval_X, eval_y), "eval_names": eval_names,
            "eval_sample_weight": eval_sample_weight, "eval_init_score": eval_init_score, "eval_metric": eval_metric,
            "feature_name": feature_name, "categorical_feature": categorical_feature, "callbacks": callbacks,
        })  # fmt: skip

    # --- training --------------------------------------------------------------------------------

    def _train_booster(
        self, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, previous: Self | None,
        options: Mapping[str, Any],
    ) -> tuple[lgb.Booster, FittedState, dict[str, Any]]:  # fmt: skip
        classes, start, init_score = state.classes, state.start, options["init_score"]
        if np.unique(codes).size < classes.size:
            raise ValueError(f"y must have rows of every class of the model to continue, {classes.tolist()}")
        parameters = {k: v for k, v in self.get_params().items() if k not in PARAMETERS}
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
            _add_to_first_trees(plain.booster_, start)
        known = previous is None or previous.state_.extras["training"] is not None
        extras = {"start_inside": inside, "training": watch.runs if known else None}
        history = {name: getattr(plain, name) for name in ("_evals_result", "_best_iteration", "_best_score")}
        history["_fitted_with_feature_names"] = plain._fitted_with_feature_names
        return plain.booster_, replace(state, start_by_row=by_row, extras=extras), history

    def _set_booster(self, booster: lgb.Booster, history: Mapping[str, Any] | None) -> None:
        # LightGBM has no way of its own to make a classifier of a booster
        n_features, n_classes = booster.num_feature(), self.state_.classes.size
        named = booster.feature_name() != [f"Column_{i}" for i in range(n_features)]
        found = {
            "_Booster": booster, "_objective": self.state_.loss, "fitted_": True, "_n_features": n_features,
            "_n_features_in": n_features, "_classes": np.arange(n_classes), "_n_classes": n_classes,
            "_best_iteration": booster.best_iteration, "_fitted_with_feature_names": named,
        }  # fmt: skip
        self.__dict__.update(found | dict(history or {}))

    def _store_state(self) -> None:
        """LightGBM keeps no notes: the state goes into a file beside its text."""

    def _add_to_margins(self, by: Float64s) -> FittedState:
        if not self.state_.extras["start_inside"]:
            return replace(self.state_, start=self.state_.start + by)
        _add_to_first_trees(self.booster_, by)
        return replace(self.state_, offset=self.state_.offset + by)

    def _as_trained(self) -> lgb.Booster:
        """The booster with the margins of its training, for more of it."""
        booster = self.booster_
        if self.state_.offset.any():
            booster = _copied(booster)
            _add_to_first_trees(booster, -self.state_.offset)
        return booster

    def _check_params(self) -> None:
        parameters = self.get_params()
        given = {parameters.get(name) for name in ("objective", *OBJECTIVE_ALIASES)} - set(OWN_OBJECTIVES)
        if given:
            raise ValueError(
                "objective must be left out, the focal loss is the objective (focal_gamma=0 is cross-entropy), "
                f"got {given.pop()!r}"
            )
        for name in ("gamma", "alpha"):
            if name in parameters:
                raise ValueError(f"{name} must be left out: the loss has focal_{name}, and LightGBM's trees have none")
        check_names(parameters, lgb.LGBMClassifier().get_params())
        if {parameters.get(name) for name in BOOSTING} & {"rf", "random_forest"}:
            raise ValueError(
                "boosting_type must not be 'rf': LightGBM's random forests refuse custom objectives and init_score"
            )
        for name, aliases in BAGGING_BY_LABEL.items():
            if any(parameters.get(alias, 1.0) != 1.0 for alias in aliases):
                raise ValueError(f"{name} must be left out: LightGBM ignores it under a custom objective")

    def _class_weights(self, n_classes: int) -> dict[str, Any]:
        parameters = self.get_params()
        weights = {"class_weight": parameters.get("class_weight")}
        if any(parameters.get(alias) for alias in UNBALANCED):
            weights["is_unbalance"] = "balanced"
        weight = parameters.get("scale_pos_weight")
        if weight is not None and weight != 1:
            if n_classes > 2:
                raise ValueError(f"scale_pos_weight must be left out for {n_classes} classes: use focal_alpha")
            weights["scale_pos_weight"] = [1.0, weight]
        return weights

    def _resolve_init_model(self, model: Any) -> FocalLGBMClassifier | None:
        if isinstance(model, (str, os.PathLike)):
            model = FocalLGBMClassifier().load_model(model)
        elif model is not None and not isinstance(model, FocalLGBMClassifier):
            raise ValueError(f"init_model must be a FocalLGBMClassifier or the path of its file, got {model!r}")
        if model is not None:
            model._check_fitted()
            if not model.state_.extras["start_inside"]:
                raise ValueError("init_model must not be of linear trees, whose start is not inside the trees")
        return model  # type: ignore[no-any-return]

    # --- predictions -----------------------------------------------------------------------------

    def _raw(self, X: Any, **options: Any) -> NDArray[Any]:
        """What LightGBM predicts, for columns in the order of training."""
        self._check_fitted()
        names = [str(name) for name in getattr(X, "columns", ())]
        known = self.booster_.feature_name()
        if names and self._fitted_with_feature_names and [_underscored(name) for name in names] != known:
            raise ValueError(f"X must have the columns of training in their order, {known}, got {names}")
        return np.asarray(lgb.LGBMModel.predict(self, X, **options))

    def _margin(self, X: Any, **options: Any) -> NDArray[Any]:
        self._check_fitted()
        state, own = self.state_, options.pop("init_score", None)
        if state.start_by_row and own is None:
            raise ValueError("init_score must be given: the model was trained from one for each row")
        margin = self._raw(X, raw_score=True, **options)
        if own is not None:
            return margin + np.asarray(own)
        if state.extras["start_inside"]:
            return margin
        return margin + self.start_

    def decision_function(
        self,
        X: Any,
        *,
        start_iteration: int = 0,
        num_iteration: int | None = None,
        validate_features: bool = False,
        init_score: ArrayLike | None = None,
        **kwargs: Any,
    ) -> NDArray[Any]:
        """Margins, before any link: of shape (n,) for two classes, else (n, K).

        `init_score` is for a model that was fitted with one; the rest is that of `LGBMClassifier`.
        """
        return self._margin(
            X, start_iteration=start_iteration, num_iteration=num_iteration, validate_features=validate_features,
            init_score=init_score, **kwargs,
        )  # fmt: skip

    def predict_proba(
        self,
        X: Any,
        raw_score: bool = False,
        start_iteration: int = 0,
        num_iteration: int | None = None,
        pred_leaf: bool = False,
        pred_contrib: bool = False,
        validate_features: bool = False,
        **kwargs: Any,
    ) -> NDArray[Any]:
        """True probabilities of the classes: the posterior of the margins, of shape (n, K)."""
        options = {
            "start_iteration": start_iteration, "num_iteration": num_iteration, "validate_features": validate_features,
            **kwargs,
        }  # fmt: skip
        if pred_leaf or pred_contrib:
            return self._raw(X, pred_leaf=pred_leaf, pred_contrib=pred_contrib, **options)
        margin = self._margin(X, **options)
        return margin if raw_score else self.posterior_.predict_proba(margin)

    def predict(
        self,
        X: Any,
        raw_score: bool = False,
        start_iteration: int = 0,
        num_iteration: int | None = None,
        pred_leaf: bool = False,
        pred_contrib: bool = False,
        validate_features: bool = False,
        **kwargs: Any,
    ) -> NDArray[Any]:
        """The most probable class of each row, or what `raw_score`, `pred_leaf` or `pred_contrib` asks for."""
        found = self.predict_proba(
            X, raw_score, start_iteration, num_iteration, pred_leaf, pred_contrib, validate_features, **kwargs
        )
        if raw_score or pred_leaf or pred_contrib:
            return found
        return self._decide(found)

    def _refit(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> lgb.Booster:
        state, text = self.state_, self.booster_.model_to_string()
        if not state.extras["start_inside"] or "\n[boosting: dart]" in text:
            raise ValueError('boosting_type must be "gbdt" and linear_tree off for the leaves to be refitted')
        if any(part not in ("", "0") for part in _stored(text, "monotone_constraints").split(",")):
            raise ValueError("monotone_constraints must be left out for the leaves to be refitted, which breaks them")
        if float(_stored(text, "path_smooth") or 0) > 0:
            raise ValueError("path_smooth must be 0 for the leaves to be refitted: they depend on those above them")
        booster = _copied(self.booster_)
        found = self._raw(X, pred_leaf=True).astype(np.intp)  # up to the best iteration
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
        new = refitted(self.loss_, codes, sample_weight, found, values, classes, rates, penalties, state.start, decay)
        for number, leaves in enumerate(new):
            for leaf, value in enumerate(leaves):
                booster.set_leaf_output(number, leaf, value + shifts[number])
        return booster

    def _ensemble(self) -> Ensemble:
        from .trees import of_lightgbm

        return of_lightgbm(self.booster_, self.state_.start.size)

    # --- files -----------------------------------------------------------------------------------

    def save_model(self, path: str | os.PathLike[str]) -> None:
        """Write one text file that is the whole model, up to the best iteration.

        The loss, the labels and the posterior are a line of its header, which plain LightGBM passes over;
        `boostfocal.load` gives back a classifier. The file appears whole, or the one that was there stays.

        Parameters
        ----------
        path : path

        Raises
        ------
        TypeError
            For labels that are no numbers, bools or text.
        """
        self._check_fitted()
        files.write(path, files.with_digest(files.with_line(self.booster_.model_to_string(), self.state_)))

    @base.all_or_nothing
    def load_model(self, path: str | os.PathLike[str]) -> Self:
        """Take the model in a file, its loss and labels; the loss becomes this classifier's parameters.

        Parameters
        ----------
        path : path
            Written by `save_model`.

        Returns
        -------
        self

        Raises
        ------
        ModelFileError
            For a file that is damaged, or was not written by a focal classifier.
        """
        content = Path(path).read_bytes().replace(b"\r\n", b"\n")
        files.check_digest(content, path)
        text = content.decode()
        state = files.read_note(files.line(text), path)
        try:
            booster = lgb.Booster(model_str=files.without_line(text))
        except lgb.basic.LightGBMError as error:
            raise files.ModelFileError(f"{path} is no model file of LightGBM, or damaged: {error}") from error
        with files.damaged(path):
            if not isinstance(state.extras["start_inside"], bool):
                raise TypeError(f"start_inside must be true or false, got {state.extras['start_inside']!r}")
            self._set_trained_parameters(state)
        return self._adopt(booster, state)

    @classmethod
    def from_booster(
        cls,
        booster: lgb.Booster,
        loss: Loss,
        classes: ArrayLike | None = None,
        *,
        start: float | ArrayLike | None = None,
        training_params: Mapping[str, Any] | None = None,
    ) -> Self:
        """A classifier from a booster that was trained otherwise: by ``lightgbm.train``, on Dask, on Ray.

        Parameters
        ----------
        booster : lightgbm.Booster
            It is copied, up to the best iteration.
        loss : FocalLoss or SoftmaxFocalLoss
            The objective that it was trained with.
        classes : array_like of shape (K,), optional
            What the labels 0, ..., K - 1 stand for, in ascending order.
        start : float, or array_like of shape (K,)
            The `init_score` that every row was trained from, 0 if none. LightGBM does not save it; here it goes
            into the first trees.
        training_params : None
            For XGBoost: LightGBM keeps penalties and learning rates in the booster.

        Returns
        -------
        FocalLGBMClassifier
            Its probabilities are the loss's posterior; with weights by class, `recalibrate` levels them.

        Raises
        ------
        TypeError, ValueError
            For another loss, classes out of order, and a booster or start of another number of classes.
        """
        if start is None:
            raise TypeError("start must be given, the init_score that rows were trained from (0 if none), got None")
        if training_params is not None:
            raise ValueError(f"training_params must be left out: the booster has them, got {training_params!r}")
        n_classes = getattr(loss, "n_classes", 2)
        state = untrained(loss, as_labels(range(n_classes) if classes is None else classes))
        n_margins = state.start.size
        if booster.num_model_per_iteration() != n_margins:
            found = booster.num_model_per_iteration()
            raise ValueError(f"booster must have {n_margins} margins a row as {loss!r} has, got {found}")
        starts = np.atleast_1d(validation.array("start", start)).astype(np.float64)
        if starts.size == 1:
            starts = np.resize(starts, n_margins)
        if starts.shape != (n_margins,) or not np.isfinite(starts).all():
            raise ValueError(f"start must be a finite number, or one for each class, got {start!r}")
        copy = _copied(booster)
        text = copy.model_to_string()
        inside = copy.num_trees() > 0 and "\n[linear_tree: 1]" not in text
        if inside:
            _add_to_first_trees(copy, starts)
        trained = {name: float(_stored(text, name) or 0) for name in TRAINING}
        extras = {"start_inside": inside, "training": [[copy.current_iteration(), trained]]}
        model = cls()
        state = replace(state, start=starts, extras=extras)
        model._set_trained_parameters(state)
        return model._adopt(copy, state)


class _Watch:
    """A callback of LightGBM that notes what each round was trained with."""

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


def _add_to_first_trees(booster: lgb.Booster, by: Float64s) -> None:
    """Add numbers to the leaves of the first tree of each class: LightGBM does not save init_score."""
    for number, tree in enumerate(booster.dump_model(num_iteration=1)["tree_info"]):
        for leaf in range(tree["num_leaves"]):
            booster.set_leaf_output(number, leaf, booster.get_leaf_output(number, leaf) + by[number])


def _copied(booster: lgb.Booster) -> lgb.Booster:
    return lgb.Booster(model_str=booster.model_to_string())


def _stored(text: str, name: str) -> str:
    """A parameter of training in LightGBM's text."""
    return text.partition(f"\n[{name}: ")[2].partition("]")[0]


def _underscored(name: str) -> str:
    return "_".join(name.split())  # LightGBM's names have no spaces


def _tiled(start: Float64s, labels: NDArray[Any]) -> Float64s:
    """The starting margin of each row, as LightGBM takes it."""
    return np.tile(start, (labels.size, 1)) if start.size > 1 else np.full(labels.size, start[0])


def _as_rows(rows: Any) -> Any:
    return np.asarray(rows) if isinstance(rows, (list, tuple)) else rows


def _sets(eval_set: Any, eval_X: Any, eval_y: Any) -> list[tuple[Any, Any]]:
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
