"""FocalLGBMClassifier: LightGBM's scikit-learn classifier, trained with focal loss."""

import os
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation
from ..base import Hessian
from ..metrics import Metric
from ..posterior import Loss, Posterior
from . import base, files, metrics
from .leaves import Penalties, refitted

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
NO_METRIC = ("", "none", "null", "custom", "na")


class FocalLGBMClassifier(base.FocalClassifier, lgb.LGBMClassifier):  # type: ignore[misc]
    """`lightgbm.LGBMClassifier` with focal loss: true probabilities, the optimal start, metrics that are right.

    It takes every parameter of `LGBMClassifier` but `objective`, which it sets itself, and is used in the
    same way. Two classes are trained with `FocalLoss`, more with `SoftmaxFocalLoss`. `predict_proba` is the
    class posterior, which undoes alpha; `predict` its most probable class; `decision_function` the margin.

    Parameters
    ----------
    focal_gamma : float or (float, float), default 0.5
        Focusing parameter; of two classes also one for the first and one for the second. 0 is cross-entropy.
    focal_alpha : float, "balanced", array_like or mapping of one number per class, or None, default 0.5
        Weight of the classes: a number is that of the second of two, in (0, 1), the first having the rest.
        0.5 weighs the classes alike, however many, and half of what None does, against the penalties.
        "balanced" is the inverse of the classes' (weighted) frequencies. `class_weight`, `scale_pos_weight`
        and `is_unbalance` are taken for such weights, and thus shift no probabilities.
    focal_hessian : {"expected", "exact"}, default "expected"
    focal_max_step : float, default 10.0
        See `FocalLoss`.
    sampling_rates : float, array_like or mapping of one number per class, or None, default None
        By how much each class was sampled for training; a number is that of the first of two, 0.1 for a tenth of
        its rows. `predict_proba` is then that of the population. Metrics in training are of the rows as they are.
    **kwargs
        Parameters of `LGBMClassifier`. Metrics, here and in `fit`, may be LightGBM's names and ours, each
        computed from the true probabilities.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        Labels, which may be of any kind; in the order of the columns of `predict_proba`.
    loss_ : FocalLoss or SoftmaxFocalLoss
    posterior_ : Posterior
        What turns margins into probabilities.
    start_ : float, or ndarray of shape (K,)
        The starting margin. It is inside the booster's first trees, but for `linear_tree`, where it is
        kept beside it.
    """

    _start_inside: bool
    """Whether the starting margin is in the first trees' leaves."""

    def __init__(
        self,
        *,
        focal_gamma: Any = 0.5,
        focal_alpha: base.Setting = 0.5,
        focal_hessian: Hessian = "expected",
        focal_max_step: float = 10.0,
        sampling_rates: base.Setting = None,
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
        return {k: v for k, v in super()._process_params(stage).items() if k not in base.PARAMETERS}

    @base.all_or_nothing
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
        init_model: "str | Path | FocalLGBMClassifier | None" = None,
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
        self._refuse(eval_class_weight)
        previous = _previous(init_model)
        if previous is not None and not previous._start_inside:
            raise ValueError("init_model must not be of linear trees, whose start is not inside the trees")
        codes, sample_weight = self._start_fit(X, y, sample_weight, previous)
        if np.unique(codes).size < self._labels.size:
            raise ValueError(f"y must have rows of every class of the model to continue, {self._labels.tolist()}")
        parameters = {k: v for k, v in self.get_params().items() if k not in base.PARAMETERS}
        named: list[Any] = []
        for alias in METRIC_ALIASES:
            named += _listed(parameters.pop(alias, None))
        for alias in (*OBJECTIVE_ALIASES, *UNBALANCED, "scale_pos_weight"):
            parameters.pop(alias, None)
        theirs, ours = self._metrics([*_listed(eval_metric), *named], parameters)
        parameters |= {"objective": self.loss_, "class_weight": None, "metric": theirs or "None"}

        if (eval_X is None) != (eval_y is None):
            raise ValueError("eval_X and eval_y must be given together")
        if eval_X is not None and eval_set is not None:
            raise ValueError("only one of eval_set, and eval_X with eval_y, may be given")
        sets = [eval_set] if isinstance(eval_set, tuple) and len(eval_set) == 2 else list(eval_set or [])
        if eval_X is not None:
            sets += zip(_tupled(eval_X), _tupled(eval_y), strict=True)
        coded = [
            (rows, codes if rows is X and labels is y else self._encode(f"eval_set[{i}]", labels))
            for i, (rows, labels) in enumerate(sets)
        ]
        for i, (rows, labels) in enumerate(coded):
            base.check_rows(f"eval_set[{i}][0]", rows, labels.size)
        self._by_row = init_score is not None
        if self._by_row and coded and eval_init_score is None:
            raise ValueError("eval_init_score must be given with init_score, or the validation sets would start at 0")
        if init_score is None and previous is None:
            init_score = self._starts(codes)
            if eval_init_score is None:
                eval_init_score = [self._starts(labels) for _, labels in coded]

        weights = self._weights(sample_weight, codes.size)
        arguments: dict[str, Any] = {
            "sample_weight": weights, "init_score": init_score, "eval_names": eval_names,
            "eval_sample_weight": eval_sample_weight, "eval_init_score": eval_init_score if coded else None,
            "eval_metric": ours or None, "feature_name": feature_name, "categorical_feature": categorical_feature,
            "callbacks": callbacks, "init_model": None if previous is None else previous._as_trained(),
        }  # fmt: skip
        if "eval_X" in signature(lgb.LGBMClassifier.fit).parameters:  # where `eval_set` is deprecated
            arguments |= {"eval_X": tuple(x for x, _ in coded) or None, "eval_y": tuple(y for _, y in coded) or None}
        else:
            arguments["eval_set"] = coded or None
        fitted = _fit(parameters, X, codes, arguments)
        # what the fit of a plain classifier has found is ours from here on
        found = {k: v for k, v in vars(fitted).items() if k.startswith("_") or k.endswith("_")}
        self.__dict__.update({k: v for k, v in found.items() if k != "_other_params"})
        linear = any(parameters.get(alias) for alias in LINEAR)
        self._start_inside = not self._by_row and not linear and self.booster_.num_trees() > 0
        if self._start_inside and previous is None:
            _put_inside(self.booster_, np.atleast_1d(self.start_))
        self._finish_fit(X, codes, sample_weight)
        return self

    def _move(self, by: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._start_inside:
            _put_inside(self.booster_, by)
            return by
        self.start_ = self.start_ + (by if by.size > 1 else float(by[0]))
        return np.zeros_like(by)

    def _as_trained(self) -> lgb.Booster:
        """The booster with the margins of its training, for more of it."""
        booster = self.booster_
        if self._shift.any():
            booster = lgb.Booster(model_str=booster.model_to_string())
            _put_inside(booster, -self._shift)
        return booster

    def _refuse(self, eval_class_weight: Any) -> None:
        parameters = self.get_params()
        given = {parameters.get(name) for name in ("objective", *OBJECTIVE_ALIASES)} - set(OWN_OBJECTIVES)
        if given:
            raise ValueError(
                "objective must be left out, the focal loss is the objective (focal_gamma=0 is cross-entropy), "
                f"got {given.pop()!r}"
            )
        if {parameters.get(name) for name in BOOSTING} & {"rf", "random_forest"}:
            raise ValueError(
                "boosting_type must not be 'rf': LightGBM's random forests refuse custom objectives and init_score"
            )
        for name, aliases in BAGGING_BY_LABEL.items():
            if any(parameters.get(alias, 1.0) != 1.0 for alias in aliases):
                raise ValueError(f"{name} must be left out: LightGBM ignores it under a custom objective")
        if eval_class_weight is not None:
            raise ValueError("eval_class_weight must be left out: class weights are part of the loss (focal_alpha)")

    _WEIGHTS = ("class_weight", "scale_pos_weight", "is_unbalance")

    def _class_weights(self) -> dict[str, Any]:
        parameters = self.get_params()
        weights = {"class_weight": parameters.get("class_weight")}
        if any(parameters.get(alias) for alias in UNBALANCED):
            weights["is_unbalance"] = "balanced"
        weight = parameters.get("scale_pos_weight")
        if weight is not None and weight != 1:
            if self._labels.size > 2:
                raise ValueError(f"scale_pos_weight must be left out for {self._labels.size} classes: use focal_alpha")
            weights["scale_pos_weight"] = [1.0, weight]
        return weights

    def _metrics(self, asked: list[Any], parameters: dict[str, Any]) -> tuple[list[str], list[Any]]:
        """Names that LightGBM computes rightly, up to the first that it does not, and callables; in this order."""
        several = self._labels.size > 2
        for name, plain in (("multi_error_top_k", (None, 1)), ("auc_mu_weights", (None, ""))):
            if parameters.get(name) not in plain:
                raise ValueError(f"{name} must be left out: the metrics that it is for are not LightGBM's here")
        if not asked:
            asked = ["multi_logloss" if several else "binary_logloss"]
        theirs: list[str] = []
        ours: list[Any] = []
        for metric in asked:
            if isinstance(metric, Metric):
                ours.append(metric)
            elif callable(metric):
                ours.append(_of_user(metric, self.posterior_))
            elif not (several or ours) and metrics.RANKED_BY["lightgbm"].fullmatch(metric.lower()):
                theirs.append(metric.lower())
            elif metric.lower() not in NO_METRIC:
                ours.append(metrics.ours(metric.lower(), self.loss_))
        return theirs, ours

    def _starts(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """The starting margin of each row, as LightGBM takes it."""
        return np.tile(self.start_, (labels.size, 1)) if self._labels.size > 2 else np.full(labels.size, self.start_)

    # --- predictions -----------------------------------------------------------------------------

    def _margin(self, X: Any, **options: Any) -> NDArray[Any]:
        self._check_fitted()
        own = options.pop("init_score", None)
        if self._by_row and own is None:
            raise ValueError("init_score must be given: the model was trained from one for each row")
        margin = np.asarray(lgb.LGBMModel.predict(self, X, raw_score=True, **options))
        if own is not None:
            return margin + np.asarray(own)
        return margin if self._start_inside else margin + self.start_

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
            self._check_fitted()
            found = lgb.LGBMModel.predict(self, X, pred_leaf=pred_leaf, pred_contrib=pred_contrib, **options)
            return np.asarray(found)
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

    def _refit_leaves(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> None:
        booster, text = self.booster_, self.booster_.model_to_string()
        if not self._start_inside or "\n[boosting: dart]" in text:
            raise ValueError('boosting_type must be "gbdt" and linear_tree off for the leaves to be refitted')
        found = lgb.LGBMModel.predict(self, X, pred_leaf=True).astype(np.intp)  # up to the best iteration
        trees = booster.dump_model()["tree_info"]
        start = np.atleast_1d(self.start_)
        classes = [number % start.size for number in range(len(trees))]
        inside = [start[number] + self._shift[number] if number < start.size else 0.0 for number in range(len(trees))]
        values = [
            np.array([booster.get_leaf_output(number, leaf) for leaf in range(tree["num_leaves"])]) - inside[number]
            for number, tree in enumerate(trees)
        ]
        l1, l2, max_step = (
            float(text.partition(f"\n[{name}: ")[2].partition("]")[0])
            for name in ("lambda_l1", "lambda_l2", "max_delta_step")
        )
        new = refitted(
            self.loss_, codes, sample_weight, found, values, classes, [tree["shrinkage"] for tree in trees], start,
            Penalties(l1, l2, max_step), decay,
        )  # fmt: skip
        for number, leaves in enumerate(new):
            for leaf, value in enumerate(leaves):
                booster.set_leaf_output(number, leaf, value + inside[number])

    def _ensemble(self) -> "Ensemble":
        from .trees import of_lightgbm

        return of_lightgbm(self.booster_, self._labels.size if self._labels.size > 2 else 1)

    # --- files -----------------------------------------------------------------------------------

    def save_model(self, filename: str | os.PathLike[str]) -> Self:
        """Write one text file that is the whole model, up to the best iteration.

        The loss, the labels and the posterior are a line of its header, which plain LightGBM passes over;
        `boostfocal.load` gives back a classifier.
        """
        self._check_fitted()
        text = self.booster_.model_to_string()
        state = self._state() | files.UNSEALED | {"start_inside": self._start_inside}
        Path(filename).write_bytes(files.sealed(files.with_line(text, state).encode()))
        return self

    @base.all_or_nothing
    def load_model(self, filename: str | os.PathLike[str]) -> Self:
        """Take the model in a file, its loss and labels; the loss becomes this classifier's parameters.

        Raises
        ------
        ModelFileError
            For a file that is damaged, or was not written by a focal classifier.
        """
        content = Path(filename).read_bytes().replace(b"\r\n", b"\n")
        files.check_seal(content, filename)
        text, state = files.without_line(content.decode(), filename)
        try:
            booster = lgb.Booster(model_str=text)
        except lgb.basic.LightGBMError as error:
            raise files.ModelFileError(f"{filename} is no model file of LightGBM, or damaged: {error}") from error
        with files.damaged(filename):
            self._restore(state)
            self._start_inside = bool(state["start_inside"])
        return self._take(booster)

    @classmethod
    def from_booster(
        cls, booster: lgb.Booster, loss: Loss, classes: ArrayLike | None = None, *, start: float | ArrayLike
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

        Returns
        -------
        FocalLGBMClassifier
            Its probabilities are the loss's posterior; with weights by class, `recalibrate` levels them.

        Raises
        ------
        TypeError, ValueError
            For another loss, classes out of order, and a booster or start of another number of classes.
        """
        model = cls._of_loss(loss, classes)
        n_margins = model._shift.size
        if booster.num_model_per_iteration() != n_margins:
            found = booster.num_model_per_iteration()
            raise ValueError(f"booster must have {n_margins} margins a row as {loss!r} has, got {found}")
        starts = np.atleast_1d(validation.array("start", start)).astype(np.float64)
        if starts.size == 1:
            starts = np.resize(starts, n_margins)
        if starts.shape != (n_margins,) or not np.isfinite(starts).all():
            raise ValueError(f"start must be a finite number, or one for each class, got {start!r}")
        model.start_ = starts if n_margins > 1 else float(starts[0])
        copy = lgb.Booster(model_str=booster.model_to_string())
        model._start_inside = copy.num_trees() > 0 and "\n[linear_tree: 1]" not in copy.model_to_string()
        if model._start_inside:
            _put_inside(copy, starts)
        return model._take(copy)

    def _take(self, booster: lgb.Booster) -> Self:
        """Make the booster ours."""
        # LightGBM has no way of its own to make a classifier of a booster
        self._Booster, self._objective, self.fitted_ = booster, self.loss_, True
        self._n_features = self._n_features_in = booster.num_feature()
        self._best_iteration = booster.best_iteration
        self._classes, self._n_classes = np.arange(self._labels.size), self._labels.size
        self._fitted_with_feature_names = booster.feature_name() != [f"Column_{i}" for i in range(self._n_features)]
        return self


def _fit(parameters: dict[str, Any], X: Any, codes: NDArray[np.intp], arguments: dict[str, Any]) -> lgb.LGBMClassifier:
    try:
        return lgb.LGBMClassifier(**parameters).fit(X, codes, **arguments)
    except lgb.basic.LightGBMError as error:
        # LightGBM drops features that no split can use, and fails under a custom objective if that leaves none
        if "num_features" not in str(error):
            raise
        return lgb.LGBMClassifier(**parameters | {"feature_pre_filter": False}).fit(X, codes, **arguments)


def _put_inside(booster: lgb.Booster, start: NDArray[np.float64]) -> None:
    """Add the start to the leaves of the first tree of each class: LightGBM does not save init_score."""
    for number, tree in enumerate(booster.dump_model(num_iteration=1)["tree_info"]):
        for leaf in range(tree["num_leaves"]):
            booster.set_leaf_output(number, leaf, booster.get_leaf_output(number, leaf) + start[number])


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


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",")]
    return [] if value is None else list(value) if isinstance(value, (list, tuple, set)) else [value]


def _tupled(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _previous(model: Any) -> FocalLGBMClassifier | None:
    if model is None:
        return None
    if isinstance(model, FocalLGBMClassifier):
        model._check_fitted()
        return model
    if isinstance(model, (str, os.PathLike)):
        return FocalLGBMClassifier().load_model(model)
    raise ValueError(f"init_model must be a FocalLGBMClassifier or the path of its file, got {model!r}")
