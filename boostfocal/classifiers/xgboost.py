"""FocalXGBClassifier: XGBoost's scikit-learn classifier, trained with focal loss."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xgboost as xgb
from numpy.typing import ArrayLike, NDArray

from .. import devices
from ..base import Float64s, Hessian
from . import base, files
from . import xgboost_training as training
from .categories import with_categories
from .labels import check_unmasked
from .parameters import PARAMETERS, check_names, documented
from .state import FittedState
from .weighting import Setting

if TYPE_CHECKING:
    from .trees import Ensemble

OWN_OBJECTIVES = (None, "binary:logistic", "multi:softprob", "multi:softmax")
"""What an XGBClassifier has there by itself."""

BEST = ("best_iteration", "best_score")
"""Attributes of a booster that early stopping sets."""


@documented
class FocalXGBClassifier(base.FocalClassifier, xgb.XGBClassifier):  # type: ignore[misc]
    """`xgboost.XGBClassifier` with focal loss: true probabilities, the optimal start, correct metrics.

    It is used like `XGBClassifier` and takes its parameters, except `objective` and `base_score`, which it
    sets itself. Two classes are trained with `FocalLoss`, more with `SoftmaxFocalLoss`. Classes are sorted; of
    two, the second is the positive one. `predict_proba` returns the class posterior, which undoes alpha.
    `predict` returns its most probable class, or with `scale_pos_weight` the class of least expected cost.
    `decision_function` returns the margin.

    `gamma` and `alpha` are XGBoost's: the least gain of a split, and the L1 penalty. Those of the loss are
    `focal_gamma` and `focal_alpha`.

    Parameters
    ----------
    <parameters>
    **kwargs
        Parameters of `XGBClassifier`. `eval_metric` may name XGBoost's metrics and ours, each computed from
        the true probabilities. It also takes callables (labels, probabilities) and metrics of this package.

    Attributes
    ----------
    <attributes>

    Examples
    --------
    >>> import numpy as np
    >>> from boostfocal import FocalXGBClassifier
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> y = np.where(X[:, 0] + X[:, 1] > 2, "fraud", "good")
    >>> model = FocalXGBClassifier(n_estimators=20).fit(X, y)
    >>> model.classes_
    array(['fraud', 'good'], dtype='<U5')
    >>> model.predict_proba(X).shape
    (1000, 2)
    """

    missing: float
    CLASS_WEIGHTS = ("scale_pos_weight",)
    START = "base_margin"
    SILENT = 0

    def __init__(
        self,
        *,
        focal_gamma: Any = 0.5,
        focal_alpha: Setting = 0.5,
        focal_hessian: Hessian = "expected",
        focal_max_step: float = 10.0,
        sampling_rates: Setting = None,
        objective: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(objective=objective, **kwargs)
        self.focal_gamma = focal_gamma
        self.focal_alpha = focal_alpha
        self.focal_hessian = focal_hessian
        self.focal_max_step = focal_max_step
        self.sampling_rates = sampling_rates

    def _more_tags(self) -> dict[str, Any]:
        return {**super()._more_tags(), "multilabel": False}

    def __sklearn_tags__(self) -> Any:
        return super().__sklearn_tags__()  # the parent makes them from `_more_tags`

    def get_xgb_params(self) -> dict[str, Any]:
        """The booster's parameters: without ours, and without those that we set."""
        left_out = {*PARAMETERS, "objective", "base_score", "scale_pos_weight", "eval_metric"}
        return {name: value for name, value in super().get_xgb_params().items() if name not in left_out}

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        base_margin: ArrayLike | None = None,
        eval_set: Sequence[tuple[Any, Any]] | None = None,
        verbose: bool | int | None = True,
        xgb_model: xgb.Booster | str | FocalXGBClassifier | None = None,
        sample_weight_eval_set: Sequence[ArrayLike] | None = None,
        base_margin_eval_set: Sequence[ArrayLike] | None = None,
        feature_weights: ArrayLike | None = None,
    ) -> Self:
        """Fit to labels of any kind; the parameters are those of `XGBClassifier.fit`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Also pandas or sparse data, with missing values and categories, as XGBoost takes them.
        y : array_like of shape (n,)
            Labels of two classes or more.
        sample_weight : array_like of shape (n,), optional
        base_margin : array_like of shape (n,) or (n, K), optional
            A starting margin for each row in place of the optimal constant one. The model does not keep it:
            predictions need their own. It is a margin of the loss, ``loss.margin(probability)``, not log odds.
        eval_set : sequence of (X, y), optional
            Validation sets; labels that `y` does not have are refused.
        verbose : bool or int
        xgb_model : FocalXGBClassifier, its booster, or path of its file, optional
            A model to continue, with its classes, loss and start.
        sample_weight_eval_set, base_margin_eval_set : sequence of array_like, optional
            One for each validation set.
        feature_weights : array_like of shape (n_features,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, xgb_model, {
            "y": y, "given_weight": sample_weight, "base_margin": base_margin, "eval_set": list(eval_set or []),
            "verbose": verbose, "sample_weight_eval_set": sample_weight_eval_set,
            "base_margin_eval_set": base_margin_eval_set, "feature_weights": feature_weights,
        })  # fmt: skip

    # --- training --------------------------------------------------------------------------------

    def _train_booster(
        self, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, previous: Self | None,
        options: Mapping[str, Any],
    ) -> tuple[xgb.Booster, FittedState, dict[str, Any]]:  # fmt: skip
        return training.train(self, X, codes, sample_weight, state, previous, options)

    def _set_booster(self, booster: xgb.Booster, history: dict[str, Any] | None) -> None:
        self._Booster = booster
        self.n_classes_ = self.state_.classes.size
        if history is not None:
            self.__dict__.pop("evals_result_", None)  # of an earlier fit
            self._set_evaluation_result(history)

    def _store_state(self) -> None:
        note = training.noted(self.state_)
        self._Booster.set_attr(**({files.KEY: None} if note is None else dict([note])))

    def _add_to_margins(self, by: Float64s) -> FittedState:
        offset = self.state_.offset + by
        training.set_base_score(self._Booster, self.state_.start + offset)
        return replace(self.state_, offset=offset)

    def _as_trained(self) -> xgb.Booster:
        """The booster as it predicts, with the margins of its training, to continue training."""
        booster = self.get_booster()
        n_rounds = training.rounds_used(booster)
        booster = booster[:n_rounds] if n_rounds < booster.num_boosted_rounds() else booster.copy()
        booster.set_attr(**dict.fromkeys(BEST))
        training.set_base_score(booster, self.state_.start)  # slices of XGBoost 3.1 lose it
        return booster

    def _check_params(self) -> None:
        if self.objective not in OWN_OBJECTIVES:
            raise ValueError(
                f"objective must be left out, the focal loss is the objective (focal_gamma=0 is cross-entropy), "
                f"got {self.objective!r}"
            )
        if self.base_score is not None:
            raise ValueError(
                f"base_score must be left out, the optimal starting margin is set by itself, got {self.base_score!r}; "
                "for another one give base_margin to fit and predict"
            )
        more = getattr(self, "kwargs", None) or {}
        if (weight := more.get("class_weight")) is not None:
            raise ValueError(f"class_weight is not a parameter of XGBoost, give it as focal_alpha, got {weight!r}")
        check_names(more, ())
        if self.multi_strategy == "multi_output_tree":
            raise ValueError('multi_strategy must be "one_output_per_tree" for classes')

    def _class_weights(self, n_classes: int) -> dict[str, Any]:
        weight = self.scale_pos_weight
        if weight is None or weight == 1:
            return {}
        if n_classes > 2:
            raise ValueError(f"scale_pos_weight must be left out for {n_classes} classes: use focal_alpha")
        return {"scale_pos_weight": [1.0, weight]}

    def _resolve_init_model(self, model: Any) -> FocalXGBClassifier | None:
        if isinstance(model, xgb.Booster):
            return FocalXGBClassifier()._read(bytes(model.save_raw("ubj")), "xgb_model")
        if isinstance(model, FocalXGBClassifier):
            model._check_fitted()
        elif isinstance(model, (str, os.PathLike)):
            return FocalXGBClassifier().load_model(model)
        elif model is not None:
            raise ValueError(f"xgb_model must be a model of FocalXGBClassifier, its booster or its file, got {model!r}")
        return model  # type: ignore[no-any-return]

    # --- predictions -----------------------------------------------------------------------------

    def _margin(self, X: Any, **options: Any) -> NDArray[Any]:
        self._check_fitted()
        if self.state_.start_by_row and options.get("base_margin") is None:
            raise ValueError("base_margin must be given: the model was trained from one for each row")
        check_unmasked("X", X)
        X = with_categories(X, self.state_.categories)
        margin = xgb.XGBModel.predict(self, X, output_margin=True, **options)  # XGBClassifier's method calls it, too
        return np.asarray(devices.to_host("margin", margin))  # for rows on a device, margins are there, too

    def decision_function(
        self,
        X: Any,
        *,
        validate_features: bool = True,
        base_margin: ArrayLike | None = None,
        iteration_range: tuple[int, int] | None = None,
    ) -> NDArray[Any]:
        """Margins, before any link: of shape (n,) for two classes, else (n, K)."""
        return self._margin(
            X, validate_features=validate_features, base_margin=base_margin, iteration_range=iteration_range
        )

    def predict_proba(
        self,
        X: Any,
        validate_features: bool = True,
        base_margin: ArrayLike | None = None,
        iteration_range: tuple[int, int] | None = None,
    ) -> NDArray[np.float64]:
        """True probabilities of the classes: the posterior of the margins, of shape (n, K)."""
        margin = self._margin(
            X, validate_features=validate_features, base_margin=base_margin, iteration_range=iteration_range
        )
        return self.posterior_.predict_proba(margin)

    def predict(
        self,
        X: Any,
        *,
        output_margin: bool = False,
        validate_features: bool = True,
        base_margin: ArrayLike | None = None,
        iteration_range: tuple[int, int] | None = None,
    ) -> NDArray[Any]:
        """The most probable class of each row, or with `scale_pos_weight` as a cost the class of least expected cost.

        With `output_margin` it returns the margins.
        """
        margin = self._margin(
            X, validate_features=validate_features, base_margin=base_margin, iteration_range=iteration_range
        )
        return margin if output_margin else self._decide(self.posterior_.predict_proba(margin))

    def _refit(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> xgb.Booster:
        return training.refit(self, X, codes, sample_weight, decay)

    def _ensemble(self) -> Ensemble:
        from .trees import of_xgboost

        best = self.get_booster().attr("best_iteration")
        return of_xgboost(self.get_booster(), None if best is None else int(best) + 1)

    # --- files -----------------------------------------------------------------------------------

    def _content(self, path: str) -> bytes:
        files.note(self.state_)  # refuses labels that no file can hold
        booster = self._Booster.copy()
        booster.set_attr(scikit_learn=json.dumps({"_estimator_type": self._get_type()}))  # the parent asks for it
        return bytes(booster.save_raw("json" if path.endswith(".json") else "ubj"))

    def _read(self, content: bytes, path: Any) -> Self:
        booster = xgb.Booster({"n_jobs": self.n_jobs})
        try:
            booster.load_model(bytearray(content))
            note = booster.attr(files.KEY)
        except (xgb.core.XGBoostError, UnicodeDecodeError, AssertionError) as error:
            reason = str(error).splitlines()[:1]
            raise files.ModelFileError(f"{path!r} is not a model file of XGBoost, or damaged: {reason}") from error
        state = files.read_note(note, path)
        with files.damaged(path):
            missing = state.extras["missing"]
            self.missing = float("nan") if missing is None else float(missing)
            for count, parameters in state.extras["training"] or []:
                numbers = [count, *map(float, parameters.values())]
                if not np.isfinite(numbers).all():
                    raise ValueError(f"training must be finite numbers, got {numbers}")
            return self._adopt_trained(booster, state)

    def _adopt_trained(self, booster: xgb.Booster, state: FittedState) -> Self:
        """Adopt a booster of our own that was trained elsewhere."""
        noted = sum(count for count, _ in state.extras["training"] or [])
        if state.extras["training"] is not None and booster.num_boosted_rounds() > noted:  # it was continued natively
            booster.set_attr(**dict.fromkeys(BEST))  # they belong to the training before
            state = replace(state, extras={**state.extras, "training": None})
        self._set_trained_parameters(state)
        booster.set_attr(scikit_learn=None)
        self._Booster = booster  # the parent reads it
        self._load_model_attributes(json.loads(booster.save_config()))
        self.objective, self.base_score = None, None  # the parent has read the placeholder for no objective
        return self._adopt(booster, state)

    def _take(self, booster: xgb.Booster, state: FittedState, start: Any, training_params: Any) -> Self:
        if start is not None:
            raise ValueError(f"start must be left out: the booster has it as base_score, got {start!r}")
        note = booster.attr(files.KEY)
        if note is not None:  # from a classifier: the booster is a checkpoint or a continued model
            noted = files.read_note(note, "booster")
            if noted.loss == state.loss and noted.classes.size == state.classes.size:
                return self._adopt_trained(_copied(booster), replace(noted, classes=state.classes))
        learner = json.loads(booster.save_config())["learner"]
        sizes = learner["learner_model_param"]
        n_margins = max(1, int(sizes["num_class"]), int(sizes.get("num_target", 1)))
        if n_margins != state.start.size:
            raise ValueError(
                f"booster must have {state.start.size} margins a row as {state.loss!r} has, got {n_margins}"
            )
        stored = np.array(sizes["base_score"].strip("[]").split(","), np.float64)
        linked = learner["objective"]["name"] in ("binary:logistic", "reg:logistic")
        if linked:  # XGBClassifier calls every objective of its users so
            stored = np.log(stored) - np.log1p(-stored)
        copy = _copied(booster)
        starts = np.resize(stored, n_margins)
        if linked:  # a base_score is a margin everywhere else
            copy.set_param({"objective": "reg:squarederror", "base_score": float(starts[0])})
        runs = (
            None
            if training_params is None
            else [[copy.num_boosted_rounds(), training.given_parameters(training_params)]]
        )
        state = replace(state, start=starts, extras={"missing": None, "training": runs})
        return self._adopt_trained(copy, state)


def _copied(booster: xgb.Booster) -> xgb.Booster:
    copy = xgb.Booster()
    copy.load_model(booster.save_raw("ubj"))
    return copy
