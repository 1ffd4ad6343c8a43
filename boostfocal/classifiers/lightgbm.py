"""FocalLGBMClassifier: LightGBM's scikit-learn classifier, trained with focal loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation
from ..base import Float64s, Hessian
from . import base, files
from . import lightgbm_training as training
from .categories import with_categories
from .labels import check_unmasked
from .parameters import PARAMETERS, check_names, documented
from .state import FittedState
from .weighting import Setting

if TYPE_CHECKING:
    from .trees import Ensemble

OWN_OBJECTIVES = (None, "binary", "multiclass")
"""What an LGBMClassifier has there by itself."""


@cache
def _parameter_names(model: type[Any]) -> list[str]:
    """The parameter names of a class and its bases, its own first."""
    own = [one for one in model.__mro__ if "__init__" in vars(one) and hasattr(one, "_get_param_names")]
    return list(dict.fromkeys(name for one in own for name in one._get_param_names()))


@documented
class FocalLGBMClassifier(base.FocalClassifier, lgb.LGBMClassifier):  # type: ignore[misc]
    """`lightgbm.LGBMClassifier` with focal loss: true probabilities, the optimal start, correct metrics.

    It is used like `LGBMClassifier` and takes its parameters, except `objective`, which it sets itself. Two
    classes are trained with `FocalLoss`, more with `SoftmaxFocalLoss`. `predict_proba` returns the class
    posterior, which undoes alpha. `predict` returns its most probable class, `decision_function` the margin.

    Parameters
    ----------
    <parameters>
    **kwargs
        Parameters of `LGBMClassifier`. Metrics, here and in `fit`, may have LightGBM's names or ours. Each is
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
    START = "init_score"
    SILENT = -1

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

    @property
    def objective(self) -> Any:
        """A name that tools such as SHAP do not mistake for cross-entropy, whose link is the sigmoid."""
        given = vars(self).get("objective")
        return "focal_loss" if given is None else given

    @objective.setter
    def objective(self, given: Any) -> None:
        self.__dict__["objective"] = given

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """As LightGBM's method, but that one inspects the signatures of all our classes for each prediction."""
        given = {name: getattr(self, name) for name in _parameter_names(type(self))}
        return given | {"objective": vars(self)["objective"]} | dict(self._other_params)

    def _process_params(self, stage: str) -> dict[str, Any]:
        """The parameters without ours, about which LightGBM would warn."""
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
            Also pandas or sparse data, with missing values and categories, as LightGBM takes them.
        y : array_like of shape (n,)
            Labels of two classes or more.
        sample_weight : array_like of shape (n,), optional
        init_score : array_like of shape (n,) or (n, K), optional
            A starting margin for each row in place of the optimal constant one. The model does not keep it:
            predictions need their own. It is a margin of the loss, ``loss.margin(probability)``, not log odds.
        eval_set : (X, y) or sequence of them, optional
            Validation sets; labels that `y` does not have are refused. `eval_X` and `eval_y` give them, too:
            one of each, or a tuple.
        eval_names : list of str, optional
        eval_sample_weight, eval_init_score : sequence of array_like, optional
            One for each validation set. With `init_score`, `eval_init_score` is needed.
        eval_class_weight : None
            Refused: class weights are part of the loss.
        eval_metric : str, callable or list of them, optional
            LightGBM's names or ours, metrics of this package, or callables as LightGBM takes them. Callables
            are given probabilities. If no metric is named anywhere: "binary_logloss" or "multi_logloss".
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
            "y": y, "init_score": init_score, "eval_set": training.sets(eval_set, eval_X, eval_y),
            "eval_names": eval_names, "eval_sample_weight": eval_sample_weight, "eval_init_score": eval_init_score,
            "eval_metric": eval_metric, "feature_name": feature_name, "callbacks": callbacks,
            "categorical_feature": categorical_feature,
        })  # fmt: skip

    # --- training --------------------------------------------------------------------------------

    def _train_booster(
        self, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, previous: Self | None,
        options: Mapping[str, Any],
    ) -> tuple[lgb.Booster, FittedState, dict[str, Any]]:  # fmt: skip
        return training.train(self, X, codes, sample_weight, state, previous, options)

    def _set_booster(self, booster: lgb.Booster, history: Mapping[str, Any] | None) -> None:
        # LightGBM has no way of its own to make a classifier from a booster
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
        training.add_to_first_trees(self.booster_, by)
        return replace(self.state_, offset=self.state_.offset + by)

    def _as_trained(self) -> lgb.Booster:
        """The booster with the margins of its training, to continue training."""
        booster = self.booster_
        if self.state_.offset.any():
            booster = training.copied(booster)
            training.add_to_first_trees(booster, -self.state_.offset)
        return booster

    def _check_params(self) -> None:
        parameters = self.get_params()
        given = {parameters.get(name) for name in ("objective", *training.OBJECTIVE_ALIASES)} - set(OWN_OBJECTIVES)
        if given:
            raise ValueError(
                "objective must be left out, the focal loss is the objective (focal_gamma=0 is cross-entropy), "
                f"got {given.pop()!r}"
            )
        for name in ("gamma", "alpha"):
            if name in parameters:
                raise ValueError(f"{name} must be left out: the loss has focal_{name}, and LightGBM's trees have none")
        check_names(parameters, lgb.LGBMClassifier().get_params())
        if {parameters.get(name) for name in training.BOOSTING} & {"rf", "random_forest"}:
            raise ValueError(
                "boosting_type must not be 'rf': LightGBM's random forests refuse custom objectives and init_score"
            )
        for name, aliases in training.BAGGING_BY_LABEL.items():
            if any(parameters.get(alias, 1.0) != 1.0 for alias in aliases):
                raise ValueError(f"{name} must be left out: LightGBM ignores it under a custom objective")

    def _class_weights(self, n_classes: int) -> dict[str, Any]:
        parameters = self.get_params()
        weights = {"class_weight": parameters.get("class_weight")}
        if any(parameters.get(alias) for alias in training.UNBALANCED):
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
        """LightGBM's predictions, for columns in the order of training."""
        self._check_fitted()
        check_unmasked("X", X)
        names = [str(name) for name in getattr(X, "columns", ())]
        known = self.booster_.feature_name()
        if names and self._fitted_with_feature_names and [training.underscored(name) for name in names] != known:
            raise ValueError(f"X must have the columns of training in their order, {known}, got {names}")
        return np.asarray(lgb.LGBMModel.predict(self, with_categories(X, self.state_.categories), **options))

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

        `init_score` is for a model that was fitted with one; the other parameters are those of `LGBMClassifier`.
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
        return training.refit(self, X, codes, sample_weight, decay)

    def _ensemble(self) -> Ensemble:
        from .trees import of_lightgbm

        return of_lightgbm(self.booster_, self.state_.start.size)

    # --- files -----------------------------------------------------------------------------------

    def _content(self, path: str) -> bytes:
        return files.with_line(self.booster_.model_to_string(), self.state_)

    def _read(self, content: bytes, path: Any) -> Self:
        text = content.decode()
        state = files.read_note(files.line(text), path)
        try:
            booster = lgb.Booster(model_str=files.without_line(text))
        except lgb.basic.LightGBMError as error:
            raise files.ModelFileError(f"{path} is not a model file of LightGBM, or damaged: {error}") from error
        with files.damaged(path):
            if not isinstance(state.extras["start_inside"], bool):
                raise TypeError(f"start_inside must be true or false, got {state.extras['start_inside']!r}")
            self._set_trained_parameters(state)
        return self._adopt(booster, state)

    def _take(self, booster: lgb.Booster, state: FittedState, start: Any, training_params: Any) -> Self:
        if start is None:
            raise TypeError("start must be given, the init_score that rows were trained from (0 if none), got None")
        if training_params is not None:
            raise ValueError(f"training_params must be left out: the booster has them, got {training_params!r}")
        n_margins = state.start.size
        if booster.num_model_per_iteration() != n_margins:
            found = booster.num_model_per_iteration()
            raise ValueError(f"booster must have {n_margins} margins a row as {state.loss!r} has, got {found}")
        starts = np.atleast_1d(validation.array("start", start)).astype(np.float64)
        if starts.size == 1:
            starts = np.resize(starts, n_margins)
        if starts.shape != (n_margins,) or not np.isfinite(starts).all():
            raise ValueError(f"start must be a finite number, or one for each class, got {start!r}")
        copy = training.copied(booster)
        text = copy.model_to_string()
        inside = copy.num_trees() > 0 and "\n[linear_tree: 1]" not in text
        if inside:
            training.add_to_first_trees(copy, starts)
        trained = {name: float(training.stored(text, name) or 0) for name in training.TRAINING}
        extras = {"start_inside": inside, "training": [[copy.current_iteration(), trained]]}
        state = replace(state, start=starts, extras=extras)
        self._set_trained_parameters(state)
        return self._adopt(copy, state)
