"""FocalXGBClassifier: XGBoost's scikit-learn classifier, trained with focal loss."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xgboost as xgb
from numpy.typing import ArrayLike, NDArray

from .. import devices, engines, validation
from ..base import Hessian
from ..device_training import TrainingOnDevice
from ..metrics import Metric
from ..posterior import Loss
from . import base, files, metrics
from .leaves import Penalties, refitted

if TYPE_CHECKING:
    from .trees import Ensemble

OWN_OBJECTIVES = (None, "binary:logistic", "multi:softprob", "multi:softmax")
"""What an XGBClassifier has there by itself."""


TRAINING = ("learning_rate", "reg_alpha", "reg_lambda", "max_delta_step")


class FocalXGBClassifier(base.FocalClassifier, xgb.XGBClassifier):  # type: ignore[misc]
    """`xgboost.XGBClassifier` with focal loss: true probabilities, the optimal start, metrics that are right.

    It takes every parameter of `XGBClassifier` but `objective` and `base_score`, which it sets itself, and
    is used in the same way. Two classes are trained with `FocalLoss`, more with `SoftmaxFocalLoss`.
    `predict_proba` is the class posterior, which undoes alpha; `predict` its most probable class, or with
    `scale_pos_weight` that of least expected cost; `decision_function` the margin. Classes are sorted; of two
    the second is the positive one.

    Parameters
    ----------
    focal_gamma : float or (float, float), default 0.5
        Focusing parameter; of two classes also one for the first and one for the second. 0 is cross-entropy.
    focal_alpha : float, "balanced", array_like or mapping of one number per class, or None, default 0.5
        Weight of the classes: a number is that of the second of two, in (0, 1), the first having the rest.
        0.5 weighs the classes alike, however many, and half of what None does, against the penalties.
        "balanced" is the inverse of the classes' (weighted) frequencies. `scale_pos_weight` is taken for the
        second class's weight where the first has 1.
    focal_hessian : {"expected", "exact"}, default "expected"
    focal_max_step : float, default 10.0
        See `FocalLoss`.
    sampling_rates : float, array_like or mapping of one number per class, or None, default None
        By how much each class was sampled for training; a number is that of the first of two, 0.1 for a tenth of
        its rows. `predict_proba` is then that of the population. Metrics in training are of the rows as they are.
    **kwargs
        Parameters of `XGBClassifier`. `eval_metric` may name XGBoost's metrics and ours, each computed from
        the true probabilities, or be callables (labels, probabilities), or metrics of this package.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        Labels, which may be of any kind; in the order of the columns of `predict_proba`.
    loss_ : FocalLoss or SoftmaxFocalLoss
    posterior_ : Posterior
        What turns margins into probabilities.
    start_ : float, or ndarray of shape (K,)
        The starting margin. It is inside the booster.
    """

    missing: float

    def __init__(
        self,
        *,
        focal_gamma: Any = 0.5,
        focal_alpha: base.Setting = 0.5,
        focal_hessian: Hessian = "expected",
        focal_max_step: float = 10.0,
        sampling_rates: base.Setting = None,
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
        return super().__sklearn_tags__()  # the parent makes them of `_more_tags`

    def get_xgb_params(self) -> dict[str, Any]:
        """The booster's parameters: without ours, and without those that we set."""
        left_out = {*base.PARAMETERS, "objective", "base_score", "scale_pos_weight", "eval_metric"}
        return {name: value for name, value in super().get_xgb_params().items() if name not in left_out}

    @base.all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        base_margin: ArrayLike | None = None,
        eval_set: Sequence[tuple[Any, Any]] | None = None,
        verbose: bool | int | None = True,
        xgb_model: "xgb.Booster | str | FocalXGBClassifier | None" = None,
        sample_weight_eval_set: Sequence[ArrayLike] | None = None,
        base_margin_eval_set: Sequence[ArrayLike] | None = None,
        feature_weights: ArrayLike | None = None,
    ) -> Self:
        """Fit to labels of any kind; the parameters are those of `XGBClassifier.fit`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Also pandas, sparse, with missing values and categories, as XGBoost takes it.
        y : array_like of shape (n,)
            Labels of two classes or more.
        sample_weight : array_like of shape (n,), optional
        base_margin : array_like of shape (n,) or (n, K), optional
            A starting margin for each row in place of the optimal constant one. It is not in the model:
            predictions want theirs.
        eval_set : sequence of (X, y), optional
            Validation sets; labels that `y` does not have are refused.
        verbose : bool or int
        xgb_model : FocalXGBClassifier, its booster, or path of its file, optional
            A model to continue, with its classes, loss and start.
        sample_weight_eval_set, base_margin_eval_set : sequence of array_like, optional
            For each of `eval_set`.
        feature_weights : array_like of shape (n_features,), optional

        Returns
        -------
        self
        """
        self._refuse()
        previous = _previous(xgb_model)
        given = sample_weight
        codes, sample_weight = self._start_fit(X, y, sample_weight, previous)
        weights = self._weights(sample_weight, codes.size)
        if base_margin is not None and eval_set and base_margin_eval_set is None:
            raise ValueError(
                "base_margin_eval_set must be given with base_margin, or the validation sets would start at 0"
            )
        self.n_classes_ = self._labels.size
        several = self.n_classes_ > 2
        parameters = self.get_xgb_params() | {"disable_default_eval_metric": 1}
        if several:
            parameters["num_class"] = self.n_classes_
        if previous is None:  # XGBoost keeps it; given again it would shift the trees there are
            start = np.zeros_like(self.start_) if base_margin is not None else np.asarray(self.start_)
            parameters["base_score"] = start.tolist()
        with xgb.config_context(verbosity=self.verbosity or xgb.get_config()["verbosity"]):
            shared = {
                "missing": self.missing, "enable_categorical": self.enable_categorical,
                "feature_types": self.feature_types,
                "feature_weights": feature_weights if feature_weights is not None else self.feature_weights,
            }  # fmt: skip
            train = self._create_dmatrix(
                ref=None,
                data=X,
                label=codes,
                weight=weights,
                base_margin=base_margin,
                group=None,
                qid=None,
                **shared,
            )
            evals = []
            for i, (X_eval, y_eval) in enumerate(eval_set or []):
                weight = None if sample_weight_eval_set is None else sample_weight_eval_set[i]
                margin = None if base_margin_eval_set is None else base_margin_eval_set[i]
                if X_eval is X and y_eval is y and weight is given and margin is base_margin:
                    evals.append((train, f"validation_{i}"))
                    continue
                labels = self._encode(f"eval_set[{i}]", y_eval)
                base.check_rows(f"eval_set[{i}][0]", X_eval, labels.size)
                held_out = self._create_dmatrix(
                    ref=train,
                    data=X_eval,
                    label=labels,
                    weight=weight,
                    base_margin=margin,
                    group=None,
                    qid=None,
                    **shared,
                )
                evals.append((held_out, f"validation_{i}"))
            evaluation = _Evaluation(self.eval_metric, self.posterior_)
            callbacks = list(self.callbacks or [])
            if self.early_stopping_rounds is not None:
                callbacks.append(evaluation.early_stopping(self.early_stopping_rounds))
            on_device = str(self.device).startswith(("cuda", "gpu")) and devices.compute()
            rounds = [TrainingOnDevice(self.loss_, X, codes, weights, self.missing)] if on_device else []
            results: dict[str, Any] = {}
            self._Booster = xgb.train(
                parameters | evaluation.parameters,
                train,
                self.get_num_boosting_rounds(),
                evals=evals,
                evals_result=results,
                obj=self.loss_,
                custom_metric=evaluation if evals else None,
                verbose_eval=verbose,
                xgb_model=None if previous is None else previous._as_trained(),
                callbacks=[*rounds, _Callbacks(evaluation, callbacks)],
            )
        self._by_row = base_margin is not None
        self._training: dict[str, float] | None = _training(self._Booster)
        self._set_evaluation_result(results)
        self._finish_fit(X, codes, sample_weight)
        return self

    def _move(self, by: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = np.atleast_1d(self.start_) + self._shift + by
        self._Booster.set_param({"base_score": moved.tolist() if moved.size > 1 else float(moved[0])})
        return by

    def _as_trained(self) -> xgb.Booster:
        """The booster with the margins of its training, for more of it."""
        booster = self.get_booster()
        if self._shift.any():
            booster = booster.copy()
            booster.set_param({"base_score": np.asarray(self.start_).tolist()})
        return booster

    def _refuse(self) -> None:
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
        if (weight := getattr(self, "kwargs", {}).get("class_weight")) is not None:
            raise ValueError(f"class_weight is no parameter of XGBoost, give it as focal_alpha, got {weight!r}")
        if self.multi_strategy == "multi_output_tree":
            raise ValueError('multi_strategy must be "one_output_per_tree" for classes')

    _WEIGHTS = ("scale_pos_weight",)

    def _class_weights(self) -> dict[str, Any]:
        weight = self.scale_pos_weight
        if weight is None or weight == 1:
            return {}
        if self._labels.size > 2:
            raise ValueError(f"scale_pos_weight must be left out for {self._labels.size} classes: use focal_alpha")
        return {"scale_pos_weight": [1.0, weight]}

    # --- predictions -----------------------------------------------------------------------------

    def _margin(self, X: Any, **options: Any) -> NDArray[Any]:
        self._check_fitted()
        if self._by_row and options.get("base_margin") is None:
            raise ValueError("base_margin must be given: the model was trained from one for each row")
        margin = super().predict(X, output_margin=True, **options)
        return np.asarray(devices.to_host("margin", margin))  # of rows on a device they are there

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
        """The most probable class of each row, with `scale_pos_weight` as a cost that of least expected cost.

        With `output_margin` the margins.
        """
        margin = self._margin(
            X, validate_features=validate_features, base_margin=base_margin, iteration_range=iteration_range
        )
        return margin if output_margin else self._decide(self.posterior_.predict_proba(margin))

    def _refit_leaves(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> None:
        if self._training is None:
            raise ValueError("from_booster must be given the parameters of training for the leaves to be refitted")
        document = json.loads(bytes(self._Booster.save_raw("json")))
        booster = document["learner"]["gradient_booster"]
        if booster["name"] != "gbtree" or "weight_drop" in booster["model"]:
            raise ValueError("booster must be gbtree for its leaves to be refitted")
        stored = booster["model"]
        if int(stored["gbtree_model_param"]["num_parallel_tree"]) > 1:
            raise ValueError("num_parallel_tree must be 1 for the leaves to be refitted")
        found = np.reshape(self.apply(X), (codes.size, -1)).astype(np.intp)  # up to the best iteration
        trees = stored["trees"][: found.shape[1]]
        training = self._training
        penalties = Penalties(training["reg_alpha"], training["reg_lambda"], training["max_delta_step"])
        present = [np.array(tree["split_conditions"], np.float64) for tree in trees]
        classes, rates = stored["tree_info"][: len(trees)], [training["learning_rate"]] * len(trees)
        start = np.atleast_1d(self.start_)
        new = refitted(self.loss_, codes, sample_weight, found, present, classes, rates, start, penalties, decay)
        for tree, values in zip(trees, new, strict=True):
            leaf = np.array(tree["left_children"]) == -1
            tree["split_conditions"] = np.where(leaf, values, tree["split_conditions"]).tolist()
        self._Booster.load_model(bytearray(json.dumps(document).encode()))

    def _ensemble(self) -> "Ensemble":
        from .trees import of_xgboost

        booster = self.get_booster()
        best = booster.attributes().get("best_iteration")
        return of_xgboost(booster, None if best is None else int(best) + 1)

    # --- files -----------------------------------------------------------------------------------

    def _note(self) -> None:
        try:
            state = self._state()
        except TypeError:  # labels that no file can hold: save_model says so, and the classifier can be pickled
            self._Booster.set_attr(**{files.KEY: None})
            return
        missing: float | str | None = None if np.isnan(self.missing) else float(self.missing)
        if missing in (np.inf, -np.inf):
            missing = str(missing)  # JSON has no infinity
        note = files.encode(state | files.UNSEALED | {"missing": missing, "training": self._training})
        self._Booster.set_attr(**{files.KEY: note})

    def save_model(self, fname: str | os.PathLike[str]) -> None:
        """Write one file that is the whole model: UBJSON, or JSON if the name ends in .json.

        The loss, the labels and the posterior are an attribute of the booster, so plain XGBoost loads it,
        too, and `boostfocal.load` gives back a classifier.
        """
        self._check_fitted()
        files.labels_to_json(self._labels)
        super().save_model(fname)
        Path(fname).write_bytes(files.sealed(Path(fname).read_bytes()))

    @base.all_or_nothing
    def load_model(self, fname: str | os.PathLike[str] | bytearray) -> Self:
        """Take the model in a file, its loss and labels; the loss becomes this classifier's parameters.

        Raises
        ------
        ModelFileError
            For a file that is damaged, or was not written by a focal classifier.
        """
        booster = xgb.Booster({"n_jobs": self.n_jobs})
        if isinstance(fname, bytearray):
            content, fname = bytes(fname), "the given bytes"
        else:
            content = Path(fname).read_bytes()
        files.check_seal(content, fname)
        try:
            booster.load_model(bytearray(content))
            note = booster.attr(files.KEY)
        except (xgb.core.XGBoostError, UnicodeDecodeError, AssertionError) as error:
            reason = str(error).splitlines()[:1]
            raise files.ModelFileError(f"{fname!r} is no model file of XGBoost, or damaged: {reason}") from error
        state = files.decode(note, fname)
        with files.damaged(fname):
            self._restore(state)
            training = state["training"]
            self._training = None if training is None else {name: float(training[name]) for name in TRAINING}
            if self._training is not None and not np.isfinite(list(self._training.values())).all():
                raise ValueError(f"training must be finite numbers, got {self._training}")
            self.missing = float("nan") if state["missing"] is None else float(state["missing"])
        return self._take(booster)

    @classmethod
    def from_booster(
        cls,
        booster: xgb.Booster,
        loss: Loss,
        classes: ArrayLike | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
    ) -> Self:
        """A classifier from a booster that was trained otherwise: by ``xgboost.train``, on Dask, on Ray.

        Parameters
        ----------
        booster : xgboost.Booster
            With the starting margin inside, as `base_score` puts it there. It is copied.
        loss : FocalLoss or SoftmaxFocalLoss
            The objective that it was trained with.
        classes : array_like of shape (K,), optional
            What the labels 0, ..., K - 1 stand for, in ascending order.
        parameters : mapping, optional
            What it was trained with: `refit_leaves` needs learning rate and penalties, which XGBoost keeps in no file.

        Returns
        -------
        FocalXGBClassifier
            Its probabilities are the loss's posterior; with weights by class, `recalibrate` levels them.

        Raises
        ------
        TypeError, ValueError
            For another loss, classes out of order, and a booster of another number of classes.
        """
        model = cls._of_loss(loss, classes)
        learner = json.loads(booster.save_config())["learner"]
        sizes = learner["learner_model_param"]
        n_margins = max(1, int(sizes["num_class"]), int(sizes.get("num_target", 1)))
        if n_margins != model._shift.size:
            raise ValueError(f"booster must have {model._shift.size} margins a row as {loss!r} has, got {n_margins}")
        stored = np.array(sizes["base_score"].strip("[]").split(","), np.float64)
        linked = learner["objective"]["name"] in ("binary:logistic", "reg:logistic")
        if linked:  # XGBClassifier calls every objective of its users so
            stored = np.log(stored) - np.log1p(-stored)
        model.start_ = np.resize(stored, n_margins) if n_margins > 1 else float(stored[0])
        model._training = None if parameters is None else _given(parameters)
        model._take(booster)
        if linked:  # a base_score is a margin everywhere else
            model._Booster.set_param({"objective": "reg:squarederror", "base_score": model.start_})
        return model

    def _take(self, booster: xgb.Booster) -> Self:
        """Make a copy of the booster ours."""
        super().load_model(bytearray(booster.save_raw("ubj")))
        self.objective, self.base_score = None, None  # the parent reads there what stands for no objective
        self.n_classes_ = self._labels.size
        self._note()  # without the digest of a file
        return self


def _given(parameters: Mapping[str, Any]) -> dict[str, float]:
    """The parameters in `TRAINING`, by any of their names, or XGBoost's defaults."""
    names = {"learning_rate": ("eta", 0.3), "reg_alpha": ("alpha", 0.0), "reg_lambda": ("lambda", 1.0)}
    names["max_delta_step"] = ("max_delta_step", 0.0)
    return {
        name: validation.number(
            name,
            parameters.get(name, parameters.get(alias, default)),
            validation.Interval(-np.inf, np.inf, ""),
            "a finite number",
        )
        for name, (alias, default) in names.items()
    }


def _training(booster: xgb.Booster) -> dict[str, float]:
    """What a leaf's value depends on; XGBoost does not keep it in a model's file."""
    found = json.loads(booster.save_config())["learner"]["gradient_booster"].get("tree_train_param", {})
    return {name: float(found.get(name, 0.0)) for name in TRAINING}


class _Evaluation:
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
                name, self._maximize[metric.name] = metric.name, metric.greater_is_better
                self._ours[name] = metric.score
            elif callable(metric):
                self._maximize[metric.__name__] = None  # by its name, as XGBoost does it
                self._ours[metric.__name__] = self._of_user(metric)
            elif posterior.n_classes == 2 and metrics.RANKED_BY["xgboost"].fullmatch(metric):
                theirs.append(metric)
                self._maximize[metric] = True
            else:
                # under this name an early stopping of the user's own would minimize it
                found = metrics.ours("precision_average" if metric == "average_precision" else metric, posterior.loss)
                self._ours[found.name], self._maximize[found.name] = found.score, found.greater_is_better
        self.parameters: dict[str, Any] = {"eval_metric": theirs} if theirs else {}
        self._values: list[list[tuple[str, float]]] = []

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


class _Callbacks(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Corrects the record of each round, and only then calls the others (XGBoost keeps no order between callbacks)."""

    def __init__(self, evaluation: _Evaluation, others: Sequence[Any]) -> None:
        super().__init__()
        self._evaluation, self._others = evaluation, others

    def before_training(self, model: Any) -> Any:
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
        self._evaluation.correct(evals_log)
        return any(callback.after_iteration(model, epoch, evals_log) for callback in self._others)


def _previous(model: Any) -> FocalXGBClassifier | None:
    if model is None:
        return None
    if isinstance(model, xgb.Booster):
        return FocalXGBClassifier().load_model(bytearray(model.save_raw("ubj")))
    if isinstance(model, FocalXGBClassifier):
        model._check_fitted()
        return model
    if isinstance(model, (str, os.PathLike)):
        return FocalXGBClassifier().load_model(model)
    raise ValueError(f"xgb_model must be a model of FocalXGBClassifier, its booster or its file, got {model!r}")
